//! What follows the matrix product of a linear layer, in one pass: bias, activation and the derivative of both.
//!
//! y = f(z + b),  ẏ = f'(z + b) ż                                        (1)
//!
//! backward, with ȳ and ẏ̄ the gradients of y and ẏ:
//! z̄ = f'(z + b) ȳ + f''(z + b) ż ẏ̄,  ż̄ = f'(z + b) ẏ̄,  b̄ = Σ_rows z̄        (2)
//!
//! f32 on the CPU; a stacked input holds the rows z and below them the rows ż.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::curve::{Curve, WithCurve, with_curve};
use super::simd::{Kernel, dispatch};
use crate::Activation;

/// Numbers in a chunk, about: enough to outweigh a task of the thread pool.
const CHUNK: usize = 16 * 1024;

/// Bias and activation after a matrix product, on plain rows `(B, H)` or stacked ones `(2, B, H)`.
pub(crate) struct Epilogue {
    /// The activation f.
    pub(crate) activation: Activation,
}

/// The backward pass (2): gradients of z (and ż), then of b, in one flat output.
struct EpilogueBackward {
    activation: Activation,
}

/// Number of rows of z, of columns, and whether ż follows.
fn sizes(shape: &Shape) -> Result<(usize, usize, bool)> {
    match shape.dims() {
        [rows, columns] => Ok((*rows, *columns, false)),
        [2, rows, columns] => Ok((*rows, *columns, true)),
        other => bail!("expected rows (B, H) or stacked rows (2, B, H), found {other:?}"),
    }
}

/// The numbers of a contiguous f32 tensor.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let CpuStorage::F32(values) = storage else { bail!("the fused epilogue takes f32 only") };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("the fused epilogue takes contiguous tensors only"),
    }
}

/// Rows in a chunk.
fn chunk_rows(columns: usize) -> usize {
    (CHUNK / columns.max(1)).max(1)
}

impl CustomOp2 for Epilogue {
    fn name(&self) -> &'static str {
        "epilogue"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (z, bias) = (floats(s1, l1)?, floats(s2, l2)?);
        let (rows, columns, is_stacked) = sizes(l1.shape())?;
        let mut y = vec![0f32; z.len()];
        let n = rows * columns;
        let chunk = chunk_rows(columns) * columns;
        let activation = self.activation;
        if n > 0 && is_stacked {
            let (y, dy) = y.split_at_mut(n);
            let chunks = y.par_chunks_mut(chunk).zip(dy.par_chunks_mut(chunk));
            let inputs = z[..n].par_chunks(chunk).zip(z[n..].par_chunks(chunk));
            chunks.zip(inputs).for_each(|((y, dy), (z, dz))| {
                with_curve(activation, DualForward { z, dz, bias, y, dy });
            });
        } else if n > 0 {
            let chunks = y.par_chunks_mut(chunk).zip(z.par_chunks(chunk));
            chunks.for_each(|(y, z)| with_curve(activation, Forward { z, bias, y }));
        }
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(
        &self,
        z: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let backward = EpilogueBackward { activation: self.activation };
        let both = z.apply_op3_no_bwd(bias, &gradient.contiguous()?, &backward)?;
        let (n, columns) = (z.elem_count(), bias.elem_count());
        Ok((Some(both.narrow(0, 0, n)?.reshape(z.shape())?), Some(both.narrow(0, n, columns)?)))
    }
}

impl CustomOp3 for EpilogueBackward {
    fn name(&self) -> &'static str {
        "epilogue-backward"
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
        let (z, bias, gradient) = (floats(s1, l1)?, floats(s2, l2)?, floats(s3, l3)?);
        let (rows, columns, is_stacked) = sizes(l1.shape())?;
        let n = rows * columns;
        let mut out = vec![0f32; z.len() + columns];
        let (gradient_z, gradient_bias) = out.split_at_mut(z.len());
        let chunk = chunk_rows(columns) * columns;
        let activation = self.activation;
        let partial_sums: Vec<Vec<f32>> = if n == 0 {
            Vec::new()
        } else if is_stacked {
            let (gz, gdz) = gradient_z.split_at_mut(n);
            let outputs = gz.par_chunks_mut(chunk).zip(gdz.par_chunks_mut(chunk));
            let inputs = z[..n].par_chunks(chunk).zip(z[n..].par_chunks(chunk));
            let gradients = gradient[..n].par_chunks(chunk).zip(gradient[n..].par_chunks(chunk));
            let backward = |(((gz, gdz), (z, dz)), (gy, gdy))| {
                let mut gb = vec![0f32; columns];
                with_curve(activation, DualBackward { z, dz, bias, gy, gdy, gz, gdz, gb: &mut gb });
                gb
            };
            outputs.zip(inputs).zip(gradients).map(backward).collect()
        } else {
            let inputs = z.par_chunks(chunk).zip(gradient.par_chunks(chunk));
            let backward = |(gz, (z, gy))| {
                let mut gb = vec![0f32; columns];
                with_curve(activation, Backward { z, bias, gy, gz, gb: &mut gb });
                gb
            };
            gradient_z.par_chunks_mut(chunk).zip(inputs).map(backward).collect()
        };
        // In the order of the chunks, whichever thread had them.
        for partial in partial_sums {
            gradient_bias.iter_mut().zip(partial).for_each(|(sum, part)| *sum += part);
        }
        let length = out.len();
        Ok((CpuStorage::F32(out), length.into()))
    }
}

