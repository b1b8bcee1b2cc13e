//! Linear layers with their activations, one after the other, as one operation with its tangent and its backward pass.
//!
//! z = x Wᵀ + b,  y = f(z);  ż = ẋ Wᵀ,  ẏ = f'(z) ż                         (1)
//!
//! backward, with ȳ and ẏ̄ the gradients of y and ẏ:
//! z̄ = f'(z) ȳ + f''(z) ż ẏ̄,  ż̄ = f'(z) ẏ̄                                  (2)
//! x̄ = z̄ W,  ẋ̄ = ż̄ W,  W̄ = z̄ᵀ x + ż̄ᵀ ẋ,  b̄ = Σ_rows z̄                      (3)
//!
//! f32 on the CPU and on CUDA devices (`cuda/layer.rs`); a stacked input holds the rows x and below them the rows ẋ, so that one product serves both.
//! A task takes a few rows through all layers, product and epilogue together, and back through (2) and x̄ of (3):
//! what it reads is still in the cache. The gradients of the weights follow for all rows at once.

mod backward;
pub(crate) mod epilogue;
mod operation;

use std::sync::{Arc, OnceLock};

use candle_core::{Device, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::Activation;
use crate::matmul::gemm::{Matrix, Output, Write, matmul};
use crate::matmul::panels::Panels;
use crate::memory::pool::Buffer;
use crate::memory::rows::{
    Block, BlockMut, blank_blocks, blocks, blocks_mut, cleared, reborrow, shared, whole_mut,
};
use crate::memory::slices::{Parts, is_wanted, with_floats};
use crate::memory::uninit::Blank;
use crate::shared::{self, Product};

/// Rows of the gradient of W that one task takes; a multiple of the rows of every innermost loop.
const BLOCK_WEIGHTS: usize = 96;
/// Rows of x packed at a time for the gradient of W.
const CHUNK_ROWS: usize = 512;
/// Below this number of rows, packing weights that nobody shares costs more than it saves.
const FEW_ROWS: usize = 12;

/// W as the products need it.
enum Weights {
    Packed(Arc<Panels>),
    Plain,
}

/// One layer: W `(out, in)`, b `(out,)` and f, the identity if there is none.
pub struct Layer {
    weight: Tensor,
    bias: Tensor,
    activation: Option<Activation>,
    /// b on the host; empty where the layer runs elsewhere.
    bias_values: Vec<f32>,
    d_in: usize,
    d_out: usize,
    weights: Weights,
}

impl Layer {
    /// A layer for `rows` rows.
    pub fn new(weight: &Tensor, bias: &Tensor, activation: Option<Activation>, rows: usize) -> Result<Self> {
        let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
        let (d_out, d_in) = weight.dims2()?;
        if bias.elem_count() != d_out {
            bail!("a layer of {d_out} outputs does not take a bias of {}", bias.elem_count());
        }
        if !weight.device().is_cpu() {
            let (bias_values, weights) = (Vec::new(), Weights::Plain);
            return Ok(Self { weight, bias, activation, bias_values, d_in, d_out, weights });
        }
        let bias_values = with_floats(&bias, |b| Ok(b.to_vec()))?;
        let weights = if rows < FEW_ROWS && !shared::is_shared() {
            Weights::Plain
        } else {
            let pack = || with_floats(&weight, |w| Ok(Panels::new(Matrix::rows(w, d_in).t())));
            Weights::Packed(shared::panels(&weight, Product::Forward, pack)?)
        };
        Ok(Self { weight, bias, activation, bias_values, d_in, d_out, weights })
    }

    /// Numbers in a row of the output.
    pub(crate) fn d_out(&self) -> usize {
        self.d_out
    }

    /// Numbers in a row of the input.
    #[cfg(feature = "cuda")]
    pub(crate) fn d_in(&self) -> usize {
        self.d_in
    }

    /// f.
    #[cfg(feature = "cuda")]
    pub(crate) fn activation(&self) -> Option<Activation> {
        self.activation
    }

    /// W, and b, the inputs of the operation.
    #[inline]
    pub fn inputs(&self) -> [&Tensor; 2] {
        [&self.weight, &self.bias]
    }

    /// (1) for a few rows; `z` is written if there is an activation.
    fn forward(&self, x: Block<'_>, z: &mut BlockMut<'_>, y: &mut BlockMut<'_>) -> Result<()> {
        match self.activation {
            None => {
                self.multiply(x, y)?;
                epilogue::add_bias(&self.bias_values, y.0);
            }
            Some(activation) => {
                self.multiply(x, z)?;
                epilogue::forward(activation, shared(z), &self.bias_values, reborrow(y));
            }
        }
        Ok(())
    }

    /// x Wᵀ and ẋ Wᵀ.
    fn multiply(&self, x: Block<'_>, z: &mut BlockMut<'_>) -> Result<()> {
        match &self.weights {
            Weights::Packed(panels) => multiply(x, self.d_in, panels, z, self.d_out()),
            Weights::Plain => with_floats(&self.weight, |w| {
                let w = Matrix::rows(w, self.d_in).t();
                matmul(Matrix::rows(x.0, self.d_in), w, z.0);
                if let (Some(dx), Some(dz)) = (x.1, &mut z.1) {
                    matmul(Matrix::rows(dx, self.d_in), w, dz);
                }
                Ok(())
            })?,
        }
        Ok(())
    }
}

/// The products of both parts of a block with packed weights.
fn multiply(x: Block<'_>, d_in: usize, panels: &Panels, z: &mut BlockMut<'_>, d_out: usize) {
    let product = |x, z| panels.multiply(Matrix::rows(x, d_in), Write::Set, Output::rows(z, d_out));
    product(x.0, z.0);
    if let (Some(dx), Some(dz)) = (x.1, &mut z.1) {
        product(dx, dz);
    }
}

/// What a backward pass needs of one layer.
#[derive(Default)]
struct Saved {
    /// x and ẋ; empty for the first layer, whose input Candle keeps.
    x: Buffer,
    /// z and ż without the bias; empty without an activation.
    z: Buffer,
}

/// For a block of rows, where z and y of each layer go.
#[derive(Default)]
struct Targets<'a> {
    zs: Vec<Option<BlockMut<'a>>>,
    ys: Vec<BlockMut<'a>>,
}

