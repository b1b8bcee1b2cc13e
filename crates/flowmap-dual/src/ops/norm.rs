//! Normalisations, without affine part: multiply and add what the network asks for.
//!
//! y = (x − mean x) / √(var x + eps), the variance over n (not n − 1)

use crate::{Dual, Error, Result};

impl Dual {
    /// Layer normalisation over the last dimension, Ba and others 2016, arXiv:1607.06450.
    ///
    /// # Errors
    /// As Candle.
    pub fn layer_norm(&self, eps: f64) -> Result<Self> {
        let last = self.dims().len().saturating_sub(1);
        self.sub(&self.mean_keepdim(last)?)?.rms_norm(eps)
    }

    /// x / √(mean x² + eps) over the last dimension, Zhang and Sennrich 2019, arXiv:1910.07467.
    ///
    /// # Errors
    /// As Candle.
    pub fn rms_norm(&self, eps: f64) -> Result<Self> {
        let last = self.dims().len().saturating_sub(1);
        self.div(&self.sqr()?.mean_keepdim(last)?.shift(eps)?.sqrt()?)
    }

    /// Group normalisation of `(B, C, ...)`: each sample over each of `groups` groups of channels,
    /// Wu and He 2018, arXiv:1803.08494.
    ///
    /// # Errors
    /// [`Error::Groups`] where the groups do not divide the channels.
    pub fn group_norm(&self, groups: usize, eps: f64) -> Result<Self> {
        let dims = self.dims().to_vec();
        let size = |dim: usize| dims.get(dim).copied().unwrap_or(1);
        let (batch, channels) = (size(0), size(1));
        if groups == 0 || channels % groups != 0 {
            return Err(Error::Groups { groups, channels });
        }
        let per_group = self.primal().elem_count() / (batch * groups).max(1);
        self.reshape(&[batch, groups, per_group])?.layer_norm(eps)?.reshape(&dims)
    }
}
