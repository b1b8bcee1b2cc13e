//! An interpolant of the user's own, from four functions of time or from an implementation of [`Interpolant`].
//!
//! The functions are checked once, when it is made: the boundary laws, finite values,
//! and the derivatives against central differences on a grid of interior times.

use std::fmt;
use std::sync::Arc;

use super::Interpolant;
use crate::{Error, Result};

/// How far the ends may miss 0 and 1: rounding of a few operations. The miss is then taken away.
const BOUNDARY_TOLERANCE: f64 = 1e-12;
/// Step of the central differences.
const STEP: f64 = 1e-5;
/// Relative to 1 + |derivative|: truncation h² f‴/6 for f‴ up to 6e4, and rounding ε/h = 2e-11.
const DERIVATIVE_TOLERANCE: f64 = 1e-6;
/// Times at which the derivatives are compared, (i + ½) / 64.
const N_CHECKS: u32 = 64;

/// An interpolant that was checked, given by α, β and their derivatives.
///
/// ```
/// use flowmap_core::{Custom, Interpolant};
/// // Slow start: I_t = (1 − t²) x_0 + t² x_1.
/// let squared = Custom::new(|t| 1.0 - t * t, |t| t * t, |t| -2.0 * t, |t| 2.0 * t)?;
/// assert_eq!(squared.beta(0.5), 0.25);
/// // A derivative that is not the derivative is refused.
/// assert!(Custom::new(|t| 1.0 - t * t, |t| t * t, |_| -1.0, |t| 2.0 * t).is_err());
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Custom(Arc<dyn Interpolant>);

impl Custom {
    /// Checks the four functions and makes an interpolant of them.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn new(
        alpha: impl Fn(f64) -> f64 + Send + Sync + 'static,
        beta: impl Fn(f64) -> f64 + Send + Sync + 'static,
        alpha_dot: impl Fn(f64) -> f64 + Send + Sync + 'static,
        beta_dot: impl Fn(f64) -> f64 + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::of(Functions { alpha, beta, alpha_dot, beta_dot })
    }

    /// Checks an implementation of [`Interpolant`].
    ///
    /// # Errors
    /// [`Error::BoundaryLaw`] unless α_0 = β_1 = 1 and α_1 = β_0 = 0 to 1e-12 (the ends are then returned
    /// exactly), [`Error::WrongDerivative`] if a derivative is not finite at an end or differs from the
    /// central difference by more than 1e-6 (1 + |derivative|) at one of 64 times.
    pub fn of(interpolant: impl Interpolant + 'static) -> Result<Self> {
        let (alpha, alpha_dot) = (|t| interpolant.alpha(t), |t| interpolant.alpha_dot(t));
        let (beta, beta_dot) = (|t| interpolant.beta(t), |t| interpolant.beta_dot(t));
        check_boundary("alpha", &alpha, [1.0, 0.0])?;
        check_boundary("beta", &beta, [0.0, 1.0])?;
        check_derivative("alpha", &alpha, &alpha_dot)?;
        check_derivative("beta", &beta, &beta_dot)?;
        Ok(Self(Arc::new(interpolant)))
    }
}

/// α, β, α̇ and β̇.
struct Functions<A, B, C, D> {
    alpha: A,
    beta: B,
    alpha_dot: C,
    beta_dot: D,
}

impl<A, B, C, D> Interpolant for Functions<A, B, C, D>
where
    A: Fn(f64) -> f64 + Send + Sync,
    B: Fn(f64) -> f64 + Send + Sync,
    C: Fn(f64) -> f64 + Send + Sync,
    D: Fn(f64) -> f64 + Send + Sync,
{
    fn alpha(&self, t: f64) -> f64 {
        (self.alpha)(t)
    }
    fn beta(&self, t: f64) -> f64 {
        (self.beta)(t)
    }
    fn alpha_dot(&self, t: f64) -> f64 {
        (self.alpha_dot)(t)
    }
    fn beta_dot(&self, t: f64) -> f64 {
        (self.beta_dot)(t)
    }
}

impl<A, B, C, D> fmt::Debug for Functions<A, B, C, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Functions").finish_non_exhaustive()
    }
}

fn check_boundary(coefficient: &'static str, f: &impl Fn(f64) -> f64, ends: [f64; 2]) -> Result<()> {
    for (t, expected) in [0.0, 1.0].into_iter().zip(ends) {
        let found = f(t);
        let holds = (found - expected).abs() <= BOUNDARY_TOLERANCE; // false for NaN
        if !holds {
            return Err(Error::BoundaryLaw { coefficient, t, expected, found });
        }
    }
    Ok(())
}

