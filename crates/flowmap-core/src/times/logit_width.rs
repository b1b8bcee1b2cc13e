//! Logit-normal widths: t − s = 1 / (1 + e^−z), z ~ N(mean, std²), and s uniform where the jump fits.
//!
//! The choice of Align Your Flow (Sabour, Fidler, Kreis 2025, arXiv:2506.14603).

use super::Jump;
use crate::Noise;

pub(super) fn draw(mean: f64, std: f64, noise: &mut Noise) -> Jump {
    // max turns the NaN of parameters that do not validate into a width.
    let width = (1.0 / (1.0 + (-(mean + std * noise.normal())).exp())).max(0.0);
    let s = (1.0 - width) * noise.uniform();
    Jump::sorted(s, (s + width).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::super::statistics::{draws, mean_is};
    use super::*;

    #[test]
    fn logits_of_the_width_have_the_mean_and_deviation_asked_for() {
        let (mean, std) = (-0.8, 1.0);
        let jumps = draws(|noise| draw(mean, std, noise));
        let logits = jumps.iter().map(|j| (j.width() / (1.0 - j.width())).ln());
        mean_is(mean, logits.clone());
        mean_is(std * std, logits.map(|logit| (logit - mean).powi(2)));
        mean_is(0.5, jumps.iter().map(|j| j.s() / (1.0 - j.width())));
    }

    #[test]
    fn meaningless_parameters_still_draw_times() {
        for (mean, std) in [(f64::NAN, 1.0), (f64::INFINITY, 1.0), (0.0, f64::INFINITY)] {
            draws(|noise| draw(mean, std, noise));
        }
    }
}
