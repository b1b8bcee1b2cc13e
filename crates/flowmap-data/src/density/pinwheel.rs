//! The pinwheel: arms that bend the more the farther out they are.
//!
//! r = 1 + σ_r z,  τ = σ_t w,  φ = 2π k / K + a eʳ,  x = 2 R(φ) (r, τ)                (1)
//!
//! with k uniform on {0, …, K − 1}, R a rotation, K = 5, σ_r = 0.3, σ_t = 0.1, a = ¼, as in the toy data of FFJORD
//! (Grathwohl et al. 2019, arXiv:1810.01367), which has it from Johnson et al. 2016, arXiv:1603.06277.

use std::f64::consts::TAU;

use flowmap_core::NoiseStream;
use serde::{Deserialize, Serialize};

use super::{plane, range};
use crate::{DataSet, Error, Facts, Result};

/// Scale of (1).
const SCALE: f64 = 2.0;

/// The pinwheel; the label of a sample is the number of its arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PinwheelConfig {
    /// Number of arms K, from 2 to 100.
    pub arms: u32,
    /// Standard deviation along an arm σ_r, in units of the middle radius.
    pub radial_std: f64,
    /// Standard deviation across an arm σ_t, in units of the middle radius.
    pub tangential_std: f64,
    /// How much the arms bend, a; 0 keeps them straight.
    pub rate: f64,
}

impl Default for PinwheelConfig {
    fn default() -> Self {
        Self { arms: 5, radial_std: 0.3, tangential_std: 0.1, rate: 0.25 }
    }
}

impl PinwheelConfig {
    /// The set, if the config makes one.
    ///
    /// # Errors
    /// [`Error::Config`]: fewer than 2 or more than 100 arms, a number that is negative or not finite.
    pub fn checked(&self) -> Result<Pinwheel> {
        if !(2..=100).contains(&self.arms) {
            let (expected, found) = ("a whole number from 2 to 100", self.arms.to_string());
            return Err(Error::Config { key: "arms".into(), expected, found });
        }
        range::not_negative("radial_std", self.radial_std)?;
        range::not_negative("tangential_std", self.tangential_std)?;
        range::coordinate("rate", self.rate)?;
        Ok(Pinwheel { config: self.clone() })
    }
}

/// The law (1).
#[derive(Debug, Clone, PartialEq)]
pub struct Pinwheel {
    config: PinwheelConfig,
}

impl DataSet for Pinwheel {
    /// Rotations keep lengths, and the arms balance: sigma² = ½ · 4 E(r² + τ²) = 2 (1 + σ_r² + σ_t²).
    fn facts(&self) -> Facts<'_> {
        let PinwheelConfig { radial_std, tangential_std, .. } = self.config;
        let square = 1.0 + radial_std * radial_std + tangential_std * tangential_std;
        Facts::endless(&[2], self.config.arms as usize, SCALE * (0.5 * square).sqrt())
    }

    fn draw(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> Option<u32> {
        let PinwheelConfig { arms, radial_std, tangential_std, rate } = self.config;
        let mut noise = stream.at(index);
        let arm = noise.below(arms.into()) as u32;
        let r = 1.0 + radial_std * noise.normal();
        let tau = tangential_std * noise.normal();
        // A far outlier of a wide arm must not turn by an infinite angle, which has no sine.
        let turn = (rate * r.exp()).clamp(-f64::MAX, f64::MAX);
        let turn = if turn.is_nan() { 0.0 } else { turn };
        let (sin, cos) = (TAU * f64::from(arm) / f64::from(arms) + turn).sin_cos();
        plane::put(out, [SCALE * (cos * r - sin * tau), SCALE * (sin * r + cos * tau)]); // (1)
        Some(arm)
    }

    fn extent(&self) -> Option<f64> {
        Some(SCALE * (1.0 + 4.0 * self.config.radial_std.max(self.config.tangential_std)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::density::claims;

    fn set() -> Pinwheel {
        PinwheelConfig::default().checked().unwrap()
    }

    #[test]
    fn points_of_thin_arms_lie_on_their_arm() {
        let thin = PinwheelConfig { tangential_std: 0.0, radial_std: 0.2, ..Default::default() };
        claims::all_points(&thin.checked().unwrap(), |[x, y], label| {
            let r = 0.5 * x.hypot(y);
            let turn = TAU * f64::from(label.unwrap()) / 5.0 + 0.25 * r.exp();
            let off = (2.0 * r * turn.cos() - x).hypot(2.0 * r * turn.sin() - y);
            assert!(off < 1e-5, "({x}, {y}) is {off} off arm {label:?}");
        });
    }

    #[test]
    fn claims_of_a_set_hold() {
        claims::hold(&set(), &[0.2; 5]);
        let two = PinwheelConfig { arms: 2, radial_std: 0.5, ..Default::default() };
        claims::sigma_is_right(&two.checked().unwrap());
    }

    #[test]
    fn extreme_configs_stay_finite() {
        for rate in [0.0, 1e6] {
            let wide = PinwheelConfig { radial_std: 1e6, rate, ..Default::default() }.checked().unwrap();
            claims::all_points(&wide, |point, _| assert!(point.iter().all(|v| v.is_finite())));
        }
    }

    #[test]
    fn bad_configs_are_named() {
        let message = |config: PinwheelConfig| config.checked().unwrap_err().to_string();
        let base = PinwheelConfig::default;
        assert_eq!(
            message(PinwheelConfig { arms: 1, ..base() }),
            "`arms`: expected a whole number from 2 to 100, found 1"
        );
        assert_eq!(
            message(PinwheelConfig { rate: f64::INFINITY, ..base() }),
            "`rate`: expected a number from -1e6 to 1e6, found inf"
        );
        assert_eq!(
            message(PinwheelConfig { radial_std: -1.0, ..base() }),
            "`radial_std`: expected a number from 0 to 1e6, found -1"
        );
    }
}
