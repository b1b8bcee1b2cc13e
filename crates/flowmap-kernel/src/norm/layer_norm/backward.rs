//! The backward pass of LayerNorm and RMSNorm: equations (3) to (7) of [`norm`](crate::norm).

use rayon::prelude::*;

use super::{Center, Columns, Rows};
use crate::lanes::reduce::{NARROW, WIDE, sums};
use crate::memory::slices::{Pair, Parts};
use crate::memory::uninit::written;
use crate::norm::{GAIN, Gradients, Inputs, N_SUMS, SHIFT, Stats, TANGENT_GAIN, TANGENT_SHIFT, run, total};
use crate::pointwise::curve::{Curve, WithCurve};

/// (3) to (7).
pub(crate) fn backward(rows: Rows, inputs: Inputs<'_>, stats: &[Stats], gy: Pair<'_>) -> Gradients {
    let (len, width, chunk) = (rows.len(), rows.channels, rows.chunk());
    let n_chunks = rows.n_chunks();
    let mut partials = vec![0f32; rows.runs * n_chunks * N_SUMS * width];
    if len == 0 {
        let gain = vec![0f32; rows.gain_len() * inputs.gain.count()];
        let shift = vec![0f32; rows.gain_len() * inputs.shift.count()];
        return Gradients { x: Vec::new(), gain, shift };
    }
    let zeros = vec![0f32; width];
    let (run_len, piece) = (rows.tokens * width, chunk * width);
    let x = written(len * inputs.x.count(), |gx| {
        let (gx, gdx) = gx.split_at(len);
        let partials = partials.par_chunks_mut(N_SUMS * width);
        let outputs = gx.pieces(run_len, piece).into_par_iter().zip(partials).enumerate();
        let columns = |i: usize| Columns::new(&inputs, i / n_chunks * width, width, &zeros);
        let start = |i: usize| i / n_chunks * run_len + i % n_chunks * piece;
        let stats = |i: usize| &stats[i / n_chunks * rows.tokens + i % n_chunks * chunk..];
        let dual = |i: usize, gx: &mut [f32], gdx: &mut [f32], partial: &mut [f32]| {
            let (columns, start, stats, zeros) = (columns(i), start(i), stats(i), &zeros[..]);
            run(
                inputs.activation,
                DualBackward { rows, inputs, columns, start, zeros, stats, gy, gx, gdx, partial },
            );
        };
        match (inputs.output, inputs.x.tangent) {
            (Parts::Plain, _) => outputs.for_each(|(i, (gx, partial))| {
                let gx = gx.clear();
                let range = start(i)..start(i) + gx.len();
                let (x, gy) = (&inputs.x.primal[range.clone()], &gy.primal[range]);
                let (columns, stats) = (columns(i), stats(i));
                run(inputs.activation, Backward { rows, inputs, columns, stats, x, gy, gx, partial });
            }),
            (Parts::Stacked, Some(_)) => {
                outputs.zip(gdx.pieces(run_len, piece)).for_each(|((i, (gx, partial)), gdx)| {
                    dual(i, gx.clear(), gdx.clear(), partial);
                });
            }
            // A constant x takes no gradient of its tangent, but the loop needs a place for it.
            (Parts::Stacked, None) => outputs.for_each(|(i, (gx, partial))| {
                let gx = gx.clear();
                let mut gdx = vec![0f32; gx.len()];
                dual(i, gx, &mut gdx, partial);
            }),
        }
    });
    let gathered = |which: usize| {
        total(rows.runs, n_chunks, width, |i, channel| partials[(i * N_SUMS + which) * width + channel])
    };
    let pair = |input: Pair<'_>, primal: usize, tangent: usize| {
        let mut gradient = gathered(primal);
        if input.tangent.is_some() {
            gradient.extend(gathered(tangent));
        }
        gradient
    };
    let (gain, shift) = (pair(inputs.gain, GAIN, TANGENT_GAIN), pair(inputs.shift, SHIFT, TANGENT_SHIFT));
    Gradients { x, gain, shift }
}

/// (3) to (7) for the rows of a task.
struct Backward<'a> {
    rows: Rows,
    inputs: Inputs<'a>,
    columns: Columns<'a>,
    stats: &'a [Stats],
    x: &'a [f32],
    gy: &'a [f32],
    gx: &'a mut [f32],
    partial: &'a mut [f32],
}

impl WithCurve for Backward<'_> {
    #[inline(always)]
    fn run<F: Curve>(self) {
        let (width, offset, center) = (self.rows.channels, self.inputs.offset, self.rows.center);
        let (partial_gain, partial_shift) = self.partial.split_at_mut(width);
        let rows = self.gx.chunks_exact_mut(width).zip(self.x.chunks_exact(width));
        for (((gx, x), gy), stats) in rows.zip(self.gy.chunks_exact(width)).zip(self.stats) {
            let Stats { mean, inverse, .. } = *stats;
            backward_row::<F>(x, self.columns, offset, *stats, gy, gx, partial_gain, partial_shift);
            let [sum, product] = sums::<WIDE, _, _>([x, &*gx], |[x, a]| [a, a * ((x - mean) * inverse)]);
            let (mean_a, product) = means(center, width, sum, product);
            for (gx, x) in gx.iter_mut().zip(x) {
                let n = (x - mean) * inverse;
                *gx = inverse * ((*gx - mean_a) - product * n);
            }
        }
    }
}

