//! The classifier of the test: two hidden layers of rectified units and a logistic output.
//!
//! h₁ = max(x W₁ + b₁, 0),  h₂ = max(h₁ W₂ + b₂, 0),  z = h₂ w₃ + b₃,  p(sample | x) = 1/(1 + e^{−z})
//! L = mean log(1 + e^{∓z}) + α/(2 B) Σ W²
//!
//! The defaults of scikit-learn's `MLPClassifier`: weights and biases start uniform within ±√(6/(in + out)), α = 1e-4
//! on weights only, Adam (Kingma, Ba 2014, arXiv:1412.6980) with rate 1e-3, batches of B = 200 in a new order each
//! epoch, the last one shorter.

use flowmap_core::{NoiseStream, Stream};

use super::product::{LANES, padded, product, transpose};
use super::shuffled;

const BATCH: usize = 200;
const RATE: f64 = 1e-3;
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f32 = 1e-8;
const ALPHA: f64 = 1e-4;
/// The training ends if more than `PATIENCE` epochs in a row gain less than `TOLERANCE`.
const PATIENCE: usize = 10;
const TOLERANCE: f64 = 1e-4;
const MAX_EPOCHS: usize = 10_000;
const N_LAYERS: usize = 3;

/// A layer y = x W + b; the columns behind the last unit are zero and stay so.
struct Layer {
    n_in: usize,
    n_out: usize,
    weight: Adam,
    bias: Adam,
}

/// Numbers, their gradient and its moments.
struct Adam {
    values: Vec<f32>,
    gradient: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

/// What a batch leaves in the network: inputs of each layer, and scratch.
#[derive(Default)]
struct Scratch {
    /// The input of each layer, and the output of the last.
    h: [Vec<f32>; N_LAYERS + 1],
    /// The gradient in the output of a layer, and in its input.
    delta: [Vec<f32>; 2],
    transposed: Vec<f32>,
}

/// The network.
pub(super) struct Perceptron {
    layers: [Layer; N_LAYERS],
    n_steps: i32,
}

impl Perceptron {
    /// First weights by `seed`.
    pub(super) fn new(dim: usize, n_hidden: usize, seed: u64) -> Self {
        let stream = NoiseStream::new(seed, Stream::Init);
        let layer = |index: u64, n_in: usize, units_in: usize, n_out: usize| {
            let mut noise = stream.at(index);
            let bound = (6.0 / (units_in + n_out) as f64).sqrt();
            let width = padded(n_out);
            let mut row = || {
                let mut row = vec![0.0f32; width];
                row[..n_out].fill_with(|| (bound * (2.0 * noise.uniform() - 1.0)) as f32);
                row
            };
            let bias = row();
            // Rows behind the last unit of the layer before take an input of 0.
            let weight =
                (0..n_in).flat_map(|i| if i < units_in { row() } else { vec![0.0; width] }).collect();
            Layer { n_in, n_out: width, weight: Adam::new(weight), bias: Adam::new(bias) }
        };
        let hidden = padded(n_hidden);
        let layers = [
            layer(0, dim, dim, n_hidden),
            layer(1, hidden, n_hidden, n_hidden),
            layer(2, hidden, n_hidden, 1),
        ];
        Self { layers, n_steps: 0 }
    }

    /// Trains on rows `x`, of which `is_sample` says the class; the number of epochs.
    pub(super) fn train(&mut self, x: &[f32], is_sample: &[bool], order: &NoiseStream) -> usize {
        let (dim, n) = (self.layers[0].n_in, is_sample.len());
        let mut scratch = Scratch::default();
        let (mut best, mut n_idle) = (f64::INFINITY, 0);
        for epoch in 0..MAX_EPOCHS {
            let mut sum = 0.0;
            for batch in shuffled(n, order, epoch as u64).chunks(BATCH) {
                scratch.h[0].clear();
                scratch.h[0].extend(batch.iter().flat_map(|&row| &x[row * dim..][..dim]));
                let loss = self.step(&mut scratch, |i| is_sample[batch[i]]);
                sum += loss * batch.len() as f64;
            }
            let loss = sum / n as f64;
            n_idle = if loss > best - TOLERANCE { n_idle + 1 } else { 0 };
            best = best.min(loss);
            if n_idle > PATIENCE {
                return epoch + 1;
            }
        }
        MAX_EPOCHS
    }

