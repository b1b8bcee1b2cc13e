//! The global norm of the gradients, for clipping.
//!
//! g ← g min(1, max_norm / |g|), |g|² = Σ over all parameters

use candle_core::Tensor;
use candle_core::backprop::GradStore;

use crate::{Params, Result};

/// The Euclidean norm of all gradients together, in f64.
///
/// # Errors
/// As Candle.
pub fn global_norm(gradients: &GradStore, params: &Params) -> Result<f64> {
    let mut squares = Vec::new();
    for var in params.vars().values() {
        if let Some(g) = gradients.get(var) {
            squares.push(g.sqr()?.sum_all()?.to_dtype(candle_core::DType::F64)?);
        }
    }
    if squares.is_empty() {
        return Ok(0.0);
    }
    Ok(Tensor::stack(&squares, 0)?.sum_all()?.to_scalar::<f64>()?.sqrt())
}
