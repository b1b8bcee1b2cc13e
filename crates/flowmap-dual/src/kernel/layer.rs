//! A linear layer with its activation as one operation, with its tangent and its backward pass.
//!
//! z = x Wᵀ + b,  y = f(z);  ż = ẋ Wᵀ,  ẏ = f'(z) ż                         (1)
//!
//! backward, with ȳ and ẏ̄ the gradients of y and ẏ:
//! z̄ = f'(z) ȳ + f''(z) ż ẏ̄,  ż̄ = f'(z) ẏ̄                                  (2)
//! x̄ = z̄ W,  ẋ̄ = ż̄ W,  W̄ = z̄ᵀ x + ż̄ᵀ ẋ,  b̄ = Σ_rows z̄                      (3)
//!
//! f32 on the CPU; a stacked input holds the rows x and below them the rows ẋ, so that one product serves both.
//! The work runs in blocks of a few rows, product and epilogue together: what the epilogue reads is still in the cache.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Storage, Tensor, bail};
use rayon::prelude::*;

use super::buffer::Buffer;
use super::epilogue;
use super::gemm::{Matrix, Output, Write, matmul};
use super::panels::Panels;
use super::scope::{self, Product};
use crate::Activation;

/// Rows of x, and as many of ẋ, that one task takes: what it computes stays in the second cache.
/// A multiple of the rows of every innermost loop.
const BLOCK_ROWS: usize = 36;
/// Rows of the gradient of W that one task takes; a multiple likewise.
const BLOCK_WEIGHTS: usize = 96;
/// Rows of x packed at a time for the gradient of W.
const CHUNK_ROWS: usize = 512;
/// Below this number of rows, packing weights that nobody shares costs more than it saves.
const FEW_ROWS: usize = 12;

/// Whether a backward pass will follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tape {
    /// z is kept for it.
    Recorded,
    /// Nothing is kept.
    Off,
}

/// W as the products need it.
enum Weights {
    Packed(Arc<Panels>),
    Plain,
}

/// The layer; inputs are x `(B, in)` or `(2, B, in)`, W `(out, in)` and b `(out,)`.
pub(crate) struct Layer {
    activation: Option<Activation>,
    tape: Tape,
    weights: Weights,
    /// z and ż without the bias, for the backward pass.
    z: OnceLock<Buffer>,
}

impl Layer {
    /// A layer with an activation, or a plain linear one, for `rows` rows.
    pub(crate) fn new(
        activation: Option<Activation>,
        weight: &Tensor,
        rows: usize,
        tape: Tape,
    ) -> Result<Self> {
        let weights = if rows < FEW_ROWS && !scope::is_shared() {
            Weights::Plain
        } else {
            let (_, d_in) = weight.dims2()?;
            let pack = || with_floats(weight, |w| Ok(Panels::new(Matrix::rows(w, d_in).t())));
            Weights::Packed(scope::panels(weight, Product::Forward, pack)?)
        };
        Ok(Self { activation, tape, weights, z: OnceLock::new() })
    }
}

/// Sizes of the input: rows of x, and whether ẋ follows.
fn rows_of(shape: &Shape) -> Result<(usize, bool)> {
    match shape.dims() {
        [rows, _] => Ok((*rows, false)),
        [2, rows, _] => Ok((*rows, true)),
        other => bail!("expected rows (B, in) or stacked rows (2, B, in), found {other:?}"),
    }
}

/// The numbers of a contiguous f32 tensor.
pub(super) fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let CpuStorage::F32(values) = storage else { bail!("a fused operation takes f32 only") };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("a fused operation takes contiguous tensors only"),
    }
}

/// Calls `f` with the numbers of a tensor.
pub(super) fn with_floats<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(floats(storage, layout)?),
        _ => bail!("a fused operation runs on the CPU only"),
    }
}

/// The same rows of a value and of its tangent, if there is one.
type Block<'a> = (&'a [f32], Option<&'a [f32]>);
type BlockMut<'a> = (&'a mut [f32], Option<&'a mut [f32]>);

/// Cuts rows, and the stacked rows below them, into blocks.
fn blocks(values: &[f32], columns: usize, is_stacked: bool) -> Vec<Block<'_>> {
    let len = (BLOCK_ROWS * columns).max(1);
    match is_stacked {
        true => {
            let (primal, tangent) = values.split_at(values.len() / 2);
            primal.chunks(len).zip(tangent.chunks(len).map(Some)).collect()
        }
        false => values.chunks(len).map(|block| (block, None)).collect(),
    }
}

/// As [`blocks`], to write.
fn blocks_mut(values: &mut [f32], columns: usize, is_stacked: bool) -> Vec<BlockMut<'_>> {
    let len = (BLOCK_ROWS * columns).max(1);
    match is_stacked {
        true => {
            let (primal, tangent) = values.split_at_mut(values.len() / 2);
            primal.chunks_mut(len).zip(tangent.chunks_mut(len).map(Some)).collect()
        }
        false => values.chunks_mut(len).map(|block| (block, None)).collect(),
    }
}

