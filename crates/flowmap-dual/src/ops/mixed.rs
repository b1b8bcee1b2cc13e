//! Mixed precision: activations in a half type, weights in f32.
//!
//! y = round(x round(W)ᵀ + b), with products and sums in f32
//!
//! Micikevicius and others 2018, arXiv:1710.03740.
//! Weights in f32 are rounded to the half type of x where they are used, so that their gradients arrive in f32.
//! Means, variances and softmax are taken in f32.
//! A CPU has no fast products of half types: there an operation is the one in f32 between two roundings.

use candle_core::{DType, Tensor};

use super::modulate::Modulation;
use crate::gradient::on_candles_tape;
use crate::{Dual, Result};

impl Dual {
    /// Whether its numbers have a half type.
    pub(super) fn is_half(&self) -> bool {
        matches!(self.dtype(), DType::BF16 | DType::F16)
    }

    /// Whether an operation of it is one in f32 between two roundings.
    pub(super) fn is_half_on_cpu(&self) -> bool {
        self.is_half() && self.device().is_cpu()
    }

    /// `operation` in f32, rounded to the type of x; the conversions are operations of Candle, recorded on its tape.
    pub(super) fn in_single(&self, operation: impl FnOnce(&Self) -> Result<Self>) -> Result<Self> {
        let single = self.to_dtype(DType::F32)?;
        on_candles_tape(|| operation(&single))?.to_dtype(self.dtype())
    }

    /// A weight of a layer, in the type of x if that is a half type.
    pub(super) fn weight_of_its_type(&self, weight: &Tensor) -> Result<Tensor> {
        Ok(if self.is_half() { weight.to_dtype(self.dtype())? } else { weight.clone() })
    }

    /// The numbers of [`Dual::weight_of_its_type`] in f32.
    pub(super) fn rounded_weight(&self, weight: &Tensor) -> Result<Tensor> {
        Ok(self.weight_of_its_type(weight)?.to_dtype(DType::F32)?)
    }
}

impl Modulation<'_> {
    /// Calls `f` with the same in f32.
    pub(super) fn in_single<R>(&self, f: impl FnOnce(Modulation<'_>) -> Result<R>) -> Result<R> {
        let of_tensor = |x: &Tensor| x.to_dtype(DType::F32);
        let of_dual = |x: &Dual| x.to_dtype(DType::F32);
        match self {
            Self::Identity => f(Modulation::Identity),
            Self::Affine { weight, bias } => {
                let (weight, bias) = (of_tensor(weight)?, bias.map(of_tensor).transpose()?);
                f(Modulation::Affine { weight: &weight, bias: bias.as_ref() })
            }
            Self::PerSample { scale, shift } => {
                let (scale, shift) = (of_dual(scale)?, of_dual(shift)?);
                f(Modulation::PerSample { scale: &scale, shift: &shift })
            }
            Self::AffinePerSample { weight, bias, scale, shift } => {
                let (weight, bias) = (of_tensor(weight)?, bias.map(of_tensor).transpose()?);
                let (scale, shift) = (of_dual(scale)?, of_dual(shift)?);
                let bias = bias.as_ref();
                f(Modulation::AffinePerSample { weight: &weight, bias, scale: &scale, shift: &shift })
            }
        }
    }
}
