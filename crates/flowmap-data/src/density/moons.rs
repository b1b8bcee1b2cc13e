//! Two moons: half circles that reach into each other, with Gaussian noise.
//!
//! upper: (cos θ, sin θ),  lower: (1 − cos θ, ½ − sin θ),  θ ~ U[0, π]                (1)
//! x = 2 · (1) + (−1, −0.2) + σ z                                                     (2)
//!
//! (1) as in scikit-learn's `make_moons`; scale and shift (2) as in the toy data of FFJORD (Grathwohl et al. 2019,
//! arXiv:1810.01367), whose noise of 0.1 before the scale is σ = 0.2 here.
//! Differs from both: θ is random instead of equally spaced, so that samples are independent.

use std::f64::consts::PI;

use flowmap_core::NoiseStream;
use serde::{Deserialize, Serialize};

use super::{plane, range};
use crate::{DataSet, Facts, Result};

/// Scale of (2).
const SCALE: f64 = 2.0;

/// Shift of (2).
const SHIFT: [f64; 2] = [-1.0, -0.2];

/// Two moons; the label of a sample is 0 for the upper, 1 for the lower moon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MoonsConfig {
    /// Standard deviation of the noise.
    pub noise: f64,
}

impl Default for MoonsConfig {
    fn default() -> Self {
        Self { noise: 0.2 }
    }
}

impl MoonsConfig {
    /// The set, if the config makes one.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config): negative noise.
    pub fn checked(&self) -> Result<Moons> {
        Ok(Moons { noise: range::not_negative("noise", self.noise)? })
    }
}

/// The law (2), each moon with probability ½.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moons {
    noise: f64,
}

impl DataSet for Moons {
    /// From E cos θ = 0, E sin θ = 2/π, E cos² θ = E sin² θ = ½.
    fn facts(&self) -> Facts<'_> {
        let mean = [0.5, 0.25]; // of (1): both moons, then one coordinate each
        let square = [0.5 * (0.5 + 1.5), 0.5 * (0.5 + (0.75 - 2.0 / PI))];
        let moments = [0, 1].map(|d| {
            let (m, s) = (mean[d], square[d]);
            [SCALE * m + SHIFT[d], SCALE * SCALE * s + 2.0 * SCALE * SHIFT[d] * m + SHIFT[d] * SHIFT[d]]
        });
        let mean = 0.5 * (moments[0][0] + moments[1][0]);
        let square = 0.5 * (moments[0][1] + moments[1][1]);
        Facts::endless(&[2], 2, (square - mean * mean + self.noise * self.noise).sqrt())
    }

    fn draw(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> Option<u32> {
        let mut noise = stream.at(index);
        let moon = noise.below(2) as u32;
        let (sin, cos) = (PI * noise.uniform()).sin_cos();
        let point = if moon == 0 { [cos, sin] } else { [1.0 - cos, 0.5 - sin] }; // (1)
        let (z, w) = (noise.normal(), noise.normal());
        let x = SCALE * point[0] + SHIFT[0] + self.noise * z; // (2)
        let y = SCALE * point[1] + SHIFT[1] + self.noise * w;
        plane::put(out, [x, y]);
        Some(moon)
    }

    fn extent(&self) -> Option<f64> {
        Some(3.0 + 4.0 * self.noise)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::density::claims;

    fn set() -> Moons {
        MoonsConfig::default().checked().unwrap()
    }

    #[test]
    fn points_without_noise_lie_on_their_moon() {
        claims::all_points(&MoonsConfig { noise: 0.0 }.checked().unwrap(), |[x, y], label| {
            let (x, y) = ((x + 1.0) / 2.0, (y + 0.2) / 2.0);
            let (radius, side) =
                if label == Some(0) { (x.hypot(y), y) } else { ((x - 1.0).hypot(y - 0.5), 0.5 - y) };
            assert!((radius - 1.0).abs() < 1e-6 && side > -1e-6, "({x}, {y}) with label {label:?}");
        });
    }

    #[test]
    fn claims_of_a_set_hold() {
        claims::hold(&set(), &[0.5; 2]);
        claims::sigma_is_right(&MoonsConfig { noise: 1.5 }.checked().unwrap());
    }

    #[test]
    fn bad_configs_are_named() {
        let error = MoonsConfig { noise: -0.1 }.checked().unwrap_err();
        assert_eq!(error.to_string(), "`noise`: expected a number from 0 to 1e6, found -0.1");
    }
}
