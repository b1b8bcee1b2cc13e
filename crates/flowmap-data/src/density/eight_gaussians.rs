//! Eight Gaussians on a circle.
//!
//! p(x) = ⅛ Σ_k N(x; r (cos πk/4, sin πk/4), σ² I),  r = 2√2, σ = √2/4
//!
//! Sizes as in the toy data of FFJORD (Grathwohl et al. 2019, arXiv:1810.01367): r = 4 and σ = ½, divided by √2
//! (their code divides by 1.414).

use serde::{Deserialize, Serialize};
use std::f64::consts::SQRT_2;

use super::gaussian_mixture::{GaussianMixture, on_circle};
use super::range;
use crate::Result;

/// Eight equal Gaussians on a circle; the label of a sample is the number of its mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EightGaussiansConfig {
    /// Radius of the circle that the means lie on.
    pub radius: f64,
    /// Standard deviation of each Gaussian.
    pub std: f64,
}

impl Default for EightGaussiansConfig {
    fn default() -> Self {
        Self { radius: 2.0 * SQRT_2, std: 0.25 * SQRT_2 }
    }
}

impl EightGaussiansConfig {
    /// The mixture, its modes counterclockwise from (radius, 0).
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config): a radius or a standard deviation that is not positive.
    pub fn checked(&self) -> Result<GaussianMixture> {
        let radius = range::positive("radius", self.radius)?;
        let std = range::positive("std", self.std)?;
        Ok(GaussianMixture::from_parts(on_circle(radius), vec![std; 8], vec![0.125; 8]))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::DataSet;
    use crate::density::claims;

    fn set() -> GaussianMixture {
        EightGaussiansConfig::default().checked().unwrap()
    }

    #[test]
    fn labels_are_the_nearest_modes_counterclockwise() {
        let tight = EightGaussiansConfig { std: 0.05, ..Default::default() }.checked().unwrap();
        claims::all_points(&tight, |[x, y], label| {
            let turn = y.atan2(x) / std::f64::consts::FRAC_PI_4;
            assert_eq!(label, Some(turn.round().rem_euclid(8.0) as u32));
            assert!((x.hypot(y) - 2.0 * SQRT_2).abs() < 0.3);
        });
    }

    #[test]
    fn claims_of_a_set_hold() {
        claims::hold(&set(), &[0.125; 8]);
        // r²/2 + σ²
        assert!((set().sigma() - (4.0f64 + 0.125).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn cell_masses_are_those_of_the_samples() {
        claims::cell_masses_are_right(&set(), -4.0, 4.0, 40);
        claims::cell_masses_are_right(&set(), -3.0, 1.0, 11);
    }

    #[test]
    fn bad_configs_are_named() {
        let message = |radius, std| EightGaussiansConfig { radius, std }.checked().unwrap_err().to_string();
        assert_eq!(message(0.0, 1.0), "`radius`: expected a number above 0 and at most 1e6, found 0");
        assert_eq!(message(1.0, -2.5), "`std`: expected a number above 0 and at most 1e6, found -2.5");
    }
}
