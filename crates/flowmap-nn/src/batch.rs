//! What an objective is computed on beside times: pairs of noise and data.

use candle_core::Tensor;
use flowmap_core::Interpolant;

use crate::times::{TimeColumn, TimeFn};
use crate::{Condition, PerSample, Result};

/// A batch of pairs (x_0, x_1) and the interpolant between them.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Noise, `(B, ...)`.
    pub x0: &'a Tensor,
    /// Data, `(B, ...)`.
    pub x1: &'a Tensor,
    /// What the network is told of each pair.
    pub condition: Condition<'a>,
    /// The interpolant I_t = α_t x_0 + β_t x_1.
    pub interpolant: &'a dyn Interpolant,
    /// The length that residuals are measured in.
    ///
    /// 1 is the unit of x_0 and x_1; their standard deviation makes a loss, its gradient, and the constants of norms and
    /// optimizers mean the same for data in any unit.
    pub unit: f64,
}

impl Batch<'_> {
    /// I_t = α_t x_0 + β_t x_1, `(B, ...)`.
    ///
    /// # Errors
    /// Where the number of times is not that of the samples.
    pub fn i(&self, t: &TimeColumn) -> Result<Tensor> {
        self.combine(t, TimeFn::Alpha, TimeFn::Beta)
    }

    /// İ_t = α̇_t x_0 + β̇_t x_1, `(B, ...)`.
    ///
    /// # Errors
    /// Where the number of times is not that of the samples.
    pub fn di(&self, t: &TimeColumn) -> Result<Tensor> {
        self.combine(t, TimeFn::AlphaDot, TimeFn::BetaDot)
    }

    /// |r/unit|² of each sample: the loss of the residuals r, `(B, ...)`.
    ///
    /// # Errors
    /// As Candle.
    pub fn squared_norm(&self, residual: &Tensor) -> Result<PerSample> {
        PerSample::squared_norm_in(residual, self.unit)
    }

    fn combine(&self, t: &TimeColumn, a: TimeFn, b: TimeFn) -> Result<Tensor> {
        let column = |f| as_column(&t.map(f, self.interpolant)?, self.x0.rank());
        Ok((self.x0.broadcast_mul(&column(a)?)? + self.x1.broadcast_mul(&column(b)?)?)?)
    }
}

/// Where a batch stands in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Number of the training step, for what warms up or anneals.
    pub step: u64,
    /// Number of the first row among the rows of all steps, which the times and the dropout of a row depend on.
    pub first: u64,
}

impl Position {
    /// The batch of `step` in a run all of whose batches have so many rows.
    pub fn of_step(step: u64, batch: usize) -> Self {
        Self { step, first: step.wrapping_mul(batch as u64) }
    }
}

/// `(B,)` as `(B, 1, ..., 1)` of the given rank.
pub(crate) fn as_column(t: &Tensor, rank: usize) -> Result<Tensor> {
    let mut dims = vec![1; rank.max(1)];
    dims[0] = t.elem_count();
    Ok(t.reshape(dims)?)
}
