//! Pairs and times around the closed-form flow of a Gaussian, and what its conditional variance is.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use candle_core::{DType, Device, Tensor};
use flowmap_core::{Interpolant, NoiseStream, Stream};
use flowmap_nn::Times;
use proptest::prelude::*;

use crate::gaussian_net::Truth;
use crate::path::Path;

/// Fixed seeds, so that a test at this many standard errors holds always or never.
const N_STANDARD_ERRORS: f64 = 4.0;
pub const SEED: u64 = 2025;

/// Pairs (x_0, x_1) from N(0, σ0² I) and N(m, diag(sd²)), `(n, D)` each.
pub fn pairs(truth: &Truth, n: usize) -> (Tensor, Tensor) {
    let dim = truth.mean.len();
    let draw = |stream| {
        let mut z = vec![0.0; n * dim];
        let stream = NoiseStream::new(SEED, stream);
        z.chunks_exact_mut(dim).enumerate().for_each(|(i, row)| stream.at(i as u64).fill_normal(row));
        z
    };
    let x0 = draw(Stream::Base).into_iter().map(|z| truth.sigma0 * z).collect();
    let x1 = draw(Stream::Data).chunks_exact(dim).flat_map(|z| target(truth, z)).collect();
    let tensor = |values: Vec<f64>| Tensor::from_vec(values, (n, dim), &Device::Cpu).unwrap();
    (tensor(x0), tensor(x1))
}

/// m + sd z.
pub fn target(truth: &Truth, z: &[f64]) -> Vec<f64> {
    z.iter().zip(truth.mean.iter().zip(&truth.sd)).map(|(z, (m, sd))| m + sd * z).collect()
}

pub fn triples(times: &[[f64; 3]]) -> Times {
    let triple = |&[s, u, t]: &[f64; 3]| flowmap_core::Times::forward(s, u, t).unwrap();
    Times::new(&times.iter().map(triple).collect::<Vec<_>>(), DType::F64, &Device::Cpu).unwrap()
}

pub fn column(times: &[f64]) -> Tensor {
    Tensor::from_slice(times, times.len(), &Device::Cpu).unwrap()
}

pub fn max_abs(x: &Tensor) -> f64 {
    x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

/// Any truth in two dimensions.
pub fn truths() -> impl Strategy<Value = Truth> {
    let path = prop::sample::select(Path::ALL.to_vec());
    let plane = |range: std::ops::Range<f64>| prop::collection::vec(range, 2);
    (path, 0.4..2.0, plane(-2.0..2.0), plane(0.3..2.0)).prop_map(|(path, sigma0, mean, sd)| Truth {
        path,
        sigma0,
        mean,
        sd,
        defect: 0.0,
    })
}

/// Triples s <= u <= t, the edges of the triangle among them.
pub fn ordered_times() -> impl Strategy<Value = Vec<[f64; 3]>> {
    let triple = prop::array::uniform3(0.0..=1.0).prop_map(|mut times: [f64; 3]| {
        times.sort_by(f64::total_cmp);
        times
    });
    let edges = [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.5, 1.0], [0.0, 0.0, 1.0], [0.4, 0.4, 0.4 + 1e-9]];
    prop::collection::vec(triple, 6).prop_map(move |mut times| {
        times.extend(edges);
        times
    })
}

pub fn example(path: Path) -> Truth {
    Truth { path, sigma0: 0.8, mean: vec![1.5, -0.5], sd: vec![0.5, 1.3], defect: 0.0 }
}

/// Times that fill the triangle, none of them on its edges.
pub fn inner_times(n: usize) -> Times {
    let stream = NoiseStream::new(SEED, Stream::Times);
    let triple = |i| {
        let mut noise = stream.at(i);
        let mut times = [noise.uniform(), noise.uniform(), noise.uniform()];
        times.sort_by(f64::total_cmp);
        times
    };
    triples(&(0..n as u64).map(triple).collect::<Vec<_>>())
}

/// Var(İ_t | I_t) in each direction: σ0² sd_i² (α β̇ − α̇ β)² / var_t,i.
pub fn conditional_variance(truth: &Truth, t: f64) -> Vec<f64> {
    let interpolant = truth.path.interpolant();
    let (a, b) = (interpolant.alpha(t), interpolant.beta(t));
    let wronskian = a * interpolant.beta_dot(t) - interpolant.alpha_dot(t) * b;
    let of = |sd: &f64| (truth.sigma0 * sd * wronskian).powi(2) / variances(truth, t, *sd);
    truth.sd.iter().map(of).collect()
}

/// var_t of a direction of the data with standard deviation sd.
pub fn variances(truth: &Truth, t: f64, sd: f64) -> f64 {
    let interpolant = truth.path.interpolant();
    (interpolant.alpha(t) * truth.sigma0).powi(2) + (interpolant.beta(t) * sd).powi(2)
}

/// Checks that the mean of `values` is `expected` within [`N_STANDARD_ERRORS`].
pub fn mean_is(expected: f64, values: &[f64], what: &str) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    let bound = N_STANDARD_ERRORS * (variance / n).sqrt();
    assert!((mean - expected).abs() <= bound, "{what}: mean {mean}, expected {expected}, bound {bound:e}");
}
