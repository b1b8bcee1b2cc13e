//! Interpolants between noise and data.
//!
//! I_t = α_t x_0 + β_t x_1 with α_0 = β_1 = 1 and α_1 = β_0 = 0, so I_0 = x_0 is noise and I_1 = x_1 is data
//! (Albergo, Boffi, Vanden-Eijnden 2023, arXiv:2303.08797, spatially linear one-sided interpolants).
//! [`NoisyLinear`] alone ends near the data instead of at them: α_1 is small, but not 0.
//! Flow matching regresses on the derivative İ_t = α̇_t x_0 + β̇_t x_1.

mod custom;
mod kind;
mod linear;
mod noisy_linear;
mod trigonometric;
mod variance_preserving;

use std::fmt::Debug;
use std::sync::Arc;

pub use custom::Custom;
pub use kind::{InterpolantKind, OwnInterpolant};
pub use linear::Linear;
pub use noisy_linear::NoisyLinear;
pub use trigonometric::Trigonometric;
pub use variance_preserving::VariancePreserving;

/// The coefficients of I_t = α_t x_0 + β_t x_1 and their derivatives, for t in [0, 1].
///
/// An implementation owes these laws, the first one to the last bit:
/// - α_0 = β_1 = 1 and α_1 = β_0 = 0, except for the α_1 = σ_min of [`NoisyLinear`];
/// - α̇ and β̇ are the derivatives of α and β, finite on all of [0, 1].
///
/// ```
/// use flowmap_core::{Interpolant, Trigonometric};
/// let (x0, x1, t) = (0.3, -1.2, 0.25);
/// let i_t = Trigonometric.alpha(t) * x0 + Trigonometric.beta(t) * x1;
/// let di_t = Trigonometric.alpha_dot(t) * x0 + Trigonometric.beta_dot(t) * x1;
/// # assert!(i_t < x0 && di_t < 0.0);
/// ```
pub trait Interpolant: Debug + Send + Sync {
    /// α_t, the weight of the noise.
    fn alpha(&self, t: f64) -> f64;
    /// β_t, the weight of the data.
    fn beta(&self, t: f64) -> f64;
    /// dα_t/dt.
    fn alpha_dot(&self, t: f64) -> f64;
    /// dβ_t/dt.
    fn beta_dot(&self, t: f64) -> f64;
}

impl<I: Interpolant + ?Sized> Interpolant for &I {
    fn alpha(&self, t: f64) -> f64 {
        (**self).alpha(t)
    }
    fn beta(&self, t: f64) -> f64 {
        (**self).beta(t)
    }
    fn alpha_dot(&self, t: f64) -> f64 {
        (**self).alpha_dot(t)
    }
    fn beta_dot(&self, t: f64) -> f64 {
        (**self).beta_dot(t)
    }
}

impl<I: Interpolant + ?Sized> Interpolant for Arc<I> {
    fn alpha(&self, t: f64) -> f64 {
        (**self).alpha(t)
    }
    fn beta(&self, t: f64) -> f64 {
        (**self).beta(t)
    }
    fn alpha_dot(&self, t: f64) -> f64 {
        (**self).alpha_dot(t)
    }
    fn beta_dot(&self, t: f64) -> f64 {
        (**self).beta_dot(t)
    }
}

#[cfg(test)]
pub(crate) mod laws {
    //! The laws of every interpolant, as check functions that each file calls on its own.

    use super::Interpolant;

    /// Step of the central differences: truncation h² f‴/6 and rounding ε/h are both below 1e-9.
    const STEP: f64 = 1e-5;
    /// A few times the error of the central difference.
    const DERIVATIVE_TOLERANCE: f64 = 1e-8;

    pub fn joins_noise_with_data_exactly(interpolant: &dyn Interpolant) {
        assert_eq!((interpolant.alpha(0.0), interpolant.beta(0.0)), (1.0, 0.0));
        assert_eq!((interpolant.alpha(1.0), interpolant.beta(1.0)), (0.0, 1.0));
    }

    pub fn derivatives_are_finite_differences(interpolant: &dyn Interpolant) {
        let check = |name, t: f64, f: &dyn Fn(f64) -> f64, f_dot: f64| {
            let difference = (f(t + STEP) - f(t - STEP)) / (2.0 * STEP);
            let error = (f_dot - difference).abs();
            assert!(error < DERIVATIVE_TOLERANCE, "{name}_dot({t}) is off by {error:e}");
        };
        for i in 1..200 {
            let t = f64::from(i) / 200.0;
            check("alpha", t, &|t| interpolant.alpha(t), interpolant.alpha_dot(t));
            check("beta", t, &|t| interpolant.beta(t), interpolant.beta_dot(t));
        }
        for t in [0.0, 1.0] {
            assert!(interpolant.alpha_dot(t).is_finite() && interpolant.beta_dot(t).is_finite());
        }
    }

    pub fn moves_from_noise_to_data(interpolant: &dyn Interpolant) {
        for i in 0..100 {
            let (t, next) = (f64::from(i) / 100.0, f64::from(i + 1) / 100.0);
            assert!(interpolant.alpha(next) < interpolant.alpha(t));
            assert!(interpolant.beta(next) > interpolant.beta(t));
        }
    }

    pub fn preserves_variance(interpolant: &dyn Interpolant) {
        for i in 0..=1000 {
            let t = f64::from(i) / 1000.0;
            let sum = interpolant.alpha(t).powi(2) + interpolant.beta(t).powi(2);
            assert!((sum - 1.0).abs() <= 2.0 * f64::EPSILON, "alpha^2 + beta^2 = {sum} at t = {t}");
        }
    }
}