/// Declares a task over rows: its slices, and what it does with one row after the other.
macro_rules! row_task {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* } |$this:ident, $curve:ident| $body:block) => {
        $(#[$doc])*
        struct $name<'a> { $($field: $type),* }

        impl WithCurve for $name<'_> {
            fn run<C: Curve>(self) {
                /// The task with its curve.
                struct Task<'a, C>($name<'a>, std::marker::PhantomData<C>);
                impl<$curve: Curve> Kernel for Task<'_, $curve> {
                    #[inline(always)]
                    fn run(self) {
                        let $this = self.0;
                        $body
                    }
                }
                dispatch(Task::<C>(self, std::marker::PhantomData));
            }
        }
    };
}

row_task! {
    /// (1) without a tangent.
    Forward { z: &'a [f32], bias: &'a [f32], y: &'a mut [f32] } |task, F| {
        let width = task.bias.len();
        for (y, z) in task.y.chunks_exact_mut(width).zip(task.z.chunks_exact(width)) {
            for ((y, z), b) in y.iter_mut().zip(z).zip(task.bias) {
                *y = F::at(z + b).0;
            }
        }
    }
}

row_task! {
    /// (1).
    DualForward {
        z: &'a [f32], dz: &'a [f32], bias: &'a [f32], y: &'a mut [f32], dy: &'a mut [f32]
    } |task, F| {
        let width = task.bias.len();
        let outputs = task.y.chunks_exact_mut(width).zip(task.dy.chunks_exact_mut(width));
        let inputs = task.z.chunks_exact(width).zip(task.dz.chunks_exact(width));
        for ((y, dy), (z, dz)) in outputs.zip(inputs) {
            for ((((y, dy), z), dz), b) in y.iter_mut().zip(dy).zip(z).zip(dz).zip(task.bias) {
                let (f, f1, _) = F::at(z + b);
                *y = f;
                *dy = f1 * dz;
            }
        }
    }
}

row_task! {
    /// (2) without a tangent.
    Backward { z: &'a [f32], bias: &'a [f32], gy: &'a [f32], gz: &'a mut [f32], gb: &'a mut [f32] } |task, F| {
        let width = task.bias.len();
        let rows = task.gz.chunks_exact_mut(width).zip(task.z.chunks_exact(width)).zip(task.gy.chunks_exact(width));
        for ((gz, z), gy) in rows {
            for ((((gz, z), gy), b), gb) in gz.iter_mut().zip(z).zip(gy).zip(task.bias).zip(&mut *task.gb) {
                *gz = F::at(z + b).1 * gy;
                *gb += *gz;
            }
        }
    }
}

row_task! {
    /// (2).
    DualBackward {
        z: &'a [f32], dz: &'a [f32], bias: &'a [f32], gy: &'a [f32], gdy: &'a [f32],
        gz: &'a mut [f32], gdz: &'a mut [f32], gb: &'a mut [f32]
    } |task, F| {
        let width = task.bias.len();
        let outputs = task.gz.chunks_exact_mut(width).zip(task.gdz.chunks_exact_mut(width));
        let inputs = task.z.chunks_exact(width).zip(task.dz.chunks_exact(width));
        let gradients = task.gy.chunks_exact(width).zip(task.gdy.chunks_exact(width));
        for (((gz, gdz), (z, dz)), (gy, gdy)) in outputs.zip(inputs).zip(gradients) {
            let columns = gz.iter_mut().zip(gdz).zip(z).zip(dz).zip(gy).zip(gdy).zip(task.bias).zip(&mut *task.gb);
            for (((((((gz, gdz), z), dz), gy), gdy), b), gb) in columns {
                let (_, f1, f2) = F::at(z + b);
                *gz = f1 * gy + f2 * dz * gdy;
                *gdz = f1 * gdy;
                *gb += *gz;
            }
        }
    }
}
