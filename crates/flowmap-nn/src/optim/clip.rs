//! The global norm of the gradients, for clipping.
//!
//! g ← g min(1, max_norm / |g|), |g|² = Σ over all parameters

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use flowmap_dual::cuda::GradientNorm;

use super::inplace::sum_of_squares;
use crate::{Params, Result};

/// The first parameter, by name, whose gradient holds a number that is not finite.
///
/// # Errors
/// Candle's error, if an operation fails.
pub fn first_not_finite<'a>(gradients: &GradStore, params: &'a Params) -> Result<Option<&'a str>> {
    for (name, var) in params.vars() {
        if let Some(g) = gradients.get(var)
            && !sum_of_squares(g)?.is_finite()
        {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The norm of all gradients and the factor that clips it to `max_norm`, for [`super::Optimizer::step_clipped`]: kept on
/// the device if it has a kernel for the norm, and on the host otherwise.
///
/// If `loss` is not finite, the norm is not finite either, so the step changes nothing.
///
/// # Errors
/// As the device.
pub fn gradient_norm(
    gradients: &GradStore,
    params: &Params,
    loss: Option<&Tensor>,
    max_norm: Option<f64>,
) -> Result<GradientNorm> {
    let nothing = loss.map(|loss| loss.detach().reshape(1)? * 0.0).transpose()?;
    let all = || params.vars().values().filter_map(|var| gradients.get(var)).chain(&nothing);
    match GradientNorm::measure(all(), max_norm)? {
        Some(norm) => Ok(norm),
        None => {
            let sum = all().map(sum_of_squares).sum::<Result<f64>>()?;
            Ok(GradientNorm::known(sum.sqrt(), max_norm))
        }
    }
}
