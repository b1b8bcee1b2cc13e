//! The linear layer, alone and with an activation.
//!
//! y = x Wᵀ + b, ẏ = ẋ Wᵀ

use candle_core::{DType, Tensor};
use flowmap_kernel::{Layer, Layers, Tape, is_summed, is_wanted};

use super::modulate::{input, output};
use crate::gradient::apply3;
use crate::{Activation, Dual, Result};

/// A linear layer and what follows it, for [`Dual::layers`].
#[derive(Clone, Copy, Debug)]
pub struct DenseLayer<'a> {
    /// W, `(out, in)`.
    pub weight: &'a Tensor,
    /// b, `(out,)`.
    pub bias: &'a Tensor,
    /// The activation, none for a plain linear layer.
    pub activation: Option<Activation>,
}

impl Dual {
    /// x Wᵀ + b over the last dimension: `(..., in)` to `(..., out)`.
    ///
    /// `weight` has shape `(out, in)`, `bias` shape `(out,)`; both are constant in the direction of the tangent.
    /// In f32 on a CPU or a CUDA device value and tangent go through one matrix product;
    /// elsewhere the composed operations run.
    /// With x in a half type, weights in f32 are rounded to it, and their gradients are in f32.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        if self.is_half_on_cpu() {
            let weight = self.rounded_weight(weight)?;
            let bias = bias.map(|bias| bias.to_dtype(DType::F32)).transpose()?;
            return self.in_single(|x| x.linear(&weight, bias.as_ref()));
        }
        self.fused_layer(weight, bias, None)?.map_or_else(|| self.composed_linear(weight, bias), Ok)
    }

    /// The linear layer by Candle's own operations.
    fn composed_linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let weight_t = self.weight_of_its_type(weight)?.t()?;
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
            let bias = self.weight_of_its_type(bias)?;
            y = Self::from_parts(y.primal().broadcast_add(&bias)?, y.tangent().cloned());
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
    /// In f32 on a CPU or a CUDA device value and tangent go through one matrix product and one fused pass;
    /// elsewhere the composed operations run.
    /// Half types are as in [`Dual::linear`].
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn linear_activation(&self, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Self> {
        if self.is_half_on_cpu() {
            let (weight, bias) = (self.rounded_weight(weight)?, bias.to_dtype(DType::F32)?);
            return self.in_single(|x| x.linear_activation(&weight, &bias, activation));
        }
        self.fused_layer(weight, Some(bias), Some(activation))?
            .map_or_else(|| self.composed_linear(weight, Some(bias))?.activate(activation), Ok)
    }

    /// Linear layers and their activations, one after the other: `(..., in)` to `(..., out)`.
    ///
    /// Inside [`crate::GradientSums::collect`], in f32 on a CPU or a CUDA device, all of them are one operation.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn layers(&self, layers: &[DenseLayer<'_>]) -> Result<Self> {
        // The gradients of all but the first layer have no other way out.
        let is_free = |t: &Tensor| !is_wanted(t) || is_summed(t);
        if self.fits_layer_kernel() && layers.iter().skip(1).all(|l| is_free(l.weight) && is_free(l.bias)) {
            return self.fused_layers(layers);
        }
        layers.iter().try_fold(self.clone(), |h, layer| match layer.activation {
            Some(activation) => h.linear_activation(layer.weight, layer.bias, activation),
            None => h.linear(layer.weight, Some(layer.bias)),
        })
    }

    /// Whether fused kernels take this type, on this device.
    fn fits_layer_kernel(&self) -> bool {
        let is_there = self.device().is_cpu() || (self.device().is_cuda() && self.primal().elem_count() > 0);
        self.dims().len() >= 2 && self.dtype() == DType::F32 && is_there
    }

    /// The fused kernel for one layer, if there is one.
    fn fused_layer(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        activation: Option<Activation>,
    ) -> Result<Option<Self>> {
        if !self.fits_layer_kernel() {
            return Ok(None);
        }
        let zeros;
        let bias = match bias {
            Some(bias) => bias,
            None => {
                zeros = Tensor::zeros(weight.dim(0)?, DType::F32, weight.device())?;
                &zeros
            }
        };
        Ok(Some(self.fused_layers(&[DenseLayer { weight, bias, activation }])?))
    }

    /// The fused kernel for layers whose gradients find their way.
    fn fused_layers(&self, layers: &[DenseLayer<'_>]) -> Result<Self> {
        let (_, leading) = self.dims().split_last().unwrap_or((&0, &[]));
        let rows: usize = leading.iter().product();
        let layers = layers.iter().map(|l| Layer::new(l.weight, l.bias, l.activation, rows));
        let layers = layers.collect::<candle_core::Result<Vec<_>>>()?;
        let tape = match layers.iter().flat_map(Layer::inputs).any(is_wanted)
            || is_wanted(self.primal())
            || self.tangent().is_some_and(is_wanted)
        {
            true => Tape::Recorded,
            false => Tape::Off,
        };
        let Some([weight, bias]) = layers.first().map(|l| l.inputs().map(Clone::clone)) else {
            return Ok(self.clone());
        };
        let (x, parts) = input(self)?;
        output(apply3(&x, &weight, &bias, Layers::new(layers, parts, tape)?)?, parts)
    }
}
