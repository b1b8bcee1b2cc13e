//! The rows of scores between the products: equations (2) and (4) of attention, one row after the other.

use crate::lanes::dispatch::Kernel;
use crate::pointwise::curve::exp;

/// Accumulators of a sum: enough for the widest vectors, fixed so that every width gives the same bits.
const LANES: usize = 16;

/// What the backward pass needs to know of a row of scores to make its softmax again, bit by bit.
#[derive(Clone, Copy, Default)]
pub(super) struct RowStatistics {
    /// max s
    max: f32,
    /// 1 / Σ e^{s − max}
    inverse_sum: f32,
    /// μ = Σ p ṡ
    mean: f32,
}

#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*x, *lane);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, b| larger(*b, a))
}

#[inline(always)]
fn total(lanes: &[f32; LANES]) -> f32 {
    let mut sum = 0.0;
    for lane in lanes {
        sum += lane;
    }
    sum
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    rest.fold(total(&lanes), |sum, (a, b)| sum + a * b)
}

/// s ← e^{s − max}, and the sum of that.
#[inline(always)]
fn exponentials(row: &mut [f32], max: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let mut chunks = row.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (lane, s) in lanes.iter_mut().zip(chunk) {
            *s = exp(*s - max);
            *lane += *s;
        }
    }
    let mut sum = total(&lanes);
    for s in chunks.into_remainder() {
        *s = exp(*s - max);
        sum += *s;
    }
    sum
}

/// (2) without a tangent: scores become weights.
pub(super) struct Forward<'a> {
    pub(super) s: &'a mut [f32],
    pub(super) statistics: &'a mut [RowStatistics],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run(self) {
        let columns = self.s.len() / self.statistics.len();
        for (s, row) in self.s.chunks_exact_mut(columns).zip(self.statistics) {
            let max = largest(s);
            let inverse_sum = 1.0 / exponentials(s, max);
            s.iter_mut().for_each(|s| *s *= inverse_sum);
            *row = RowStatistics { max, inverse_sum, mean: 0.0 };
        }
    }
}

/// (2): scores and their tangents become weights and theirs.
pub(super) struct DualForward<'a> {
    pub(super) s: &'a mut [f32],
    pub(super) ds: &'a mut [f32],
    pub(super) statistics: &'a mut [RowStatistics],
}

impl Kernel for DualForward<'_> {
    #[inline(always)]
    fn run(self) {
        let columns = self.s.len() / self.statistics.len();
        let rows = self.s.chunks_exact_mut(columns).zip(self.ds.chunks_exact_mut(columns));
        for ((s, ds), row) in rows.zip(self.statistics) {
            let max = largest(s);
            let inverse_sum = 1.0 / exponentials(s, max);
            let mean = inverse_sum * dot(s, ds);
            for (s, ds) in s.iter_mut().zip(ds) {
                *s *= inverse_sum;
                *ds = *s * (*ds - mean);
            }
            *row = RowStatistics { max, inverse_sum, mean };
        }
    }
}

/// (4) without a tangent: scores become weights, and gradients of weights become gradients of scores.
pub(super) struct Backward<'a> {
    pub(super) s: &'a mut [f32],
    pub(super) a: &'a mut [f32],
    pub(super) statistics: &'a [RowStatistics],
    /// ȳ and y, in rows.
    pub(super) gradients: &'a [f32],
    pub(super) outputs: &'a [f32],
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    fn run(self) {
        let (columns, width) =
            (self.s.len() / self.statistics.len(), self.outputs.len() / self.statistics.len());
        let rows = self.s.chunks_exact_mut(columns).zip(self.a.chunks_exact_mut(columns));
        for (i, ((s, a), row)) in rows.zip(self.statistics).enumerate() {
            let of = i * width..(i + 1) * width;
            let delta = dot(&self.gradients[of.clone()], &self.outputs[of]);
            for (s, a) in s.iter_mut().zip(a) {
                *s = exp(*s - row.max) * row.inverse_sum;
                *a = *s * (*a - delta);
            }
        }
    }
}

/// (4): as [`Backward`], with the tangents `ds` of scores and the gradients `b` of the tangents of weights.
pub(super) struct DualBackward<'a> {
    pub(super) s: &'a mut [f32],
    pub(super) ds: &'a mut [f32],
    pub(super) a: &'a mut [f32],
    pub(super) b: &'a mut [f32],
    pub(super) statistics: &'a [RowStatistics],
    /// ȳ and y, below them the gradient of ẏ and ẏ.
    pub(super) gradients: &'a [f32],
    pub(super) outputs: &'a [f32],
}

impl Kernel for DualBackward<'_> {
    #[inline(always)]
    fn run(self) {
        let n = self.statistics.len();
        let (columns, width) = (self.s.len() / n, self.outputs.len() / n / 2);
        let (gy, gdy) = self.gradients.split_at(n * width);
        let (y, dy) = self.outputs.split_at(n * width);
        let scores = self.s.chunks_exact_mut(columns).zip(self.ds.chunks_exact_mut(columns));
        let gradients = self.a.chunks_exact_mut(columns).zip(self.b.chunks_exact_mut(columns));
        for (i, (((s, ds), (a, b)), row)) in scores.zip(gradients).zip(self.statistics).enumerate() {
            let of = i * width..(i + 1) * width;
            let beta = dot(&gdy[of.clone()], &y[of.clone()]);
            let delta = dot(&gy[of.clone()], &y[of.clone()]) + dot(&gdy[of.clone()], &dy[of]);
            for ((s, ds), (a, b)) in s.iter_mut().zip(ds).zip(a.iter_mut().zip(b)) {
                let p = exp(*s - row.max) * row.inverse_sum;
                let dp = p * (*ds - row.mean);
                let rest = *b - beta;
                *s = p;
                *ds = dp;
                *a = p * (*a - delta) + dp * rest;
                *b = p * rest;
            }
        }
    }
}