/// The products of both parts of a block.
fn multiply(x: Block<'_>, d_in: usize, panels: &Panels, z: &mut BlockMut<'_>, d_out: usize) {
    let product = |x, z| panels.multiply(Matrix::rows(x, d_in), Write::Set, Output::rows(z, d_out));
    product(x.0, z.0);
    if let (Some(dx), Some(dz)) = (x.1, &mut z.1) {
        product(dx, dz);
    }
}

impl Layer {
    /// y and ẏ (1) for all rows; z and ż go to `z` where it is wanted.
    fn forward(
        &self,
        x: &[f32],
        d_in: usize,
        bias: &[f32],
        is_stacked: bool,
        panels: &Panels,
    ) -> (Vec<f32>, Buffer) {
        let d_out = bias.len();
        let n_rows = x.len() / d_in.max(1);
        let mut y = vec![0f32; n_rows * d_out];
        let is_kept = self.tape == Tape::Recorded && self.activation.is_some();
        let mut z = Buffer::new(if is_kept { y.len() } else { 0 });
        let inputs = blocks(x, d_in, is_stacked);
        let mut outputs = blocks_mut(&mut y, d_out, is_stacked);
        match self.activation {
            None => inputs.into_par_iter().zip(&mut outputs).for_each(|(x, y)| {
                multiply(x, d_in, panels, y, d_out);
                epilogue::add_bias(bias, y.0);
            }),
            Some(activation) if is_kept => {
                let kept = blocks_mut(&mut z, d_out, is_stacked);
                inputs.into_par_iter().zip(outputs).zip(kept).for_each(|((x, y), mut z)| {
                    multiply(x, d_in, panels, &mut z, d_out);
                    epilogue::forward(activation, (z.0, z.1.as_deref()), bias, y);
                });
            }
            Some(activation) => inputs.into_par_iter().zip(outputs).for_each(|(x, y)| {
                let n = y.0.len();
                let mut z = Buffer::new(if is_stacked { 2 * n } else { n });
                let (value, tangent) = z.split_at_mut(n);
                let mut z = (value, is_stacked.then_some(tangent));
                multiply(x, d_in, panels, &mut z, d_out);
                epilogue::forward(activation, (z.0, z.1.as_deref()), bias, y);
            }),
        }
        (y, z)
    }

    /// The same for a few rows and weights as they lie.
    fn forward_plain(
        &self,
        x: &[f32],
        d_in: usize,
        weight: &[f32],
        bias: &[f32],
        is_stacked: bool,
    ) -> (Vec<f32>, Buffer) {
        let d_out = bias.len();
        let mut z = Buffer::new(x.len() / d_in.max(1) * d_out);
        matmul(Matrix::rows(x, d_in), Matrix::rows(weight, d_in).t(), &mut z);
        let n = if is_stacked { z.len() / 2 } else { z.len() };
        let Some(activation) = self.activation else {
            epilogue::add_bias(bias, &mut z[..n]);
            return (z.to_vec(), Buffer::default());
        };
        let mut y = vec![0f32; z.len()];
        let (value, tangent) = y.split_at_mut(n);
        let (z_value, z_tangent) = z.split_at(n);
        let block = (z_value, is_stacked.then_some(z_tangent));
        epilogue::forward(activation, block, bias, (value, is_stacked.then_some(tangent)));
        (y, z)
    }
}

impl CustomOp3 for Layer {
    fn name(&self) -> &'static str {
        "layer"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, bias) = (floats(s1, l1)?, floats(s2, l2)?, floats(s3, l3)?);
        let (rows, is_stacked) = rows_of(l1.shape())?;
        let (d_out, d_in) = l2.shape().dims2()?;
        if x.len() != rows * d_in * (1 + usize::from(is_stacked)) || bias.len() != d_out {
            bail!("a layer of {d_in} inputs and {d_out} outputs does not take {:?}", l1.shape());
        }
        let (y, z) = match &self.weights {
            Weights::Packed(panels) => self.forward(x, d_in, bias, is_stacked, panels),
            Weights::Plain => self.forward_plain(x, d_in, weight, bias, is_stacked),
        };
        // Set once: an operation runs forward once.
        let _ = self.z.set(z);
        let mut dims = l1.shape().dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = d_out;
        }
        Ok((CpuStorage::F32(y), dims.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (_, is_stacked) = rows_of(x.shape())?;
        let (d_out, d_in) = weight.dims2()?;
        let is_wanted = |t: &Tensor| t.track_op() || t.is_variable();
        // An input that leads to no parameter needs no gradient.
        let panels = match is_wanted(x) {
            true => {
                let pack = || with_floats(weight, |w| Ok(Panels::new(Matrix::rows(w, d_in))));
                Some(scope::panels(weight, Product::Backward, pack)?)
            }
            false => None,
        };
        let gradient = gradient.contiguous()?;
        with_floats(&gradient, |gy| {
            with_floats(bias, |bias_values| {
                let z = self.z.get().map(|z| &**z).unwrap_or_default();
                let pass = Backward { activation: self.activation, z, bias: bias_values, gy, is_stacked };
                let (gz, gx, gb) = pass.run(panels.as_deref(), d_in);
                let gz = gz.as_deref().unwrap_or(gy);
                let gx = match panels {
                    Some(_) => Some(Tensor::from_vec(gx, x.shape(), &Device::Cpu)?),
                    None => None,
                };
                let gb = match is_wanted(bias) {
                    true => gradient_of(bias, |sum| sum.iter_mut().zip(&gb).for_each(|(sum, g)| *sum += g))?,
                    false => None,
                };
                let gw = match is_wanted(weight) {
                    true => with_floats(x, |x| gradient_of(weight, |sum| weights(gz, x, d_out, d_in, sum)))?,
                    false => None,
                };
                Ok((gx, gw, gb))
            })
        })
    }
}

