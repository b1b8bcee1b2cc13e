//! Logit-normal pairs: two independent times 1 / (1 + e^−z), z ~ N(mean, std²), sorted.
//!
//! The choice of MeanFlow (Geng et al. 2025, arXiv:2505.13447), which takes mean −0.4 and std 1 in a time
//! that runs from data to noise; here, where time runs from noise to data, that is mean 0.4.

use super::Jump;
use crate::{Error, Noise, Result};

pub(super) fn validate(mean: f64, std: f64) -> Result<()> {
    if !mean.is_finite() {
        return Err(Error::Parameter { name: "mean", expected: "finite", found: mean });
    }
    if !(std.is_finite() && std > 0.0) {
        return Err(Error::Parameter { name: "std", expected: "positive and finite", found: std });
    }
    Ok(())
}

pub(super) fn draw(mean: f64, std: f64, noise: &mut Noise) -> Jump {
    // max turns the NaN of parameters that do not validate into a time.
    let mut time = || (1.0 / (1.0 + (-(mean + std * noise.normal())).exp())).max(0.0);
    let (a, b) = (time(), time());
    Jump::sorted(a, b)
}

#[cfg(test)]
mod tests {
    use super::super::statistics::{draws, mean_is};
    use super::*;

    #[test]
    fn centered_logit_normal_is_symmetric() {
        let jumps = draws(|noise| draw(0.0, 1.0, noise));
        mean_is(0.5, jumps.iter().map(|j| 0.5 * (j.s() + j.t())));
    }

    #[test]
    fn logits_have_the_mean_and_deviation_asked_for() {
        let (mean, std) = (0.4, 1.2);
        let jumps = draws(|noise| draw(mean, std, noise));
        let logit = |t: f64| (t / (1.0 - t)).ln();
        let logits = jumps.iter().map(|j| (logit(j.s()), logit(j.t())));
        mean_is(mean, logits.clone().map(|(s, t)| 0.5 * (s + t)));
        // The larger and the smaller of two independent normals differ by 2 std / √π on average.
        mean_is(2.0 * std / std::f64::consts::PI.sqrt(), logits.map(|(s, t)| t - s));
    }

    #[test]
    fn meaningless_parameters_are_refused_and_still_draw_times() {
        for (mean, std) in [(f64::NAN, 1.0), (0.0, f64::NAN), (f64::INFINITY, 1.0), (0.0, f64::INFINITY)] {
            assert!(validate(mean, std).is_err());
            draws(|noise| draw(mean, std, noise));
        }
        assert!(validate(0.0, 0.0).is_err() && validate(0.0, -1.0).is_err());
    }
}
