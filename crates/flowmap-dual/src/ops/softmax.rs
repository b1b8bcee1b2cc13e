//! Softmax, shifted by the largest entry so that nothing overflows.
//!
//! p = e^{x − max x} / Σ e^{x − max x}

use crate::{Dual, Result};

impl Dual {
    /// x minus its largest entry along `dim`; softmax does not see the shift, so it counts as a constant.
    fn shifted_by_max(&self, dim: usize) -> Result<Self> {
        let max = self.primal().max_keepdim(dim)?.detach();
        self.sub(&Self::constant(max))
    }

    /// Softmax along dimension `dim`.
    ///
    /// # Errors
    /// Where the dimension does not exist.
    pub fn softmax(&self, dim: usize) -> Result<Self> {
        let weights = self.shifted_by_max(dim)?.exp()?;
        weights.div(&weights.sum_keepdim(dim)?)
    }

    /// The logarithm of the softmax along dimension `dim`.
    ///
    /// # Errors
    /// Where the dimension does not exist.
    pub fn log_softmax(&self, dim: usize) -> Result<Self> {
        let shifted = self.shifted_by_max(dim)?;
        shifted.sub(&shifted.exp()?.sum_keepdim(dim)?.ln()?)
    }
}
