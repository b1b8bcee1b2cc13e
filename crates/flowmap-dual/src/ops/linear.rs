//! The linear layer, alone and with an activation.
//!
//! y = x Wᵀ + b, ẏ = ẋ Wᵀ

use candle_core::{DType, Tensor};

use crate::kernel::Epilogue;
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
        let is_fused = self.dims().len() == 2 && self.dtype() == DType::F32 && self.device().is_cpu();
        if !is_fused {
            return activation.apply(&self.linear(weight, Some(bias))?);
        }
        let (weight_t, epilogue) = (weight.t()?, Epilogue { activation });
        match self.stacked()? {
            None => Ok(Self::constant(self.primal().matmul(&weight_t)?.apply_op2(bias, epilogue)?)),
            Some(stacked) => {
                let (batch, d_out) = (self.dims()[0], weight.dim(0)?);
                let z = stacked.flatten_to(1)?.matmul(&weight_t)?.reshape((2, batch, d_out))?;
                Self::from_stacked(z.apply_op2(bias, epilogue)?)
            }
        }
    }
}
