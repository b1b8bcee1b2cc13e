//! The pairs of noise and data that a loss is computed on.

use candle_core::Tensor;
use flowmap_core::Interpolant;

use crate::times::{TimeColumn, TimeFunction};
use crate::{Condition, OwnedCondition, PerSample, Result};

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
    /// An error of Candle's, if there are not as many times as samples.
    pub fn i(&self, t: &TimeColumn) -> Result<Tensor> {
        self.combine(t, TimeFunction::ALPHA, TimeFunction::BETA)
    }

    /// İ_t = α̇_t x_0 + β̇_t x_1, `(B, ...)`.
    ///
    /// # Errors
    /// An error of Candle's, if there are not as many times as samples.
    pub fn di(&self, t: &TimeColumn) -> Result<Tensor> {
        self.combine(t, TimeFunction::ALPHA_DOT, TimeFunction::BETA_DOT)
    }

    /// |r/unit|² of each sample: the loss of the residuals r, `(B, ...)`.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn squared_norm(&self, residual: &Tensor) -> Result<PerSample> {
        PerSample::squared_norm_in(residual, self.unit)
    }

    /// The samples `first..first + n`.
    ///
    /// # Errors
    /// If there are not that many.
    pub fn rows(&self, first: usize, n: usize) -> Result<OwnedBatch> {
        let rows = |x: &Tensor| x.narrow(0, first, n);
        Ok(OwnedBatch { x0: rows(self.x0)?, x1: rows(self.x1)?, condition: self.condition.rows(first, n)? })
    }

    fn combine(&self, t: &TimeColumn, a: TimeFunction, b: TimeFunction) -> Result<Tensor> {
        let column = |f| as_column(&t.map(f, self.interpolant)?, self.x0.rank());
        Ok((self.x0.broadcast_mul(&column(a)?)? + self.x1.broadcast_mul(&column(b)?)?)?)
    }
}

/// The tensors of a [`Batch`], owned.
#[derive(Clone, Debug)]
pub struct OwnedBatch {
    /// Noise, `(B, ...)`.
    pub x0: Tensor,
    /// Data, `(B, ...)`.
    pub x1: Tensor,
    /// What the network is told of each pair.
    pub condition: OwnedCondition,
}

impl OwnedBatch {
    /// The batch, with the interpolant between its pairs and the unit of its residuals.
    pub fn batch<'a>(&'a self, interpolant: &'a dyn Interpolant, unit: f64) -> Batch<'a> {
        Batch { x0: &self.x0, x1: &self.x1, condition: (&self.condition).into(), interpolant, unit }
    }
}

/// What the random numbers of a step are drawn from, in addition to its batch.
///
/// ```
/// use flowmap_nn::StepKey;
///
/// assert_eq!(StepKey::of_step(42, 3, 128), StepKey { seed: 42, step: 3, first_row: 384 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepKey {
    /// The seed of the run.
    pub seed: u64,
    /// Number of the training step, for methods that warm up or anneal.
    pub step: u64,
    /// Number of the batch's first row among the rows of all steps: a row's number decides its times and its dropout.
    pub first_row: u64,
}

impl StepKey {
    /// The key of `step` in a run all of whose batches have `batch` rows.
    pub fn of_step(seed: u64, step: u64, batch: usize) -> Self {
        Self { seed, step, first_row: step.wrapping_mul(batch as u64) }
    }
}

/// `(B,)` as `(B, 1, ..., 1)` of the given rank, to multiply samples `(B, ...)` by a number each.
///
/// # Errors
/// Candle's error, if an operation fails.
pub fn as_column(t: &Tensor, rank: usize) -> Result<Tensor> {
    let mut dims = vec![1; rank.max(1)];
    dims[0] = t.elem_count();
    Ok(t.reshape(dims)?)
}
