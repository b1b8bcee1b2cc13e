//! Convolution of images.

use candle_core::Tensor;

use crate::{Dual, Result};

impl Dual {
    /// Correlates `(B, C, H, W)` with kernels `(O, C, kh, kw)`, equal padding and stride in both directions.
    ///
    /// The kernels are constant in the direction of the tangent.
    /// Strides above one need H and W of the same parity: Candle's backward pass refuses others.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn conv2d(&self, kernel: &Tensor, padding: usize, stride: usize) -> Result<Self> {
        self.map_linear(|x| x.conv2d(kernel, padding, stride, 1, 1))
    }
}
