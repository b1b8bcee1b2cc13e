//! What an objective is computed on beside times: pairs of noise and data.

use candle_core::Tensor;
use flowmap_core::Interpolant;

use crate::times::{TimeColumn, TimeFn};
use crate::{Condition, Result};

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

    fn combine(&self, t: &TimeColumn, a: TimeFn, b: TimeFn) -> Result<Tensor> {
        let column = |f| as_column(&t.map(f, self.interpolant)?, self.x0.rank());
        Ok((self.x0.broadcast_mul(&column(a)?)? + self.x1.broadcast_mul(&column(b)?)?)?)
    }
}

/// `(B,)` as `(B, 1, ..., 1)` of the given rank.
pub(crate) fn as_column(t: &Tensor, rank: usize) -> Result<Tensor> {
    let mut dims = vec![1; rank.max(1)];
    dims[0] = t.elem_count();
    Ok(t.reshape(dims)?)
}
