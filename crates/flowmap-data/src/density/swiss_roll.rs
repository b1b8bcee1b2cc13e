//! The Swiss roll in the plane: a spiral of one and a half turns, with Gaussian noise.
//!
//! x = ⅕ τ (cos τ, sin τ) + σ z,  τ ~ U[3π/2, 9π/2]                                   (1)
//!
//! The first and third coordinate of scikit-learn's `make_swiss_roll`, scaled as in the toy data of FFJORD
//! (Grathwohl et al. 2019, arXiv:1810.01367), whose noise of 1 before the scale is σ = 0.2 here.

use std::f64::consts::PI;

use flowmap_core::NoiseStream;
use serde::{Deserialize, Serialize};

use super::{plane, range};
use crate::{DataSet, Facts, Result};

/// Scale of (1).
const SCALE: f64 = 0.2;

/// Angle at the inner end.
const START: f64 = 1.5 * PI;

/// Angle at the outer end.
const END: f64 = 4.5 * PI;

/// The Swiss roll; no labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SwissRollConfig {
    /// Standard deviation of the noise.
    pub noise: f64,
}

impl Default for SwissRollConfig {
    fn default() -> Self {
        Self { noise: 0.2 }
    }
}

impl SwissRollConfig {
    /// The set, if the config makes one.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config): negative noise.
    pub fn checked(&self) -> Result<SwissRoll> {
        Ok(SwissRoll { noise: range::not_negative("noise", self.noise)? })
    }
}

/// The law (1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SwissRoll {
    noise: f64,
}

impl DataSet for SwissRoll {
    /// ∫ τ cos τ = τ sin τ + cos τ, ∫ τ sin τ = sin τ − τ cos τ, ∫ τ² = ⅓ τ³ over [START, END].
    fn facts(&self) -> Facts<'_> {
        let mean_of = |integral: fn(f64) -> f64| (integral(END) - integral(START)) / (END - START);
        let x = SCALE * mean_of(|t| t * t.sin() + t.cos());
        let y = SCALE * mean_of(|t| t.sin() - t * t.cos());
        let square = SCALE * SCALE * mean_of(|t| t * t * t / 3.0);
        let mean = 0.5 * (x + y);
        Facts::endless(&[2], 0, (0.5 * square - mean * mean + self.noise * self.noise).sqrt())
    }

    fn draw(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> Option<u32> {
        let mut noise = stream.at(index);
        let tau = START + (END - START) * noise.uniform();
        let (z, w) = (noise.normal(), noise.normal());
        let (sin, cos) = tau.sin_cos();
        plane::put(out, [SCALE * tau * cos + self.noise * z, SCALE * tau * sin + self.noise * w]); // (1)
        None
    }

    fn extent(&self) -> Option<f64> {
        Some(SCALE * END + 4.0 * self.noise)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::density::claims;

    fn set() -> SwissRoll {
        SwissRollConfig::default().checked().unwrap()
    }

    #[test]
    fn points_without_noise_lie_on_the_roll() {
        claims::all_points(&SwissRollConfig { noise: 0.0 }.checked().unwrap(), |[x, y], _| {
            let tau = x.hypot(y) / SCALE;
            assert!((START - 1e-5..END + 1e-5).contains(&tau));
            let off = (SCALE * tau * tau.cos() - x).hypot(SCALE * tau * tau.sin() - y);
            assert!(off < 1e-4, "({x}, {y}) is {off} off");
        });
    }

    #[test]
    fn claims_of_a_set_hold() {
        claims::hold(&set(), &[]);
        claims::sigma_is_right(&SwissRollConfig { noise: 2.0 }.checked().unwrap());
    }

    #[test]
    fn bad_configs_are_named() {
        let error = SwissRollConfig { noise: -3.0 }.checked().unwrap_err();
        assert_eq!(error.to_string(), "`noise`: expected a number from 0 to 1e6, found -3");
    }
}
