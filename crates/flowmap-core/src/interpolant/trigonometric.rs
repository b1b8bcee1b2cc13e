//! The trigonometric interpolant, I_t = cos(π t / 2) x_0 + sin(π t / 2) x_1.
//!
//! A quarter of a circle at constant speed (Albergo, Vanden-Eijnden 2022, arXiv:2209.15571).
//! α² + β² = 1, so the variance stays put when noise and data have the same one.
//! This is also the plain cosine schedule of diffusion models.

use std::f64::consts::FRAC_PI_2;

use super::Interpolant;

/// α_t = cos(π t / 2), β_t = sin(π t / 2).
///
/// ```
/// use flowmap_core::{Interpolant, Trigonometric};
/// assert_eq!(Trigonometric.alpha(1.0), 0.0); // not the 6e-17 of cos(π/2) in floating point
/// assert!((Trigonometric.alpha(0.5) - 0.5f64.sqrt()).abs() < 1e-15);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trigonometric;

impl Interpolant for Trigonometric {
    /// cos(π t / 2) = sin(π (1 − t) / 2), of which the second form is exact at t = 1 and precise near it.
    fn alpha(&self, t: f64) -> f64 {
        if t < 0.5 { (FRAC_PI_2 * t).cos() } else { (FRAC_PI_2 * (1.0 - t)).sin() }
    }

    fn beta(&self, t: f64) -> f64 {
        if t < 0.5 { (FRAC_PI_2 * t).sin() } else { (FRAC_PI_2 * (1.0 - t)).cos() }
    }

    fn alpha_dot(&self, t: f64) -> f64 {
        -FRAC_PI_2 * self.beta(t)
    }

    fn beta_dot(&self, t: f64) -> f64 {
        FRAC_PI_2 * self.alpha(t)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Interpolant, laws};
    use super::Trigonometric;

    #[test]
    fn trigonometric_obeys_the_laws() {
        laws::joins_noise_with_data_exactly(&Trigonometric);
        laws::derivatives_are_finite_differences(&Trigonometric);
        laws::moves_from_noise_to_data(&Trigonometric);
        laws::preserves_variance(&Trigonometric);
    }

    #[test]
    fn alpha_keeps_its_relative_precision_near_the_data() {
        let left = 2.0f64.powi(-40);
        let ratio = Trigonometric.alpha(1.0 - left) / left;
        assert!((ratio - std::f64::consts::FRAC_PI_2).abs() < 1e-15);
    }
}