fn check_derivative(
    coefficient: &'static str,
    f: &impl Fn(f64) -> f64,
    f_dot: &impl Fn(f64) -> f64,
) -> Result<()> {
    let interior = (0..N_CHECKS).map(|i| (f64::from(i) + 0.5) / f64::from(N_CHECKS));
    for t in interior {
        let (expected, found) = ((f(t + STEP) - f(t - STEP)) / (2.0 * STEP), f_dot(t));
        let holds = (found - expected).abs() <= DERIVATIVE_TOLERANCE * (1.0 + expected.abs());
        if !holds {
            return Err(Error::WrongDerivative { coefficient, t, expected, found });
        }
    }
    for (t, inward) in [(0.0, STEP), (1.0, -STEP)] {
        let found = f_dot(t);
        if !found.is_finite() {
            let expected = (f(t + inward) - f(t)) / inward;
            return Err(Error::WrongDerivative { coefficient, t, expected, found });
        }
    }
    Ok(())
}

/// The value at t, and at the ends exactly what the boundary law says.
fn between(t: f64, [first, last]: [f64; 2], f: impl Fn(f64) -> f64) -> f64 {
    match t {
        0.0 => first,
        1.0 => last,
        _ => f(t),
    }
}

impl Interpolant for Custom {
    fn alpha(&self, t: f64) -> f64 {
        between(t, [1.0, 0.0], |t| self.0.alpha(t))
    }

    fn beta(&self, t: f64) -> f64 {
        between(t, [0.0, 1.0], |t| self.0.beta(t))
    }

    fn alpha_dot(&self, t: f64) -> f64 {
        self.0.alpha_dot(t)
    }

    fn beta_dot(&self, t: f64) -> f64 {
        self.0.beta_dot(t)
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Custom").field(&self.0).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use super::super::laws;
    use super::*;

    #[test]
    fn custom_obeys_the_laws() {
        let smoothstep = Custom::new(
            |t| 1.0 - t * t * (3.0 - 2.0 * t),
            |t| t * t * (3.0 - 2.0 * t),
            |t| -6.0 * t * (1.0 - t),
            |t| 6.0 * t * (1.0 - t),
        );
        let smoothstep = smoothstep.unwrap();
        laws::joins_noise_with_data_exactly(&smoothstep);
        laws::derivatives_are_finite_differences(&smoothstep);
        laws::moves_from_noise_to_data(&smoothstep);
    }

    #[test]
    fn rounding_at_the_ends_is_taken_away() {
        let trigonometric = Custom::new(
            |t| (FRAC_PI_2 * t).cos(),
            |t| (FRAC_PI_2 * t).sin(),
            |t| -FRAC_PI_2 * (FRAC_PI_2 * t).sin(),
            |t| FRAC_PI_2 * (FRAC_PI_2 * t).cos(),
        );
        laws::joins_noise_with_data_exactly(&trigonometric.unwrap());
    }

    #[test]
    fn broken_boundary_is_refused() {
        let error = Custom::new(|t| 1.0 - 0.9 * t, |t| t, |_| -0.9, |_| 1.0).unwrap_err();
        assert!(matches!(error, Error::BoundaryLaw { coefficient: "alpha", t: 1.0, expected: 0.0, .. }));
        let error = Custom::new(|t| 1.0 - t, |_| f64::NAN, |_| -1.0, |_| 1.0).unwrap_err();
        assert_eq!(error.to_string(), "boundary law broken: beta(0) must be 0, found NaN");
    }

    #[test]
    fn wrong_derivative_is_refused() {
        let error = Custom::new(|t| 1.0 - t, |t| t * t, |_| -1.0, |t| t).unwrap_err();
        assert!(matches!(error, Error::WrongDerivative { coefficient: "beta", .. }));
    }

    #[test]
    fn infinite_derivative_at_the_data_is_refused() {
        let alpha_dot = |t: f64| -t / (1.0 - t * t).sqrt();
        let error = Custom::new(|t| (1.0 - t * t).sqrt(), |t| t, alpha_dot, |_| 1.0).unwrap_err();
        assert!(matches!(error, Error::WrongDerivative { coefficient: "alpha", .. }));
    }
}
