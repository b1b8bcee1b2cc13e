//! Rings about the origin, with Gaussian noise.
//!
//! x = r_k (cos θ, sin θ) + σ z,  k uniform, θ ~ U[0, 2π)                             (1)
//!
//! r = ¾, 3/2, 9/4, 3 and σ = 0.08 as in the toy data of FFJORD (Grathwohl et al. 2019, arXiv:1810.01367).
//! Differs from it: θ is random instead of equally spaced, so that samples are independent.

use std::f64::consts::TAU;

use flowmap_core::NoiseStream;
use serde::{Deserialize, Serialize};

use super::{plane, range};
use crate::{DataSet, Error, Facts, Result};

/// Rings; the label of a sample is the index of its ring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RingsConfig {
    /// Radius of each ring.
    pub radii: Vec<f64>,
    /// Standard deviation of the noise.
    pub noise: f64,
}

impl Default for RingsConfig {
    fn default() -> Self {
        Self { radii: vec![0.75, 1.5, 2.25, 3.0], noise: 0.08 }
    }
}

impl RingsConfig {
    /// The set, if the config makes one.
    ///
    /// # Errors
    /// [`Error::Config`]: no ring, a radius that is not positive, negative noise.
    pub fn checked(&self) -> Result<Rings> {
        if self.radii.is_empty() {
            let (expected, found) = ("one radius or more", "[]".into());
            return Err(Error::Config { key: "radii".into(), expected, found });
        }
        for (k, radius) in self.radii.iter().enumerate() {
            range::positive(&format!("radii[{k}]"), *radius)?;
        }
        range::not_negative("noise", self.noise)?;
        Ok(Rings { config: self.clone() })
    }
}

/// The law (1).
#[derive(Debug, Clone, PartialEq)]
pub struct Rings {
    config: RingsConfig,
}

impl DataSet for Rings {
    /// The mean is 0, so sigma² = ½ E|x|² = ½ (mean of r_k²) + σ².
    fn facts(&self) -> Facts<'_> {
        let RingsConfig { radii, noise } = &self.config;
        let square = radii.iter().map(|radius| radius * radius).sum::<f64>() / radii.len() as f64;
        Facts::endless(&[2], self.config.radii.len(), (0.5 * square + noise * noise).sqrt())
    }

    fn draw(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> Option<u32> {
        let RingsConfig { radii, noise: std } = &self.config;
        let mut noise = stream.at(index);
        let ring = noise.below(radii.len() as u64) as usize;
        let (sin, cos) = (TAU * noise.uniform()).sin_cos();
        let (z, w) = (noise.normal(), noise.normal());
        plane::put(out, [radii[ring] * cos + std * z, radii[ring] * sin + std * w]); // (1)
        Some(ring as u32)
    }

    fn extent(&self) -> Option<f64> {
        Some(self.config.radii.iter().copied().fold(0.0, f64::max) + 4.0 * self.config.noise)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::density::claims;

    fn set() -> Rings {
        RingsConfig::default().checked().unwrap()
    }

    #[test]
    fn points_without_noise_lie_on_their_ring() {
        let sharp = RingsConfig { noise: 0.0, ..Default::default() }.checked().unwrap();
        claims::all_points(&sharp, |[x, y], label| {
            let radius = 0.75 * f64::from(label.unwrap() + 1);
            assert!((x.hypot(y) - radius).abs() < 1e-6);
        });
    }

    #[test]
    fn angles_are_uniform() {
        let mut quadrants = [0.0f64; 4];
        claims::all_points(&set(), |[x, y], _| {
            quadrants[usize::from(x > 0.0) + 2 * usize::from(y > 0.0)] += 1.0;
        });
        let n: f64 = quadrants.iter().sum();
        let bound = 4.0 * (n * 3.0 / 16.0).sqrt(); // four standard errors
        assert!(quadrants.iter().all(|count| (count - 0.25 * n).abs() < bound), "{quadrants:?}");
    }

    #[test]
    fn claims_of_a_set_hold() {
        claims::hold(&set(), &[0.25; 4]);
        claims::sigma_is_right(&RingsConfig { radii: vec![2.0, 0.1], noise: 0.5 }.checked().unwrap());
    }

    #[test]
    fn bad_configs_are_named() {
        let message = |radii, noise| RingsConfig { radii, noise }.checked().unwrap_err().to_string();
        assert_eq!(message(vec![], 0.0), "`radii`: expected one radius or more, found []");
        assert_eq!(
            message(vec![1.0, -1.0], 0.0),
            "`radii[1]`: expected a number above 0 and at most 1e6, found -1"
        );
        assert_eq!(message(vec![1.0], f64::NAN), "`noise`: expected a number from 0 to 1e6, found NaN");
    }
}
