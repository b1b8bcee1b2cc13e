//! From residuals to one loss and its gradient: the squared norm per sample, its norm and weight, the one place of the
//! mean, and the tiles that are computed in parallel.
//!
//! Methods return |r|² of every sample; a [`Norm`] may flatten it, a [`TimeWeight`] weigh it by (s, t).
//! Nothing else weighs a sample.

mod bins;
mod combination;
mod deferred;
mod learned;
mod norm;
mod positional;
mod term;
mod tiles;
mod weight;

use candle_core::{D, Tensor};

pub use bins::{Bin, BinSums, DeferredRows};
pub use combination::{Combination, CombinationLoss, rows_of};
pub use deferred::{DeferredLosses, Losses};
pub use learned::{LearnedWeight, LearnedWeightConfig, WeightNet};
pub use norm::Norm;
pub use positional::{PositionalWeight, PositionalWeightConfig};
pub use term::{DropoutPasses, Term};
pub use tiles::{LossAndGradient, loss_and_gradient, tile_rows};
pub use weight::TimeWeight;

use crate::Result;
use crate::batch::as_column;

/// One loss per sample, `(B,)`, and the derivative that it was computed with, if there is one.
#[derive(Clone, Debug)]
pub struct PerSample {
    losses: Tensor,
    tangent: Option<Tensor>,
    /// The length that residuals and derivatives are measured in.
    unit: f64,
    /// α of losses α |r|², so that a norm bends at the same |r| whatever α is.
    part: f64,
}

impl PerSample {
    /// |r|² of each sample: the sum of squares over all dimensions but the first.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn squared_norm(residual: &Tensor) -> Result<Self> {
        Self::squared_norm_in(residual, 1.0)
    }

    /// |r/unit|² of each sample.
    ///
    /// Residuals are divided before they are squared, so that squares stay within f32 in any unit.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub(crate) fn squared_norm_in(residual: &Tensor, unit: f64) -> Result<Self> {
        Ok(Self { losses: sum_of_squares(&in_units(residual, unit)?)?, tangent: None, unit, part: 1.0 })
    }

    /// These losses with the derivative that they were computed with, `(B, ...)`, whose norm the training log records.
    ///
    /// The derivative is off the tape, and its norm is computed only on request.
    pub fn with_tangent(self, tangent: &Tensor) -> Self {
        Self { tangent: Some(tangent.detach()), ..self }
    }

    /// The losses, `(B,)`.
    pub fn tensor(&self) -> &Tensor {
        &self.losses
    }

    /// The norm of the derivative of each sample in the unit of the residuals, `(B,)` off the tape; `None` where the
    /// objective takes none.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn tangent_norms(&self) -> Result<Option<Tensor>> {
        let norms = |tangent: &Tensor| Ok(sum_of_squares(&in_units(tangent, self.unit)?)?.sqrt()?);
        self.tangent.as_ref().map(norms).transpose()
    }

    /// The mean over the samples, a scalar.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn mean(&self) -> Result<Tensor> {
        Ok(self.losses.mean_all()?)
    }

    /// The sum of two losses of the same samples; the derivative stays that of the first.
    ///
    /// # Errors
    /// An error of Candle's, if the numbers of samples differ.
    pub fn add(&self, other: &Self) -> Result<Self> {
        self.map(|losses| Ok((losses + &other.losses)?))
    }

    /// Every loss times one number.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn scale(&self, scale: f64) -> Result<Self> {
        self.map(|losses| Ok((losses * scale)?))
    }

    /// These losses as `part` times the squared norm of a residual; a norm ρ then gives part · ρ(L/part).
    pub(crate) fn with_part(self, part: f64) -> Self {
        Self { part, ..self }
    }

    /// The losses under a norm of the squared norm of the residual that they are a part of.
    fn under(&self, norm: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Self> {
        if self.part == 1.0 {
            return self.map(norm);
        }
        self.map(|losses| Ok((norm(&(losses / self.part)?)? * self.part)?))
    }

    /// Every loss times a number of its own, `(B,)`.
    ///
    /// # Errors
    /// An error of Candle's, if the numbers of samples differ.
    pub fn times(&self, weights: &Tensor) -> Result<Self> {
        self.map(|losses| Ok((losses * weights)?))
    }

    /// The losses off the tape.
    pub fn detach(&self) -> Self {
        Self { losses: self.losses.detach(), ..self.clone() }
    }

    /// The losses under another function, `(B,)` to `(B,)`.
    fn map(&self, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self { losses: f(&self.losses)?, ..self.clone() })
    }
}

/// x/unit, which is x itself for the unit 1.
fn in_units(x: &Tensor, unit: f64) -> Result<Tensor> {
    Ok(if unit == 1.0 { x.clone() } else { (x * unit.recip())? })
}

/// |x|² of each sample, `(B,)`.
fn sum_of_squares(x: &Tensor) -> Result<Tensor> {
    let squares = x.sqr()?;
    Ok(if squares.rank() < 2 { squares } else { squares.flatten_from(1)?.sum(D::Minus1)? })
}

/// x/(|x|/unit + c) with the norm of each sample; not for the tape, where the root at 0 has no slope.
pub(crate) fn normalized(x: &Tensor, c: f64, unit: f64) -> Result<Tensor> {
    let x = x.detach();
    let norm = (sum_of_squares(&in_units(&x, unit)?)?.sqrt()? + c)?;
    Ok(x.broadcast_div(&as_column(&norm, x.rank())?)?)
}
