//! Sums and means.

use candle_core::Tensor;

use crate::{Dual, Result};

impl Dual {
    /// The sum over dimension `dim`, kept with size one.
    ///
    /// # Errors
    /// Where the dimension does not exist.
    pub fn sum_keepdim(&self, dim: usize) -> Result<Self> {
        self.map_linear(|x| x.sum_keepdim(dim))
    }

    /// The mean over dimension `dim`, kept with size one.
    ///
    /// # Errors
    /// Where the dimension does not exist.
    pub fn mean_keepdim(&self, dim: usize) -> Result<Self> {
        self.map_linear(|x| x.mean_keepdim(dim))
    }

    /// The sum over all dimensions but the first: `(B, ...)` to `(B,)`.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn sum_per_sample(&self) -> Result<Self> {
        self.map_linear(|x| match x.rank() {
            0 | 1 => Ok(x.clone()),
            _ => x.flatten_from(1)?.sum(1),
        })
    }

    /// The sum of all elements, a scalar.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn sum_all(&self) -> Result<Self> {
        self.map_linear(Tensor::sum_all)
    }
}
