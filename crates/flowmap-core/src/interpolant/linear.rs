//! The linear interpolant, I_t = (1 − t) x_0 + t x_1.
//!
//! The straight path of rectified flow and flow matching (Liu et al. 2022, arXiv:2209.03003;
//! Lipman et al. 2022, arXiv:2210.02747) and of the flow-map papers; the usual choice.

use super::Interpolant;

/// α_t = 1 − t, β_t = t.
///
/// ```
/// use flowmap_core::{Interpolant, Linear};
/// assert_eq!((Linear.alpha(0.25), Linear.beta(0.25)), (0.75, 0.25));
/// assert_eq!((Linear.alpha_dot(0.25), Linear.beta_dot(0.25)), (-1.0, 1.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Linear;

impl Interpolant for Linear {
    fn alpha(&self, t: f64) -> f64 {
        1.0 - t
    }

    fn beta(&self, t: f64) -> f64 {
        t
    }

    fn alpha_dot(&self, _t: f64) -> f64 {
        -1.0
    }

    fn beta_dot(&self, _t: f64) -> f64 {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws;
    use super::Linear;

    #[test]
    fn linear_obeys_the_laws() {
        laws::joins_noise_with_data_exactly(&Linear);
        laws::derivatives_are_finite_differences(&Linear);
        laws::moves_from_noise_to_data(&Linear);
    }
}