/// ⟨a⟩, which is left out without a center, and ⟨n a⟩.
#[inline(always)]
fn means(center: Center, width: usize, sum: f64, product: f64) -> (f32, f32) {
    let sum = if center == Center::Mean { sum } else { 0.0 };
    ((sum / width as f64) as f32, (product / width as f64) as f32)
}

/// (3) and (5) into `gx`, (4) added to the partial sums, without tangents.
#[inline(always)]
fn backward_row<F: Curve>(
    x: &[f32],
    columns: Columns<'_>,
    offset: f32,
    stats: Stats,
    gy: &[f32],
    gx: &mut [f32],
    partial_gain: &mut [f32],
    partial_shift: &mut [f32],
) {
    let gains = columns.gain.iter().zip(columns.shift);
    let partials = partial_gain.iter_mut().zip(partial_shift);
    let elements = gx.iter_mut().zip(x).zip(gy).zip(gains).zip(partials);
    for ((((gx, x), gy), (gain, shift)), (partial_gain, partial_shift)) in elements {
        let n = (x - stats.mean) * stats.inverse;
        let g = offset + gain;
        let gz = F::at(n * g + shift).1 * gy;
        *gx = g * gz;
        *partial_gain += n * gz;
        *partial_shift += gz;
    }
}

/// (3) to (7) for the rows of a task, the first of which begins at `start`.
struct DualBackward<'a> {
    rows: Rows,
    inputs: Inputs<'a>,
    columns: Columns<'a>,
    start: usize,
    zeros: &'a [f32],
    stats: &'a [Stats],
    gy: Pair<'a>,
    gx: &'a mut [f32],
    gdx: &'a mut [f32],
    partial: &'a mut [f32],
}

impl WithCurve for DualBackward<'_> {
    #[inline(always)]
    fn run<F: Curve>(self) {
        let (width, center) = (self.rows.channels, self.rows.center);
        let outputs = self.gx.chunks_exact_mut(width).zip(self.gdx.chunks_exact_mut(width));
        for (row, ((gx, gdx), stats)) in outputs.zip(self.stats).enumerate() {
            let at = self.start + row * width;
            let (x, dx) = self.inputs.x.row(at, width, self.zeros);
            let (gy, gdy) = self.gy.row(at, width, self.zeros);
            dual_backward_row::<F>(
                (x, dx),
                self.columns,
                self.inputs.offset,
                *stats,
                (gy, gdy),
                gx,
                gdx,
                self.partial,
            );
            let Stats { mean, inverse, tangent_mean, slope } = *stats;
            let [a, n_a, b, n_b, b_dc] = sums::<NARROW, _, _>([x, dx, &*gx, &*gdx], |[x, dx, a, b]| {
                let n = (x - mean) * inverse;
                [a, a * n, b, b * n, b * (dx - tangent_mean)]
            });
            let (mean_a, n_a) = means(center, width, a, n_a);
            let (mean_b, n_b) = means(center, width, b, n_b);
            let n_factor = n_a + inverse * ((b_dc / width as f64) as f32 - 3.0 * slope * n_b);
            for (((gx, gdx), x), dx) in gx.iter_mut().zip(gdx).zip(x).zip(dx) {
                let (n, dc) = ((x - mean) * inverse, dx - tangent_mean);
                let b = *gdx - mean_b;
                *gdx = inverse * (b - n_b * n);
                *gx = inverse * ((*gx - mean_a) - n_factor * n - inverse * (n_b * dc + slope * b));
            }
        }
    }
}

/// (3) and (5) into `gx` and `gdx`, (4) added to the partial sums.
#[inline(always)]
fn dual_backward_row<F: Curve>(
    (x, dx): (&[f32], &[f32]),
    columns: Columns<'_>,
    offset: f32,
    stats: Stats,
    (gy, gdy): (&[f32], &[f32]),
    gx: &mut [f32],
    gdx: &mut [f32],
    partial: &mut [f32],
) {
    let Stats { mean, inverse, tangent_mean, slope } = stats;
    let (values, tangents) = partial.split_at_mut(2 * gx.len());
    let (partial_gain, partial_shift) = values.split_at_mut(gx.len());
    let (partial_dgain, partial_dshift) = tangents.split_at_mut(gx.len());
    let gains = columns.gain.iter().zip(columns.dgain).zip(columns.shift.iter().zip(columns.dshift));
    let partials =
        partial_gain.iter_mut().zip(partial_dgain).zip(partial_shift.iter_mut().zip(partial_dshift));
    let elements =
        gx.iter_mut().zip(gdx).zip(x.iter().zip(dx)).zip(gy.iter().zip(gdy)).zip(gains).zip(partials);
    for (((((gx, gdx), (x, dx)), (gy, gdy)), ((gain, dgain), (shift, dshift))), sums) in elements {
        let n = (x - mean) * inverse;
        let dn = ((dx - tangent_mean) - slope * n) * inverse;
        let g = offset + gain;
        let (_, f1, f2) = F::at(n * g + shift);
        let gz = f1 * gy + f2 * (dn * g + n * dgain + dshift) * gdy;
        let gdz = f1 * gdy;
        *gx = g * gz + dgain * gdz;
        *gdx = g * gdz;
        let ((partial_gain, partial_dgain), (partial_shift, partial_dshift)) = sums;
        *partial_gain += n * gz + dn * gdz;
        *partial_shift += gz;
        *partial_dgain += n * gdz;
        *partial_dshift += gdz;
    }
}