/// The gradient of `weight` that `add` adds to zeros; `None` where it went to the sums of this thread instead.
fn gradient_of(weight: &Tensor, add: impl Fn(&mut [f32])) -> Result<Option<Tensor>> {
    if scope::add_gradient(weight, &add) {
        return Ok(None);
    }
    let mut values = vec![0f32; weight.elem_count()];
    add(&mut values);
    Ok(Some(Tensor::from_vec(values, weight.shape(), &Device::Cpu)?))
}

/// What a backward pass starts from.
struct Backward<'a> {
    activation: Option<Activation>,
    z: &'a [f32],
    bias: &'a [f32],
    gy: &'a [f32],
    is_stacked: bool,
}

impl Backward<'_> {
    /// The gradients (2) of z and ż, `None` where they are those of y and ẏ, (3) of x and ẋ if `panels` holds W, and of b.
    fn run(&self, panels: Option<&Panels>, d_in: usize) -> (Option<Buffer>, Vec<f32>, Vec<f32>) {
        let Self { activation, z, bias, gy, is_stacked } = *self;
        let d_out = bias.len();
        let n_rows = gy.len() / d_out.max(1);
        let mut gx = vec![0f32; if panels.is_some() { n_rows * d_in } else { 0 }];
        let gradients = blocks(gy, d_out, is_stacked);
        // Where no gradient of x is wanted, there are no blocks to write.
        let mut outputs: Vec<Option<BlockMut<'_>>> =
            blocks_mut(&mut gx, d_in, is_stacked).into_iter().map(Some).collect();
        outputs.resize_with(gradients.len(), || None);
        let multiply_back = |gz: Block<'_>, gx: Option<BlockMut<'_>>| {
            if let (Some(panels), Some(mut gx)) = (panels, gx) {
                multiply(gz, d_out, panels, &mut gx, d_in);
            }
        };
        let (gz, partial_sums): (Option<Buffer>, Vec<Vec<f32>>) = match activation {
            None => {
                let sums = gradients.into_par_iter().zip(outputs).map(|(gy, gx)| {
                    multiply_back(gy, gx);
                    epilogue::column_sums(gy.0, d_out)
                });
                let sums = sums.collect();
                (None, sums)
            }
            Some(activation) => {
                let mut gz = Buffer::new(gy.len());
                let inputs = blocks(z, d_out, is_stacked).into_par_iter().zip(gradients);
                let targets = blocks_mut(&mut gz, d_out, is_stacked);
                let sums = inputs.zip(targets).zip(outputs).map(|(((z, gy), mut gz), gx)| {
                    let sums = epilogue::backward(activation, z, bias, gy, &mut gz);
                    multiply_back((gz.0, gz.1.as_deref()), gx);
                    sums
                });
                let sums = sums.collect();
                (Some(gz), sums)
            }
        };
        // In the order of the blocks, whichever thread had them.
        let mut gb = vec![0f32; d_out];
        for partial in partial_sums {
            gb.iter_mut().zip(partial).for_each(|(sum, part)| *sum += part);
        }
        (gz, gx, gb)
    }
}

/// Adds z̄ᵀ x over all rows, stacked ones included, to `gw`, in parallel over its rows.
fn weights(gz: &[f32], x: &[f32], d_out: usize, d_in: usize, gw: &mut [f32]) {
    if gw.is_empty() {
        return;
    }
    for (gz, x) in gz.chunks(CHUNK_ROWS * d_out).zip(x.chunks(CHUNK_ROWS * d_in)) {
        let (gz, panels) = (Matrix::rows(gz, d_out), Panels::new(Matrix::rows(x, d_in)));
        gw.par_chunks_mut(BLOCK_WEIGHTS * d_in).enumerate().for_each(|(i, gw)| {
            let block = gz.columns(i * BLOCK_WEIGHTS, gw.len() / d_in).t();
            panels.multiply(block, Write::Add, Output::rows(gw, d_in));
        });
    }
}
