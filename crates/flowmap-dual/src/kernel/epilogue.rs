//! What follows the matrix product of a layer, in one pass: bias, activation and the derivative of both.
//!
//! Equations (1) and (2) of the layer, on slices: rows z without the bias and, if stacked, below them rows ż.

use rayon::prelude::*;

use super::curve::{Curve, WithCurve, with_curve};
use super::simd::{Kernel, dispatch};
use crate::Activation;

/// Numbers in a chunk, about: enough to outweigh a task of the thread pool.
const CHUNK: usize = 16 * 1024;

/// Numbers in a chunk of whole rows.
fn chunk_len(columns: usize) -> usize {
    (CHUNK / columns.max(1)).max(1) * columns
}

/// y = f(z + b), and ẏ = f'(z + b) ż below.
pub(super) fn forward(activation: Activation, z: &[f32], bias: &[f32], is_stacked: bool) -> Vec<f32> {
    let mut y = vec![0f32; z.len()];
    let chunk = chunk_len(bias.len());
    if z.is_empty() {
        return y;
    }
    if is_stacked {
        let n = z.len() / 2;
        let (y, dy) = y.split_at_mut(n);
        let chunks = y.par_chunks_mut(chunk).zip(dy.par_chunks_mut(chunk));
        let inputs = z[..n].par_chunks(chunk).zip(z[n..].par_chunks(chunk));
        chunks.zip(inputs).for_each(|((y, dy), (z, dz))| {
            with_curve(activation, DualForward { z, dz, bias, y, dy });
        });
    } else {
        let chunks = y.par_chunks_mut(chunk).zip(z.par_chunks(chunk));
        chunks.for_each(|(y, z)| with_curve(activation, Forward { z, bias, y }));
    }
    y
}

/// The gradients of z, and of ż below, and of b.
pub(super) fn backward(
    activation: Activation,
    z: &[f32],
    bias: &[f32],
    gradient: &[f32],
    is_stacked: bool,
) -> (Vec<f32>, Vec<f32>) {
    let columns = bias.len();
    let mut gradient_z = vec![0f32; z.len()];
    let mut gradient_bias = vec![0f32; columns];
    let chunk = chunk_len(columns);
    let partial_sums: Vec<Vec<f32>> = if z.is_empty() {
        Vec::new()
    } else if is_stacked {
        let n = z.len() / 2;
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
    (gradient_z, gradient_bias)
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
