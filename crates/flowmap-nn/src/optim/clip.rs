//! The global norm of the gradients, for clipping.
//!
//! g ← g min(1, max_norm / |g|), |g|² = Σ over all parameters

use candle_core::backprop::GradStore;

use super::inplace::sum_of_squares;
use crate::{Params, Result};

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
