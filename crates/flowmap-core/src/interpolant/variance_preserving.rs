//! The variance-preserving cosine interpolant: a quarter of a circle with eased ends.
//!
//! I_t = cos θ_t x_0 + sin θ_t x_1,  θ_t = (π/4) (1 − cos π t) = (π/2) sin²(π t / 2)
//!
//! α² + β² = cos² θ + sin² θ = 1 at every t.
//! The angle is itself cosine-eased, so θ̇_t = (π²/4) sin π t vanishes at both ends:
//! the path leaves the noise and reaches the data at rest.
//!
//! Two neighbors that this is not:
//! - θ_t = π t / 2, the plain cosine schedule, is [`Trigonometric`].
//! - The offset cosine and the linear-β schedules of diffusion papers write β_t = √(1 − α_t²)
//!   (or α_t = √(1 − β_t²)) with a coefficient that reaches 0 linearly or not at all:
//!   the square root has an infinite derivative at that end, or the end law does not hold.
//!   A flow map is trained on İ_t up to t = 1, so neither is offered.

use std::f64::consts::PI;

use super::{Interpolant, Trigonometric};

/// α_t = cos θ_t, β_t = sin θ_t, θ_t = (π/4) (1 − cos π t).
///
/// ```
/// use flowmap_core::{Interpolant, VariancePreserving};
/// let (alpha, beta) = (VariancePreserving.alpha(0.3), VariancePreserving.beta(0.3));
/// assert!((alpha * alpha + beta * beta - 1.0).abs() < 1e-15);
/// assert_eq!(VariancePreserving.beta_dot(0.0), 0.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VariancePreserving;

impl VariancePreserving {
    /// θ̇_t = (π²/4) sin π t, from factors that are exactly 0 at the ends.
    fn theta_dot(&self, t: f64) -> f64 {
        0.5 * PI * PI * Trigonometric.alpha(t) * Trigonometric.beta(t)
    }
}

impl Interpolant for VariancePreserving {
    /// With θ_t = (π/2) r, r = sin²(π t / 2), the coefficients are the trigonometric ones at "time" r.
    ///
    /// If r is near 1, α is taken from 1 − r = cos²(π t / 2) to keep its relative precision.
    fn alpha(&self, t: f64) -> f64 {
        if t < 0.5 {
            Trigonometric.alpha(Trigonometric.beta(t).powi(2))
        } else {
            Trigonometric.beta(Trigonometric.alpha(t).powi(2))
        }
    }

    fn beta(&self, t: f64) -> f64 {
        if t < 0.5 {
            Trigonometric.beta(Trigonometric.beta(t).powi(2))
        } else {
            Trigonometric.alpha(Trigonometric.alpha(t).powi(2))
        }
    }

    fn alpha_dot(&self, t: f64) -> f64 {
        -self.theta_dot(t) * self.beta(t)
    }

    fn beta_dot(&self, t: f64) -> f64 {
        self.theta_dot(t) * self.alpha(t)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Interpolant, laws};
    use super::{PI, VariancePreserving};

    #[test]
    fn variance_preserving_obeys_the_laws() {
        laws::joins_noise_with_data_exactly(&VariancePreserving);
        laws::derivatives_are_finite_differences(&VariancePreserving);
        laws::moves_from_noise_to_data(&VariancePreserving);
        laws::preserves_variance(&VariancePreserving);
    }

    #[test]
    fn path_is_at_rest_at_both_ends() {
        for t in [0.0, 1.0] {
            assert_eq!(VariancePreserving.alpha_dot(t), 0.0);
            assert_eq!(VariancePreserving.beta_dot(t), 0.0);
        }
    }

    #[test]
    fn angle_is_cosine_eased() {
        for i in 0..=100 {
            let t = f64::from(i) / 100.0;
            let theta = 0.25 * PI * (1.0 - (PI * t).cos());
            assert!((VariancePreserving.alpha(t) - theta.cos()).abs() < 1e-15);
            assert!((VariancePreserving.beta(t) - theta.sin()).abs() < 1e-15);
        }
    }
}
