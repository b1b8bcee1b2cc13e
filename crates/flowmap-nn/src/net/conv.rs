//! A convolution with a bias under its name in PyTorch: `{name}.weight` `(out, in, side, side)` and `{name}.bias` `(out,)`.

use candle_core::Tensor;
use flowmap_dual::Dual;

use super::Cost;
use crate::{Init, ParamBuilder, Result};

/// A convolution with a bias.
#[derive(Clone, Debug)]
pub struct Conv {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
    padding: usize,
    stride: usize,
}

impl Conv {
    /// A convolution of `(c_in, c_out)` channels with a window of `(side, padding, stride)`, its bias zero at first.
    ///
    /// # Errors
    /// What `builder` finds wrong with a checkpoint.
    pub fn new(
        name: &str,
        (c_in, c_out): (usize, usize),
        (side, padding, stride): (usize, usize, usize),
        init: Init,
        builder: &mut ParamBuilder,
    ) -> Result<Self> {
        Ok(Self {
            weight: builder.param(&format!("{name}.weight"), (c_out, c_in, side, side), init)?,
            bias: builder.param(&format!("{name}.bias"), c_out, Init::Zeros)?,
            padding,
            stride,
        })
    }

    /// K ∗ x + b of images `(B, C, H, W)`.
    ///
    /// # Errors
    /// If the channels of `x` are others.
    pub fn forward(&self, x: &Dual) -> Result<Dual> {
        Ok(x.conv2d_bias(&self.weight, &self.bias, self.padding, self.stride)?)
    }

    /// The cost of the layer for `pixels` pixels of output.
    pub fn cost(&self, pixels: usize) -> Cost {
        Cost::layer(pixels * self.weight.elem_count(), pixels * self.bias.elem_count())
    }
}