/// Whether a backward pass will follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tape {
    /// What it needs is kept.
    Recorded,
    /// Nothing is kept.
    Off,
}

/// The operation; its inputs are x `(..., in)` or, stacked, `(2, ..., in)`, and W and b of the first layer.
///
/// The gradients of further layers have no other way out than [`GradientSums`](crate::GradientSums).
pub struct Layers {
    layers: Vec<Layer>,
    parts: Parts,
    tape: Tape,
    saved: OnceLock<Vec<Saved>>,
    #[cfg(feature = "cuda")]
    on_device: OnceLock<Vec<crate::cuda::layer::Saved>>,
}

impl Layers {
    /// Layers of which each fits the next, for an x of `parts`.
    pub fn new(layers: Vec<Layer>, parts: Parts, tape: Tape) -> Result<Self> {
        for pair in layers.windows(2) {
            if pair[0].d_out() != pair[1].d_in {
                bail!("a layer of {} inputs does not take {} outputs", pair[1].d_in, pair[0].d_out());
            }
        }
        Ok(Self {
            layers,
            parts,
            tape,
            saved: OnceLock::new(),
            #[cfg(feature = "cuda")]
            on_device: OnceLock::new(),
        })
    }

    /// Whether ẋ follows x.
    fn is_stacked(&self) -> bool {
        self.parts == Parts::Stacked
    }

    /// Sizes of the output.
    fn output_shape(&self, input: &Shape) -> Result<Shape> {
        let d_in = self.layers.first().map_or(0, |layer| layer.d_in);
        match input.dims() {
            [leading @ .., last] if *last == d_in => Ok([leading, &[self.d_out()]].concat().into()),
            dims => bail!("a layer of {d_in} inputs does not take {dims:?}"),
        }
    }

    /// Numbers in a row of the output.
    fn d_out(&self) -> usize {
        self.layers.last().map_or(0, Layer::d_out)
    }

    /// The output for all rows, nothing kept.
    fn forward(&self, x: &[f32], d_in: usize, y: Blank<'_>) -> Result<()> {
        let is_stacked = self.is_stacked();
        let inputs = blocks(x, d_in, is_stacked).into_par_iter();
        inputs.zip(blank_blocks(y, self.d_out(), is_stacked)).try_for_each(|(x, y)| {
            let mut y = cleared(y);
            let rows = x.0.len() / d_in * if is_stacked { 2 } else { 1 };
            let mut last = Buffer::default();
            for (i, layer) in self.layers.iter().enumerate() {
                let n = rows * layer.d_out();
                let (mut z, mut next) = (Buffer::new(n), Buffer::default());
                let is_last = i + 1 == self.layers.len();
                if !is_last {
                    next = Buffer::new(n);
                }
                let x = if i == 0 { x } else { split(&last, is_stacked) };
                let Some(mut z) = whole_mut(&mut z, is_stacked) else { return Ok(()) };
                match whole_mut(&mut next, is_stacked) {
                    Some(mut next) => layer.forward(x, &mut z, &mut next)?,
                    None => layer.forward(x, &mut z, &mut y)?,
                }
                last = next;
            }
            Ok(())
        })
    }

