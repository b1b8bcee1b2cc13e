//! The linear layer, alone and with an activation.
//!
//! y = x Wᵀ + b, ẏ = ẋ Wᵀ

use candle_core::{DType, Tensor};

use crate::kernel::Layer;
use crate::{Activation, Dual, Result};

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

    /// f(x Wᵀ + b): a linear layer and its activation, `(B, in)` to `(B, out)`.
    ///
    /// In f32 on a CPU value and tangent go through one matrix product and one fused pass;
    /// elsewhere the composed operations run.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn linear_activation(&self, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Self> {
        self.fused_layer(weight, bias, Some(activation))?
            .map_or_else(|| activation.apply(&self.linear(weight, Some(bias))?), Ok)
    }

    /// x Wᵀ + b: the last layer of a network, `(B, in)` to `(B, out)`; fused where
    /// [`Dual::linear_activation`] is.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn linear_output(&self, weight: &Tensor, bias: &Tensor) -> Result<Self> {
        self.fused_layer(weight, bias, None)?.map_or_else(|| self.linear(weight, Some(bias)), Ok)
    }

    /// The fused kernel, where there is one for this type and device.
    fn fused_layer(
        &self,
        weight: &Tensor,
        bias: &Tensor,
        activation: Option<Activation>,
    ) -> Result<Option<Self>> {
        let is_fused = self.dims().len() == 2 && self.dtype() == DType::F32 && self.device().is_cpu();
        if !is_fused {
            return Ok(None);
        }
        let (weight, layer) = (weight.contiguous()?, Layer::new(activation));
        Ok(Some(match self.stacked()? {
            None => Self::constant(self.primal().contiguous()?.apply_op3(&weight, bias, layer)?),
            Some(stacked) => Self::from_stacked(stacked.contiguous()?.apply_op3(&weight, bias, layer)?)?,
        }))
    }
}
