//! From residuals to one loss: the squared norm per sample, and the one place where samples are averaged.

use candle_core::{D, Tensor};

use crate::Result;

/// One loss per sample, `(B,)`.
#[derive(Clone, Debug)]
pub struct PerSample(Tensor);

impl PerSample {
    /// |r|² of each sample: the sum of squares over all dimensions but the first.
    ///
    /// # Errors
    /// As Candle.
    pub fn squared_norm(residual: &Tensor) -> Result<Self> {
        let squares = residual.sqr()?;
        let per_sample =
            if squares.rank() < 2 { squares } else { squares.flatten_from(1)?.sum(D::Minus1)? };
        Ok(Self(per_sample))
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
}
