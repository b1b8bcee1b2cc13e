//! Two spirals, one the other turned by half a turn, with noise.
//!
//! n = T √u,  x = ± ⅓ (−n cos n + ½ a, n sin n + ½ b) + σ z,  u, a, b ~ U[0, 1)       (1)
//!
//! T = 3π (1.5 turns) and σ = 0.1 as `2spirals` in the toy data of FFJORD (Grathwohl et al. 2019, arXiv:1810.01367).

use std::f64::consts::TAU;

use flowmap_core::NoiseStream;
use serde::{Deserialize, Serialize};

use super::{plane, range};
use crate::{DataSet, Error, Facts, Result};

/// Scale of (1).
const SCALE: f64 = 1.0 / 3.0;

/// Width of the uniform noise of (1), before the scale.
const JITTER: f64 = 0.5;

/// Two spirals; the label of a sample is the number of its arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpiralsConfig {
    /// Turns of each arm, T/2π, above 0 and at most 100.
    pub turns: f64,
    /// Standard deviation of the noise σ.
    pub noise: f64,
}

impl Default for SpiralsConfig {
    fn default() -> Self {
        Self { turns: 1.5, noise: 0.1 }
    }
}

impl SpiralsConfig {
    /// The set, if the config makes one.
    ///
    /// # Errors
    /// [`Error::Config`]: a number of turns out of range, negative noise.
    pub fn checked(&self) -> Result<Spirals> {
        if !(self.turns > 0.0 && self.turns <= 100.0) {
            let (expected, found) = ("a number above 0 and at most 100", self.turns.to_string());
            return Err(Error::Config { key: "turns".into(), expected, found });
        }
        let noise = range::not_negative("noise", self.noise)?;
        Ok(Spirals { end: TAU * self.turns, noise })
    }
}

/// The law (1), each arm with probability ½.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spirals {
    /// T, the angle at the outer end.
    end: f64,
    noise: f64,
}

impl DataSet for Spirals {
    /// The arms balance, so sigma² = ½ E|x|², in closed form.
    ///
    /// n has density 2n/T² on [0, T], so E n² = T²/2 and
    /// E n cos n = 2/T² (T² sin T + 2T cos T − 2 sin T), E n sin n = 2/T² (2T sin T + 2 cos T − 2 − T² cos T).
    fn facts(&self) -> Facts<'_> {
        let t = self.end;
        let (sin, cos) = t.sin_cos();
        let n_cos = 2.0 / (t * t) * (t * t * sin + 2.0 * t * cos - 2.0 * sin);
        let n_sin = 2.0 / (t * t) * (2.0 * t * sin + 2.0 * cos - 2.0 - t * t * cos);
        // E|n (−cos, sin) + jitter|², the jitter having mean ½ J and mean square ⅓ J² in each coordinate.
        let square = 0.5 * t * t + JITTER * (n_sin - n_cos) + 2.0 / 3.0 * JITTER * JITTER;
        Facts::endless(&[2], 2, (0.5 * SCALE * SCALE * square + self.noise * self.noise).sqrt())
    }

    fn draw(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> Option<u32> {
        let mut noise = stream.at(index);
        let arm = noise.below(2) as u32;
        let n = self.end * noise.uniform().sqrt();
        let (a, b) = (noise.uniform(), noise.uniform());
        let (z, w) = (noise.normal(), noise.normal());
        let scale = if arm == 0 { SCALE } else { -SCALE };
        let (sin, cos) = n.sin_cos();
        let x = scale * (JITTER * a - n * cos) + self.noise * z; // (1)
        let y = scale * (JITTER * b + n * sin) + self.noise * w;
        plane::put(out, [x, y]);
        Some(arm)
    }

    fn extent(&self) -> Option<f64> {
        Some(SCALE * (self.end + JITTER) + 4.0 * self.noise)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::density::claims;

    fn set() -> Spirals {
        SpiralsConfig::default().checked().unwrap()
    }

    /// Half of what the spiral moves in a step of 0.01 of its angle, at its outer end.
    const GRID: f64 = 0.05;

    #[test]
    fn points_without_noise_lie_by_their_arm() {
        let sharp = SpiralsConfig { noise: 0.0, ..Default::default() }.checked().unwrap();
        claims::all_points(&sharp, |[x, y], label| {
            let sign = if label == Some(0) { 3.0 } else { -3.0 };
            let (x, y) = (sign * x, sign * y);
            // Less than the jitter away there is a point of the spiral, to the lower left.
            let is_near = (-80..=80).map(|step| x.hypot(y) + 0.01 * f64::from(step)).any(|n| {
                let (dx, dy) = (x + n * n.cos(), y - n * n.sin());
                (-GRID..JITTER + GRID).contains(&dx) && (-GRID..JITTER + GRID).contains(&dy)
            });
            assert!(is_near, "({x}, {y}) with label {label:?}");
        });
    }

    #[test]
    fn claims_of_a_set_hold() {
        claims::hold(&set(), &[0.5; 2]);
        claims::sigma_is_right(&SpiralsConfig { turns: 0.4, noise: 0.0 }.checked().unwrap());
        claims::sigma_is_right(&SpiralsConfig { turns: 3.3, noise: 0.5 }.checked().unwrap());
    }

    #[test]
    fn bad_configs_are_named() {
        let message = |turns, noise| SpiralsConfig { turns, noise }.checked().unwrap_err().to_string();
        assert_eq!(message(0.0, 0.0), "`turns`: expected a number above 0 and at most 100, found 0");
        assert_eq!(message(1.0, 1e9), "`noise`: expected a number from 0 to 1e6, found 1000000000");
    }
}
