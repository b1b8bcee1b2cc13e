//! From residuals to one loss: the squared norm per sample, its norm and weight, and the one place of the mean.
//!
//! Objectives return |r|² of every sample; a [`Norm`] may flatten it, a [`TimeWeight`] weigh it by (s, t).
//! Nothing else weighs a sample.

mod learned;
mod norm;
mod weight;

use candle_core::{D, Tensor};

pub use learned::{LearnedWeight, LearnedWeightConfig};
pub use norm::Norm;
pub use weight::TimeWeight;

use crate::Result;
use crate::batch::as_column;

/// One loss per sample, `(B,)`.
#[derive(Clone, Debug)]
pub struct PerSample(Tensor);

impl PerSample {
    /// |r|² of each sample: the sum of squares over all dimensions but the first.
    ///
    /// # Errors
    /// As Candle.
    pub fn squared_norm(residual: &Tensor) -> Result<Self> {
        Ok(Self(sum_of_squares(residual)?))
    }

    /// The losses, `(B,)`.
    pub fn tensor(&self) -> &Tensor {
        &self.0
    }

    /// The mean over the samples, a scalar.
    ///
    /// # Errors
    /// As Candle.
    pub fn mean(&self) -> Result<Tensor> {
        Ok(self.0.mean_all()?)
    }

    /// The sum of two losses of the same samples.
    ///
    /// # Errors
    /// Where the numbers of samples differ.
    pub fn add(&self, other: &Self) -> Result<Self> {
        Ok(Self((&self.0 + &other.0)?))
    }

    /// Every loss times one number.
    ///
    /// # Errors
    /// As Candle.
    pub fn scale(&self, scale: f64) -> Result<Self> {
        Ok(Self((&self.0 * scale)?))
    }

    /// Every loss times a number of its own, `(B,)`.
    ///
    /// # Errors
    /// Where the numbers of samples differ.
    pub fn times(&self, weights: &Tensor) -> Result<Self> {
        Ok(Self((&self.0 * weights)?))
    }

    /// The losses under another function, `(B,)` to `(B,)`.
    fn map(&self, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self(f(&self.0)?))
    }
}

/// |x|² of each sample, `(B,)`.
fn sum_of_squares(x: &Tensor) -> Result<Tensor> {
    let squares = x.sqr()?;
    Ok(if squares.rank() < 2 { squares } else { squares.flatten_from(1)?.sum(D::Minus1)? })
}

/// x/(|x| + c) with the norm of each sample; not for the tape, where the root at 0 has no slope.
pub(crate) fn normalized(x: &Tensor, c: f64) -> Result<Tensor> {
    let norm = (sum_of_squares(&x.detach())?.sqrt()? + c)?;
    Ok(x.detach().broadcast_div(&as_column(&norm, x.rank())?)?)
}
