//! An interpolant of the user's own, from four functions of time.
//!
//! The functions are checked once, when it is made: the boundary laws, finite values,
//! and the derivatives against central differences on a grid of interior times.

use std::fmt;
use std::sync::Arc;

use super::Interpolant;
use crate::{Error, Result};

/// A coefficient as a function of time.
type Coefficient = Arc<dyn Fn(f64) -> f64 + Send + Sync>;

/// How far the ends may miss 0 and 1: rounding of a few operations. The miss is then taken away.
const BOUNDARY_TOLERANCE: f64 = 1e-12;
/// Step of the central differences.
const STEP: f64 = 1e-5;
/// Relative to 1 + |derivative|: truncation h² f‴/6 for f‴ up to 6e4, and rounding ε/h = 2e-11.
const DERIVATIVE_TOLERANCE: f64 = 1e-6;
/// Times at which the derivatives are compared, (i + ½) / 64.
const N_CHECKS: u32 = 64;

/// An interpolant given by α, β and their derivatives.
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
pub struct Custom {
    alpha: Coefficient,
    beta: Coefficient,
    alpha_dot: Coefficient,
    beta_dot: Coefficient,
}

impl Custom {
    /// Checks the four functions and makes an interpolant of them.
    ///
    /// # Errors
    /// [`Error::BoundaryLaw`] unless α_0 = β_1 = 1 and α_1 = β_0 = 0 to 1e-12 (the ends are then returned
    /// exactly), [`Error::WrongDerivative`] where a derivative is not finite at an end or differs from the
    /// central difference by more than 1e-6 (1 + |derivative|) at one of 64 times.
    pub fn new(
        alpha: impl Fn(f64) -> f64 + Send + Sync + 'static,
        beta: impl Fn(f64) -> f64 + Send + Sync + 'static,
        alpha_dot: impl Fn(f64) -> f64 + Send + Sync + 'static,
        beta_dot: impl Fn(f64) -> f64 + Send + Sync + 'static,
    ) -> Result<Self> {
        let custom = Self {
            alpha: Arc::new(alpha),
            beta: Arc::new(beta),
            alpha_dot: Arc::new(alpha_dot),
            beta_dot: Arc::new(beta_dot),
        };
        check_boundary("alpha", &custom.alpha, [1.0, 0.0])?;
        check_boundary("beta", &custom.beta, [0.0, 1.0])?;
        check_derivative("alpha", &custom.alpha, &custom.alpha_dot)?;
        check_derivative("beta", &custom.beta, &custom.beta_dot)?;
        Ok(custom)
    }
}

fn check_boundary(coefficient: &'static str, f: &Coefficient, ends: [f64; 2]) -> Result<()> {
    for (t, expected) in [0.0, 1.0].into_iter().zip(ends) {
        let found = f(t);
        let holds = (found - expected).abs() <= BOUNDARY_TOLERANCE; // false for NaN
        if !holds {
            return Err(Error::BoundaryLaw { coefficient, t, expected, found });
        }
    }
    Ok(())
}

fn check_derivative(coefficient: &'static str, f: &Coefficient, f_dot: &Coefficient) -> Result<()> {
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
fn between(t: f64, [first, last]: [f64; 2], f: &Coefficient) -> f64 {
    match t {
        0.0 => first,
        1.0 => last,
        _ => f(t),
    }
}

impl Interpolant for Custom {
    fn alpha(&self, t: f64) -> f64 {
        between(t, [1.0, 0.0], &self.alpha)
    }

    fn beta(&self, t: f64) -> f64 {
        between(t, [0.0, 1.0], &self.beta)
    }

    fn alpha_dot(&self, t: f64) -> f64 {
        (self.alpha_dot)(t)
    }

    fn beta_dot(&self, t: f64) -> f64 {
        (self.beta_dot)(t)
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom").finish_non_exhaustive()
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
