//! Nearest-neighbor up-sampling and mean down-sampling by whole factors.
//!
//! Fused in f32 on a CPU; elsewhere made of reshapes, broadcasts and sums:
//! Candle's own up-sampling overwrites gradients, and its pooling divides them wrongly.

use candle_core::DType;
use flowmap_kernel::Resize;

use crate::gradient::apply1;
use crate::{Dual, Error, Result};

impl Dual {
    /// Repeats each pixel of `(B, C, H, W)` in a `factor` x `factor` square.
    ///
    /// # Errors
    /// [`Error::Upsampling`] for a factor of zero; a Candle error for a rank other than four.
    pub fn upsample_nearest2d(&self, factor: usize) -> Result<Self> {
        let (b, c, h, w) = self.primal().dims4()?;
        if factor == 0 {
            return Err(Error::Upsampling { factor });
        }
        if self.is_resized_fused() {
            return self.resized(Resize::Up(factor));
        }
        let repeated = self.reshape(&[b * c, h, 1, w, 1])?.broadcast_as(&[b * c, h, factor, w, factor])?;
        repeated.reshape(&[b, c, h * factor, w * factor])
    }

    /// The mean of each `factor` x `factor` square of `(B, C, H, W)`.
    ///
    /// # Errors
    /// [`Error::Pooling`] where the factor does not divide height and width;
    /// a Candle error for a rank other than four.
    pub fn avg_pool2d(&self, factor: usize) -> Result<Self> {
        let (b, c, h, w) = self.primal().dims4()?;
        if factor == 0 || h % factor != 0 || w % factor != 0 {
            return Err(Error::Pooling { factor, height: h, width: w });
        }
        if self.is_resized_fused() {
            return self.resized(Resize::Down(factor));
        }
        let squares = self.reshape(&[b * c, h / factor, factor, w / factor, factor])?;
        squares.mean_keepdim(4)?.mean_keepdim(2)?.reshape(&[b, c, h / factor, w / factor])
    }

    fn is_resized_fused(&self) -> bool {
        self.dtype() == DType::F32 && self.device().is_cpu()
    }

    fn resized(&self, resize: Resize) -> Result<Self> {
        match self.stacked()? {
            None => Ok(Self::constant(apply1(&self.primal().contiguous()?, resize)?)),
            Some(stacked) => Self::from_stacked(apply1(&stacked.contiguous()?, resize)?),
        }
    }
}