    /// Whether each row is taken for a sample.
    pub(super) fn predict(&self, x: &[f32]) -> Vec<bool> {
        let mut scratch = Scratch::default();
        scratch.h[0].extend(x);
        self.forward(&mut scratch);
        scratch.h[N_LAYERS].chunks_exact(LANES).map(|z| z[0] > 0.0).collect()
    }

    fn forward(&self, scratch: &mut Scratch) {
        for (l, layer) in self.layers.iter().enumerate() {
            let n_rows = scratch.h[l].len() / layer.n_in;
            let (before, after) = scratch.h.split_at_mut(l + 1);
            let (x, y) = (&before[l], &mut after[0]);
            y.resize(n_rows * layer.n_out, 0.0);
            product(x, &layer.weight.values, y, layer.n_in, layer.n_out);
            let floor = if l + 1 < N_LAYERS { 0.0 } else { f32::NEG_INFINITY };
            for row in y.chunks_exact_mut(layer.n_out) {
                for (y, b) in row.iter_mut().zip(&layer.bias.values) {
                    *y = (*y + b).max(floor);
                }
            }
        }
    }

    /// One update on the batch in `scratch`; its loss.
    fn step(&mut self, scratch: &mut Scratch, is_sample: impl Fn(usize) -> bool) -> f64 {
        self.forward(scratch);
        let n = scratch.h[0].len() / self.layers[0].n_in;
        let shrink = ALPHA / n as f64;
        let mut loss = 0.0;
        scratch.delta[0].clear();
        scratch.delta[0].resize(n * LANES, 0.0);
        for (i, (delta, z)) in
            scratch.delta[0].chunks_exact_mut(LANES).zip(scratch.h[N_LAYERS].chunks_exact(LANES)).enumerate()
        {
            // log(1 + e^{−s z}) with s = 1 for a sample, −1 for a reference; its slope in z is p − [s = 1].
            let (z, sign) = (f64::from(z[0]), if is_sample(i) { 1.0 } else { -1.0 });
            let t = -sign * z;
            loss += t.max(0.0) + (-t.abs()).exp().ln_1p();
            delta[0] = (-sign / (1.0 + (-t).exp()) / n as f64) as f32;
        }
        loss /= n as f64;
        for l in (0..N_LAYERS).rev() {
            let Layer { n_in, n_out, weight, bias } = &mut self.layers[l];
            let (n_in, n_out) = (*n_in, *n_out);
            loss += 0.5 * shrink * weight.values.iter().map(|w| f64::from(w * w)).sum::<f64>();

            transpose(&scratch.h[l], n_in, &mut scratch.transposed);
            product(&scratch.transposed, &scratch.delta[0], &mut weight.gradient, n, n_out);
            for (g, w) in weight.gradient.iter_mut().zip(&weight.values) {
                *g += shrink as f32 * w;
            }
            bias.gradient.fill(0.0);
            for row in scratch.delta[0].chunks_exact(n_out) {
                for (g, d) in bias.gradient.iter_mut().zip(row) {
                    *g += d;
                }
            }
            if l > 0 {
                transpose(&weight.values, n_out, &mut scratch.transposed);
                let [delta, below] = &mut scratch.delta;
                below.resize(n * n_in, 0.0);
                product(delta, &scratch.transposed, below, n_out, n_in);
                for (d, h) in below.iter_mut().zip(&scratch.h[l]) {
                    *d = if *h > 0.0 { *d } else { 0.0 };
                }
                scratch.delta.swap(0, 1);
            }
        }
        self.n_steps += 1;
        let (bias1, bias2) = (1.0 - BETA1.powi(self.n_steps), 1.0 - BETA2.powi(self.n_steps));
        let rate = (RATE * bias2.sqrt() / bias1) as f32;
        for layer in &mut self.layers {
            layer.weight.update(rate);
            layer.bias.update(rate);
        }
        loss
    }
}

impl Adam {
    fn new(values: Vec<f32>) -> Self {
        let zeros = || vec![0.0; values.len()];
        Self { gradient: zeros(), first: zeros(), second: zeros(), values }
    }

    fn update(&mut self, rate: f32) {
        let (beta1, beta2) = (BETA1 as f32, BETA2 as f32);
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                let moments = self.first.iter_mut().zip(&mut self.second);
                for ((w, g), (m, v)) in self.values.iter_mut().zip(&self.gradient).zip(moments) {
                    *m = beta1 * *m + (1.0 - beta1) * g;
                    *v = beta2 * *v + (1.0 - beta2) * g * g;
                    *w -= rate * *m / (v.sqrt() + EPS);
                }
            },
        );
    }
}
