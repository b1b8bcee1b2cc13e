//! What follows the matrix product of a layer, in one pass: bias, activation and the derivative of both.
//!
//! Equations (1) and (2) of the layer, on slices: rows z without the bias and, if stacked, below them rows ż.

use crate::Activation;
use crate::lanes::dispatch::{Kernel, dispatch};
use crate::pointwise::curve::{Curve, WithCurve, with_curve};

/// y = f(z + b), and ẏ = f'(z + b) ż if there is a tangent.
pub(crate) fn forward(
    activation: Activation,
    z: (&[f32], Option<&[f32]>),
    bias: &[f32],
    y: (&mut [f32], Option<&mut [f32]>),
) {
    match (z.1, y.1) {
        (Some(dz), Some(dy)) => with_curve(activation, DualForward { z: z.0, dz, bias, y: y.0, dy }),
        _ => with_curve(activation, Forward { z: z.0, bias, y: y.0 }),
    }
}

/// The gradients of z, of ż if there is a tangent, and of b, the sum over these rows.
pub(crate) fn backward(
    activation: Activation,
    z: (&[f32], Option<&[f32]>),
    bias: &[f32],
    gy: (&[f32], Option<&[f32]>),
    gz: &mut (&mut [f32], Option<&mut [f32]>),
) -> Vec<f32> {
    let mut gb = vec![0f32; bias.len()];
    match (z.1, gy.1, &mut gz.1) {
        (Some(dz), Some(gdy), Some(gdz)) => {
            let task = DualBackward { z: z.0, dz, bias, gy: gy.0, gdy, gz: gz.0, gdz, gb: &mut gb };
            with_curve(activation, task);
        }
        _ => with_curve(activation, Backward { z: z.0, bias, gy: gy.0, gz: gz.0, gb: &mut gb }),
    }
    gb
}

/// z + b in the place of z.
pub(crate) fn add_bias(bias: &[f32], z: &mut [f32]) {
    let rows = z.chunks_exact_mut(bias.len().max(1));
    rows.for_each(|z| z.iter_mut().zip(bias).for_each(|(z, b)| *z += b));
}

/// The sum of all rows.
pub(crate) fn column_sums(rows: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0f32; columns];
    for row in rows.chunks_exact(columns.max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    sums
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
