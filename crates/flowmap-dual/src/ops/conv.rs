//! Convolution of images, alone and with a bias.
//!
//! y = K ∗ x + b, ẏ = K ∗ ẋ

use candle_core::{DType, Tensor};
use flowmap_kernel::Convolution;

use crate::gradient::{apply2, apply3};
use crate::{Dual, Error, Result};

impl Dual {
    /// Correlates `(B, C, H, W)` with kernels `(O, C, kh, kw)`, equal padding and stride in both directions.
    ///
    /// The kernels are constant in the direction of the tangent.
    /// In f32 on a CPU value and tangent go through one fused pass; elsewhere the composed operations run.
    /// With x in a half type, kernels in f32 are rounded to it, and their gradients are in f32.
    ///
    /// # Errors
    /// [`Error::ConvolutionShapes`] where images and kernels do not fit, [`Error::ConvolutionWindow`]
    /// for a stride of zero, an empty kernel, or one larger than the padded images.
    pub fn conv2d(&self, kernel: &Tensor, padding: usize, stride: usize) -> Result<Self> {
        self.convolved(kernel, None, padding, stride)
    }

    /// Correlates as [`Dual::conv2d`] and adds a bias `(O,)`, which the tangent does not get.
    ///
    /// # Errors
    /// As [`Dual::conv2d`], and [`Error::ConvolutionBias`] for a bias of another shape.
    pub fn conv2d_bias(&self, kernel: &Tensor, bias: &Tensor, padding: usize, stride: usize) -> Result<Self> {
        self.convolved(kernel, Some(bias), padding, stride)
    }

    fn convolved(
        &self,
        kernel: &Tensor,
        bias: Option<&Tensor>,
        padding: usize,
        stride: usize,
    ) -> Result<Self> {
        self.check_convolution(kernel, bias, padding, stride)?;
        if self.is_half_on_cpu() {
            let kernel = self.rounded_weight(kernel)?;
            let bias = bias.map(|bias| bias.to_dtype(DType::F32)).transpose()?;
            return self.in_single(|x| x.convolved(&kernel, bias.as_ref(), padding, stride));
        }
        let is_fused = [Some(self.primal()), Some(kernel), bias]
            .into_iter()
            .flatten()
            .all(|x| x.dtype() == DType::F32 && x.device().is_cpu());
        if !is_fused {
            let kernel = self.weight_of_its_type(kernel)?;
            let y = self.map_linear(|x| composed(x, &kernel, padding, stride))?;
            let Some(bias) = bias else { return Ok(y) };
            let (bias, (primal, tangent)) = (self.weight_of_its_type(bias)?, y.into_parts());
            return Ok(Self::from_parts(primal.broadcast_add(&bias.reshape((1, (), 1, 1))?)?, tangent));
        }
        let kernel = kernel.contiguous()?;
        let apply = |x: &Tensor| -> Result<Tensor> {
            let x = x.contiguous()?;
            let convolution = Convolution::new(&x, &kernel, padding, stride)?;
            Ok(match bias {
                Some(bias) => apply3(&x, &kernel, &bias.contiguous()?, convolution)?,
                None => apply2(&x, &kernel, convolution)?,
            })
        };
        match self.stacked()? {
            None => Ok(Self::constant(apply(self.primal())?)),
            Some(stacked) => Self::from_stacked(apply(&stacked)?),
        }
    }

    fn check_convolution(
        &self,
        kernel: &Tensor,
        bias: Option<&Tensor>,
        padding: usize,
        stride: usize,
    ) -> Result<()> {
        let (&[_, channels, height, width], &[outputs, inputs, kh, kw]) = (self.dims(), kernel.dims()) else {
            return Err(Error::ConvolutionShapes {
                images: self.shape().clone(),
                kernels: kernel.shape().clone(),
            });
        };
        if channels != inputs {
            return Err(Error::ConvolutionShapes {
                images: self.shape().clone(),
                kernels: kernel.shape().clone(),
            });
        }
        let has_room = |size: usize, kernel: usize| kernel > 0 && size + 2 * padding >= kernel;
        if stride == 0 || !has_room(height, kh) || !has_room(width, kw) {
            return Err(Error::ConvolutionWindow { kernel: (kh, kw), stride, padding, height, width });
        }
        match bias {
            Some(bias) if bias.dims() != [outputs] => {
                Err(Error::ConvolutionBias { bias: bias.shape().clone(), channels: outputs })
            }
            _ => Ok(()),
        }
    }
}

/// Candle's convolution.
///
/// With a stride, its backward pass refuses images of which the windows leave different rests in height and width,
/// so that there the images are padded and cut to what the windows cover.
fn composed(x: &Tensor, kernel: &Tensor, padding: usize, stride: usize) -> candle_core::Result<Tensor> {
    let (_, _, kh, kw) = kernel.dims4()?;
    if stride == 1 && padding < kh.min(kw) {
        return x.conv2d(kernel, padding, stride, 1, 1);
    }
    let covered = |size: usize, kernel: usize| (size + 2 * padding - kernel) / stride * stride + kernel;
    let (_, _, h, w) = x.dims4()?;
    let padded = x.pad_with_zeros(2, padding, padding)?.pad_with_zeros(3, padding, padding)?;
    let cut = padded.narrow(2, 0, covered(h, kh))?.narrow(3, 0, covered(w, kw))?.contiguous()?;
    cut.conv2d(kernel, 0, stride, 1, 1)
}
