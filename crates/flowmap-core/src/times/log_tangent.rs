//! TrigFlow times: t = 1 and s = 1 − (2/π) τ with ln tan τ ~ N(mean, std²).
//!
//! The choice of continuous-time consistency models (Lu and Song 2024, arXiv:2410.11081), whose angle τ runs from the
//! data (0) to the noise (π/2). They draw ln(σ_d tan τ) ~ N(−1, 1.4²) with σ_d = ½, which is mean −0.3 here.

use std::f64::consts::FRAC_PI_2;

use super::Jump;
use crate::Noise;

pub(super) fn draw(mean: f64, std: f64, noise: &mut Noise) -> Jump {
    let tau = (mean + std * noise.normal()).exp().atan();
    // max turns the NaN of parameters that do not validate into a time.
    Jump::sorted((1.0 - tau / FRAC_PI_2).max(0.0), 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::statistics::{draws, mean_is};
    use super::*;

    #[test]
    fn logarithms_of_the_tangent_have_the_mean_and_deviation_asked_for() {
        let (mean, std) = (-0.3, 1.4);
        let jumps = draws(|noise| draw(mean, std, noise));
        assert!(jumps.iter().all(|j| j.t() == 1.0));
        let logs = jumps.iter().map(|j| (FRAC_PI_2 * (1.0 - j.s())).tan().ln());
        mean_is(mean, logs.clone());
        mean_is(std * std, logs.map(|log| (log - mean).powi(2)));
    }

    #[test]
    fn meaningless_parameters_still_draw_times() {
        for (mean, std) in [(f64::NAN, 1.0), (f64::INFINITY, 1.0), (0.0, f64::INFINITY)] {
            draws(|noise| draw(mean, std, noise));
        }
    }
}
