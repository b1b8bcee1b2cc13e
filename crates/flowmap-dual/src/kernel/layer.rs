//! A linear layer with its activation as one operation, with its tangent and its backward pass.
//!
//! z = x Wᵀ + b,  y = f(z);  ż = ẋ Wᵀ,  ẏ = f'(z) ż                         (1)
//!
//! backward, with ȳ and ẏ̄ the gradients of y and ẏ:
//! z̄ = f'(z) ȳ + f''(z) ż ẏ̄,  ż̄ = f'(z) ẏ̄                                  (2)
//! x̄ = z̄ W,  ẋ̄ = ż̄ W,  W̄ = z̄ᵀ x + ż̄ᵀ ẋ,  b̄ = Σ_rows z̄                      (3)
//!
//! f32 on the CPU; a stacked input holds the rows x and below them the rows ẋ, so that one product serves both.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Storage, Tensor, bail};
use rayon::prelude::*;

use super::epilogue;
use super::gemm::{Matrix, matmul};
use crate::Activation;

/// Rows that one task takes: large enough for a product to run at speed, small enough to stay in the cache.
const CHUNK_ROWS: usize = 256;
/// Rows of the gradient of W that one task takes.
const CHUNK_WEIGHTS: usize = 64;

/// The layer; inputs are x `(B, in)` or `(2, B, in)`, W `(out, in)` and b `(out,)`.
pub(crate) struct Layer {
    activation: Option<Activation>,
    /// z and ż without the bias, for the backward pass.
    z: OnceLock<Vec<f32>>,
}

impl Layer {
    /// A layer with an activation, or a plain linear one.
    pub(crate) fn new(activation: Option<Activation>) -> Self {
        Self { activation, z: OnceLock::new() }
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
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let CpuStorage::F32(values) = storage else { bail!("the fused layer takes f32 only") };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("the fused layer takes contiguous tensors only"),
    }
}

/// Calls `f` with the numbers of a tensor.
fn with_floats<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(floats(storage, layout)?),
        _ => bail!("the fused layer runs on the CPU only"),
    }
}

/// The products of all rows of `x` with `b`, in parallel over chunks of rows.
fn product(x: &[f32], columns: usize, b: Matrix<'_>, out_columns: usize) -> Vec<f32> {
    let rows = x.len().checked_div(columns).unwrap_or(0);
    let mut out = vec![0f32; rows * out_columns];
    if !out.is_empty() {
        let chunks = out.par_chunks_mut(CHUNK_ROWS * out_columns).zip(x.par_chunks(CHUNK_ROWS * columns));
        chunks.for_each(|(out, x)| matmul(Matrix::rows(x, columns), b, out));
    }
    out
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
        let mut z = product(x, d_in, Matrix::rows(weight, d_in).t(), d_out);
        let y = match self.activation {
            Some(activation) => {
                let y = epilogue::forward(activation, &z, bias, is_stacked);
                // Set once: an operation runs forward once.
                let _ = self.z.set(z);
                y
            }
            None => {
                let primal = &mut z[..rows * d_out];
                primal
                    .chunks_exact_mut(d_out.max(1))
                    .for_each(|z| z.iter_mut().zip(bias).for_each(|(z, b)| *z += b));
                z
            }
        };
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
        let gradient = gradient.contiguous()?;
        // (2)
        let (gz, gb) = with_floats(&gradient, |gy| match (self.activation, self.z.get()) {
            (Some(activation), Some(z)) => {
                with_floats(bias, |bias| Ok(epilogue::backward(activation, z, bias, gy, is_stacked)))
            }
            _ => Ok((gy.to_vec(), column_sums(if is_stacked { &gy[..gy.len() / 2] } else { gy }, d_out))),
        })?;
        // (3); an input that leads to no parameter needs no gradient.
        let gx = match x.track_op() || x.is_variable() {
            true => {
                let gx = with_floats(weight, |w| Ok(product(&gz, d_out, Matrix::rows(w, d_in), d_in)))?;
                Some(Tensor::from_vec(gx, x.shape(), &Device::Cpu)?)
            }
            false => None,
        };
        let gw = match weight.track_op() || weight.is_variable() {
            true => Some(Tensor::from_vec(
                with_floats(x, |x| Ok(weights(&gz, x, d_out, d_in)))?,
                (d_out, d_in),
                &Device::Cpu,
            )?),
            false => None,
        };
        Ok((gx, gw, Some(Tensor::from_vec(gb, d_out, &Device::Cpu)?)))
    }
}

/// z̄ᵀ x over all rows, stacked ones included, in parallel over the outputs.
fn weights(gz: &[f32], x: &[f32], d_out: usize, d_in: usize) -> Vec<f32> {
    let mut gw = vec![0f32; d_out * d_in];
    if !gw.is_empty() {
        let (gz, x) = (Matrix::rows(gz, d_out), Matrix::rows(x, d_in));
        gw.par_chunks_mut(CHUNK_WEIGHTS * d_in).enumerate().for_each(|(i, gw)| {
            matmul(gz.columns(i * CHUNK_WEIGHTS, gw.len() / d_in).t(), x, gw);
        });
    }
    gw
}

fn column_sums(rows: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0f32; columns];
    for row in rows.chunks_exact(columns.max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    sums
}