    /// The output for all rows, and what the backward pass needs.
    fn forward_taped(&self, x: &[f32], d_in: usize, y: Blank<'_>) -> Result<Vec<Saved>> {
        let is_stacked = self.is_stacked();
        let rows = x.len() / d_in.max(1);
        let save = |(i, layer): (usize, &Layer)| Saved {
            x: Buffer::new(if i == 0 { 0 } else { rows * layer.d_in }),
            z: Buffer::new(if layer.activation.is_some() { rows * layer.d_out() } else { 0 }),
        };
        let mut saved: Vec<Saved> = self.layers.iter().enumerate().map(save).collect();
        let inputs = blocks(x, d_in, is_stacked);
        let mut targets: Vec<Targets<'_>> = inputs.iter().map(|_| Targets::default()).collect();
        let (zs, xs): (Vec<_>, Vec<_>) = saved.iter_mut().map(|s| (&mut s.z, &mut s.x)).unzip();
        for (layer, z) in self.layers.iter().zip(zs) {
            let mut zs = blocks_mut(z, layer.d_out(), is_stacked).into_iter();
            targets.iter_mut().for_each(|target| target.zs.push(zs.next()));
        }
        for (layer, y) in self.layers.iter().zip(xs.into_iter().skip(1)) {
            let ys = blocks_mut(y, layer.d_out(), is_stacked);
            targets.iter_mut().zip(ys).for_each(|(target, y)| target.ys.push(y));
        }
        let outputs = blank_blocks(y, self.d_out(), is_stacked);
        inputs.into_par_iter().zip(targets).zip(outputs).try_for_each(|((x, mut targets), output)| {
            targets.ys.push(cleared(output));
            for (i, (layer, z)) in self.layers.iter().zip(targets.zs).enumerate() {
                let (before, from_here) = targets.ys.split_at_mut(i);
                let x = before.last().map_or(x, shared);
                let Some(y) = from_here.first_mut() else { return Ok(()) };
                match z {
                    Some(mut z) => layer.forward(x, &mut z, y)?,
                    None => layer.forward(x, &mut (&mut [], None), y)?,
                }
            }
            Ok::<_, candle_core::Error>(())
        })?;
        Ok(saved)
    }
}

/// Stacked or plain rows as one block.
fn split(values: &[f32], is_stacked: bool) -> Block<'_> {
    match is_stacked {
        true => {
            let (primal, tangent) = values.split_at(values.len() / 2);
            (primal, Some(tangent))
        }
        false => (values, None),
    }
}

impl Layer {
    /// The gradient of W or b that `add` writes; `None` where nobody wants it or it went to the sums of this thread.
    fn gradient_of(&self, tensor: &Tensor, add: impl Fn(&mut [f32], Write)) -> Result<Option<Tensor>> {
        if !is_wanted(tensor) || shared::add_gradient(tensor, &add) {
            return Ok(None);
        }
        let mut values = vec![0f32; tensor.elem_count()];
        add(&mut values, Write::Set);
        Ok(Some(Tensor::from_vec(values, tensor.shape(), &Device::Cpu)?))
    }

    /// z̄ᵀ x over all rows, stacked ones included, written or added to `gw`, in parallel over its rows.
    fn weights(&self, gz: &[f32], x: &[f32], gw: &mut [f32], mut write: Write) {
        let (d_in, d_out) = (self.d_in, self.d_out());
        if gw.is_empty() {
            return;
        }
        if gz.is_empty() && write == Write::Set {
            gw.fill(0.0);
        }
        for (gz, x) in gz.chunks(CHUNK_ROWS * d_out).zip(x.chunks(CHUNK_ROWS * d_in)) {
            let (gz, panels) = (Matrix::rows(gz, d_out), Panels::new(Matrix::rows(x, d_in)));
            gw.par_chunks_mut(BLOCK_WEIGHTS * d_in).enumerate().for_each(|(i, gw)| {
                let block = gz.columns(i * BLOCK_WEIGHTS, gw.len() / d_in).t();
                panels.multiply(block, write, Output::rows(gw, d_in));
            });
            write = Write::Add;
        }
    }
}
