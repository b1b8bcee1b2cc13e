//! The global norm of the gradients, for clipping.
//!
//! g ← g min(1, max_norm / |g|), |g|² = Σ over all parameters

use candle_core::backprop::GradStore;
use flowmap_dual::cuda::GradientNorm;

use super::inplace::sum_of_squares;
use crate::{Params, Result};

/// The first parameter, by name, whose gradient holds a number that is not finite.
///
/// # Errors
/// As Candle.
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

/// The norm of all gradients and the factor that clips it to `max_norm`, measured and kept by the device, for
/// [`super::Optimizer::step_clipped`]; `None` where the device has no kernel for it.
///
/// # Errors
/// As the device.
pub fn norm_on_device(
    gradients: &GradStore,
    params: &Params,
    max_norm: Option<f64>,
) -> Result<Option<GradientNorm>> {
    let all = params.vars().values().filter_map(|var| gradients.get(var));
    Ok(GradientNorm::measure(all, max_norm)?)
}

/// The Euclidean norm of all gradients together, in f64.
///
/// # Errors
/// As Candle.
pub fn global_norm(gradients: &GradStore, params: &Params) -> Result<f64> {
    let mut sum = 0.0;
    for var in params.vars().values() {
        if let Some(g) = gradients.get(var) {
            sum += sum_of_squares(g)?;
        }
    }
    Ok(sum.sqrt())
}
