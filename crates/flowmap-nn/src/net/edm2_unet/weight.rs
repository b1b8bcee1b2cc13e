//! Weights whose layers preserve magnitudes, and sums that do.
//!
//! W x with W = w / (rms w + 1e-4) / √(fan in), row by row                          (1)
//! mp_sum(a, b, τ) = ((1 − τ) a + τ b) / √((1 − τ)² + τ²)                            (2)
//! mp_cat(a, b, τ) = √((N_a + N_b) / ((1 − τ)² + τ²)) [ (1 − τ) a/√N_a, τ b/√N_b ]   (3)
//! mp_silu(x) = SiLU(x) / 0.596                                                      (4)
//!
//! EDM2, Karras and others 2023, arXiv:2312.02696, appendix B.

use candle_core::{Shape, Tensor};
use flowmap_dual::Dual;

use super::super::Cost;
use crate::params::rows_of_magnitude;
use crate::{ParamBuilder, Result};

/// The factor of (4).
pub(super) const MP_SILU: f64 = 1.0 / 0.596;

/// The weights of a layer, `(out, in)` or `(out, in, k, k)`.
#[derive(Clone, Debug)]
pub(super) struct MpWeight(Tensor);

impl MpWeight {
    /// Weights under their full name.
    pub(super) fn new<S: Into<Shape>>(name: &str, shape: S, builder: &mut ParamBuilder) -> Result<Self> {
        Ok(Self(builder.param_on_sphere(name, shape)?))
    }

    /// Rows of magnitude one.
    pub(super) fn unit(&self) -> Result<Tensor> {
        rows_of_magnitude(&self.0, 1.0)
    }

    /// W of (1) times a factor, which then costs nothing where the layer is applied.
    pub(super) fn scaled(&self, factor: f64) -> Result<Tensor> {
        let fan_in: usize = self.0.dims().iter().skip(1).product();
        rows_of_magnitude(&self.0, factor / (fan_in as f64).sqrt())
    }

    /// This weight with its rows in another order, times `factor`.
    pub(super) fn scaled_rows(&self, factor: f64, order: &Tensor) -> Result<Tensor> {
        Ok(self.scaled(factor)?.index_select(order, 0)?)
    }

    /// The cost of a layer that is applied to `pixels` pixels.
    pub(super) fn cost(&self, pixels: usize) -> Cost {
        Cost::layer(pixels * self.0.elem_count(), pixels * self.0.dims().first().copied().unwrap_or(1))
    }
}

/// The factors of (2).
pub(super) fn balanced(tau: f64) -> (f64, f64) {
    let norm = ((1.0 - tau).powi(2) + tau.powi(2)).sqrt();
    ((1.0 - tau) / norm, tau / norm)
}

/// (2)
pub(super) fn mp_sum(a: &Dual, b: &Dual, tau: f64) -> Result<Dual> {
    let (of_a, of_b) = balanced(tau);
    Ok(a.scale(of_a)?.add(&b.scale(of_b)?)?)
}

/// (3), along the channels.
pub(super) fn mp_cat(a: &Dual, b: &Dual, tau: f64) -> Result<Dual> {
    let (of_a, of_b) = balanced(tau);
    let (n_a, n_b) = (a.dims()[1] as f64, b.dims()[1] as f64);
    let share = |n: f64| ((n_a + n_b) / n).sqrt();
    Ok(Dual::cat(&[a.scale(of_a * share(n_a))?, b.scale(of_b * share(n_b))?], 1)?)
}
