//! The linear layer.
//!
//! y = x Wᵀ + b, ẏ = ẋ Wᵀ

use candle_core::Tensor;

use crate::{Dual, Result};

impl Dual {
    /// x Wᵀ + b over the last dimension: `(..., in)` to `(..., out)`.
    ///
    /// `weight` has shape `(out, in)`, `bias` shape `(out,)`; both are constant in the direction of the tangent.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let weight_t = weight.t()?;
        let out_features = weight.dim(0)?;
        let mut dims = self.dims().to_vec();
        let product = |x: &Tensor| -> candle_core::Result<Tensor> {
            match x.rank() {
                2 => x.matmul(&weight_t),
                // One matrix product for all leading dimensions, instead of one per batch entry.
                _ => x.flatten_to(x.rank() - 2)?.matmul(&weight_t),
            }
        };
        let mut y = self.map_linear(product)?;
        if let Some(bias) = bias {
            y = Self::from_parts(y.primal().broadcast_add(bias)?, y.tangent().cloned());
        }
        if dims.len() == 2 {
            return Ok(y);
        }
        if let Some(last) = dims.last_mut() {
            *last = out_features;
        }
        y.reshape(&dims)
    }
}
