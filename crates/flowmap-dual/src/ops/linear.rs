//! The linear layer, alone and with an activation.
//!
//! y = x Wᵀ + b, ẏ = ẋ Wᵀ

use candle_core::{DType, Tensor};

use crate::kernel::{Layer, Tape};
use crate::{Activation, Dual, Result};

impl Dual {
    /// x Wᵀ + b over the last dimension: `(..., in)` to `(..., out)`.
    ///
    /// `weight` has shape `(out, in)`, `bias` shape `(out,)`; both are constant in the direction of the tangent.
    /// In f32 on a CPU value and tangent go through one matrix product; elsewhere the composed operations run.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        self.fused_layer(weight, bias, None)?.map_or_else(|| self.composed_linear(weight, bias), Ok)
    }

    /// The linear layer by Candle's own operations.
    fn composed_linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
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

    /// f(x Wᵀ + b): a linear layer and its activation, `(..., in)` to `(..., out)`.
    ///
    /// In f32 on a CPU value and tangent go through one matrix product and one fused pass;
    /// elsewhere the composed operations run.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn linear_activation(&self, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Self> {
        self.fused_layer(weight, Some(bias), Some(activation))?
            .map_or_else(|| activation.apply(&self.composed_linear(weight, Some(bias))?), Ok)
    }

    /// The fused kernel, where there is one for this type and device.
    fn fused_layer(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        activation: Option<Activation>,
    ) -> Result<Option<Self>> {
        let is_fused = self.dims().len() >= 2 && self.dtype() == DType::F32 && self.device().is_cpu();
        if !is_fused {
            return Ok(None);
        }
        let (d_out, d_in) = weight.dims2()?;
        let mut dims = self.dims().to_vec();
        let last = dims.pop().unwrap_or(d_in);
        let rows: usize = dims.iter().product();
        dims.push(d_out);
        let weight = weight.contiguous()?;
        let bias = match bias {
            Some(bias) => bias.contiguous()?,
            None => Tensor::zeros(d_out, DType::F32, weight.device())?,
        };
        let is_wanted = |t: &Tensor| t.track_op() || t.is_variable();
        let tape = match [self.primal(), &weight, &bias].into_iter().any(is_wanted)
            || self.tangent().is_some_and(is_wanted)
        {
            true => Tape::Recorded,
            false => Tape::Off,
        };
        let layer = Layer::new(activation, &weight, rows, tape)?;
        Ok(Some(match self.stacked()? {
            None => {
                let x = self.primal().contiguous()?.reshape((rows, last))?;
                Self::constant(x.apply_op3(&weight, &bias, layer)?.reshape(dims)?)
            }
            Some(stacked) => {
                let x = stacked.contiguous()?.reshape((2, rows, last))?;
                dims.insert(0, 2);
                Self::from_stacked(x.apply_op3(&weight, &bias, layer)?.reshape(dims)?)?
            }
        }))
    }
}
