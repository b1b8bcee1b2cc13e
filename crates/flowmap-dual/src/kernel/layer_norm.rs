//! LayerNorm and RMSNorm over rows: the loops of the equations of [`norm`](super::norm).
//!
//! Cost: forward reads a row from memory once and writes it once, the further passes find it in the cache;
//! backward likewise. Gradients of gain and shift are sums for each chunk of rows, added in the order of the chunks.

use rayon::prelude::*;

use super::blank::written;
use super::curve::{Curve, WithCurve};
use super::floats::{Pair, Parts};
use super::norm::{
    CHUNK, GAIN, Gradients, Inputs, N_SUMS, SHIFT, Stats, TANGENT_GAIN, TANGENT_SHIFT, run, total,
};
use super::sums::{NARROW, WIDE, sums};

/// What is taken off a row before its size is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Center {
    /// Its mean: LayerNorm.
    Mean,
    /// Nothing: RMSNorm.
    Origin,
}

/// Rows of `channels` numbers; every `tokens` of them share a gain and a shift.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    /// Runs of rows, each with a gain and a shift of its own.
    pub(crate) runs: usize,
    /// Rows in a run.
    pub(crate) tokens: usize,
    /// Numbers in a row.
    pub(crate) channels: usize,
    /// LayerNorm or RMSNorm.
    pub(crate) center: Center,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.runs * self.tokens * self.channels
    }

    pub(super) fn gain_len(&self) -> usize {
        self.runs * self.channels
    }

    /// Rows that one task takes, all of one run.
    fn chunk(&self) -> usize {
        (CHUNK / self.channels.max(1)).clamp(1, self.tokens.max(1))
    }

    /// Tasks in a run.
    fn n_chunks(&self) -> usize {
        self.tokens.div_ceil(self.chunk())
    }
}

/// (1) and, where the output is stacked, (2) below.
pub(super) fn forward(rows: Rows, inputs: Inputs<'_>) -> (Vec<f32>, Vec<Stats>) {
    let (len, width, chunk) = (rows.len(), rows.channels, rows.chunk());
    let mut stats = vec![Stats::default(); rows.runs * rows.tokens];
    if len == 0 {
        return (Vec::new(), stats);
    }
    let zeros = vec![0f32; width];
    let (run_len, piece) = (rows.tokens * width, chunk * width);
    let y = written(len * inputs.output.count(), |y| {
        let (y, dy) = y.split_at(len);
        let pieces_of_stats = stats.chunks_mut(rows.tokens).flat_map(|run| run.chunks_mut(chunk));
        let stats: Vec<&mut [Stats]> = pieces_of_stats.collect();
        let outputs = y.pieces(run_len, piece).into_par_iter().zip(stats).enumerate();
        let columns = |i: usize| Columns::new(&inputs, i / rows.n_chunks() * width, width, &zeros);
        let start = |i: usize| i / rows.n_chunks() * run_len + i % rows.n_chunks() * piece;
        match inputs.output {
            Parts::Plain => outputs.for_each(|(i, (y, stats))| {
                let y = y.clear();
                let x = &inputs.x.primal[start(i)..start(i) + y.len()];
                run(inputs.activation, Forward { rows, inputs, columns: columns(i), x, y, stats });
            }),
            Parts::Stacked => outputs.zip(dy.pieces(run_len, piece)).for_each(|((i, (y, stats)), dy)| {
                let task = DualForward {
                    rows,
                    inputs,
                    columns: columns(i),
                    start: start(i),
                    zeros: &zeros,
                    y: y.clear(),
                    dy: dy.clear(),
                    stats,
                };
                run(inputs.activation, task);
            }),
        }
    });
    (y, stats)
}

/// (3) to (7).
pub(super) fn backward(rows: Rows, inputs: Inputs<'_>, stats: &[Stats], gy: Pair<'_>) -> Gradients {
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

/// Gain and shift of the rows of a task, with their tangents.
#[derive(Clone, Copy)]
struct Columns<'a> {
    gain: &'a [f32],
    dgain: &'a [f32],
    shift: &'a [f32],
    dshift: &'a [f32],
}

impl<'a> Columns<'a> {
    fn new(inputs: &Inputs<'a>, start: usize, width: usize, zeros: &'a [f32]) -> Self {
        let (gain, dgain) = inputs.gain.row(start, width, zeros);
        let (shift, dshift) = inputs.shift.row(start, width, zeros);
        Self { gain, dgain, shift, dshift }
    }
}

/// (1) for the rows of a task.
struct Forward<'a> {
    rows: Rows,
    inputs: Inputs<'a>,
    columns: Columns<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
    stats: &'a mut [Stats],
}

impl WithCurve for Forward<'_> {
    #[inline(always)]
    fn run<F: Curve>(self) {
        let (width, offset) = (self.rows.channels, self.inputs.offset);
        let rows = self.y.chunks_exact_mut(width).zip(self.x.chunks_exact(width));
        for ((y, x), stats) in rows.zip(self.stats) {
            *stats = Stats::plain(x, self.rows.center, self.inputs.eps);
            let Stats { mean, inverse, .. } = *stats;
            for (((y, x), gain), shift) in y.iter_mut().zip(x).zip(self.columns.gain).zip(self.columns.shift)
            {
                *y = F::at((x - mean) * inverse * (offset + gain) + shift).0;
            }
        }
    }
}

/// (1) and (2) for the rows of a task, the first of which begins at `start`.
struct DualForward<'a> {
    rows: Rows,
    inputs: Inputs<'a>,
    columns: Columns<'a>,
    start: usize,
    zeros: &'a [f32],
    y: &'a mut [f32],
    dy: &'a mut [f32],
    stats: &'a mut [Stats],
}

impl WithCurve for DualForward<'_> {
    #[inline(always)]
    fn run<F: Curve>(self) {
        let width = self.rows.channels;
        let outputs = self.y.chunks_exact_mut(width).zip(self.dy.chunks_exact_mut(width));
        for (row, ((y, dy), stats)) in outputs.zip(self.stats).enumerate() {
            let (x, dx) = self.inputs.x.row(self.start + row * width, width, self.zeros);
            *stats = Stats::dual(x, dx, self.rows.center, self.inputs.eps);
            dual_forward_row::<F>(x, dx, self.columns, self.inputs.offset, *stats, y, dy);
        }
    }
}

#[inline(always)]
fn dual_forward_row<F: Curve>(
    x: &[f32],
    dx: &[f32],
    columns: Columns<'_>,
    offset: f32,
    stats: Stats,
    y: &mut [f32],
    dy: &mut [f32],
) {
    let Stats { mean, inverse, tangent_mean, slope } = stats;
    let gains = columns.gain.iter().zip(columns.dgain);
    let shifts = columns.shift.iter().zip(columns.dshift);
    let elements = y.iter_mut().zip(dy).zip(x.iter().zip(dx)).zip(gains.zip(shifts));
    for (((y, dy), (x, dx)), ((gain, dgain), (shift, dshift))) in elements {
        let n = (x - mean) * inverse;
        let dn = ((dx - tangent_mean) - slope * n) * inverse;
        let g = offset + gain;
        let (f, f1, _) = F::at(n * g + shift);
        *y = f;
        *dy = f1 * (dn * g + n * dgain + dshift);
    }
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
