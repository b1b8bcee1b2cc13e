//! LayerNorm and RMSNorm over rows: the loops of the equations of [`norm`](crate::norm).
//!
//! Cost: forward reads a row from memory once and writes it once, the further passes find it in the cache;
//! backward likewise. Gradients of gain and shift are sums for each chunk of rows, added in the order of the chunks.

mod backward;

use rayon::prelude::*;

use super::{CHUNK, Inputs, Stats, run};
use crate::memory::slices::Parts;
use crate::memory::uninit::written;
use crate::pointwise::curve::{Curve, WithCurve};

pub(crate) use backward::backward;

/// What is taken off a row before its size is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Center {
    /// The mean: LayerNorm.
    Mean,
    /// Nothing: RMSNorm.
    Origin,
}

/// Rows of `channels` numbers; every `tokens` of them share a gain and a shift.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Runs of rows, each with a gain and a shift of its own.
    pub runs: usize,
    /// Rows in a run.
    pub tokens: usize,
    /// Numbers in a row.
    pub channels: usize,
    /// LayerNorm or RMSNorm.
    pub center: Center,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.runs * self.tokens * self.channels
    }

    pub(crate) fn gain_len(&self) -> usize {
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
pub(crate) fn forward(rows: Rows, inputs: Inputs<'_>) -> (Vec<f32>, Vec<Stats>) {
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
