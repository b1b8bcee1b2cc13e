//! The scale of classifier-free guidance as an input of the network: which scales a run draws, and a model takes.

use std::fmt;

use flowmap_core::{Noise, NoiseStream, Stream};
use serde::{Deserialize, Serialize};

use crate::error::range;
use crate::{Error, Result};

/// The scales w that a network is trained for, `min` to `max`; 1 is the conditional flow itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuidanceConfig {
    /// The smallest scale, at least 1.
    #[serde(default = "one")]
    pub min: f64,
    /// The largest scale.
    pub max: f64,
    /// How scales are drawn in between.
    #[serde(default)]
    pub distribution: ScaleDistribution,
}

fn one() -> f64 {
    1.0
}

/// How the scales of a batch are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScaleDistribution {
    /// ln w is uniform, as in improved Mean Flow, arXiv:2512.02012.
    #[default]
    LogUniform,
    /// w is uniform.
    Uniform,
}

impl GuidanceConfig {
    /// Checks the range.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        range("guidance.min", self.min >= 1.0 && self.min.is_finite(), "a number of at least 1", self.min)?;
        let fits = self.max > self.min && self.max.is_finite();
        range("guidance.max", fits, "a number above `guidance.min`", self.max)
    }

    /// A scale for one sample; takes one uniform number.
    pub fn draw(&self, noise: &mut Noise) -> f64 {
        let (Self { min, max, .. }, u) = (*self, noise.uniform());
        match self.distribution {
            ScaleDistribution::LogUniform => min * (u * (max / min).ln()).exp(),
            ScaleDistribution::Uniform => min + u * (max - min),
        }
    }

    /// The scales of the samples `first..` with these labels, those without a label, `null`, at 1.
    ///
    /// A sample's scale depends on the seed and its index alone, so that a resumed run draws the same.
    pub fn scales(&self, seed: u64, first: u64, labels: &[u32], null: u32) -> Vec<f32> {
        let stream = NoiseStream::new(seed, Stream::Guidance);
        let scale = |(label, index): (&u32, u64)| match *label == null {
            true => 1.0,
            false => self.draw(&mut stream.at(index)) as f32,
        };
        labels.iter().zip(first..).map(scale).collect()
    }

    /// Refuses a scale that the network was not trained for.
    ///
    /// # Errors
    /// [`Error::GuidanceScale`].
    pub fn check(&self, scale: f64) -> Result<()> {
        if (self.min..=self.max).contains(&scale) {
            return Ok(());
        }
        Err(Error::GuidanceScale { found: scale, min: self.min, max: self.max })
    }
}

impl fmt::Display for GuidanceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const N: u64 = 4_000;
    /// Four standard errors of the mean of N numbers of deviation 2/√12.
    const TOLERANCE: f64 = 4.0 * 0.58 / 63.0;

    fn draws(distribution: ScaleDistribution) -> Vec<f64> {
        let range = GuidanceConfig { min: 1.0, max: 3.0, distribution };
        let stream = NoiseStream::new(1, Stream::Guidance);
        let scales: Vec<f64> = (0..N).map(|i| range.draw(&mut stream.at(i))).collect();
        assert!(scales.iter().all(|w| range.check(*w).is_ok()));
        scales
    }

    #[test]
    fn scales_have_the_mean_of_their_law() {
        let mean = |scales: Vec<f64>| scales.iter().sum::<f64>() / N as f64;
        assert!((mean(draws(ScaleDistribution::Uniform)) - 2.0).abs() < TOLERANCE);
        // E w = (max − min)/ln(max/min).
        assert!((mean(draws(ScaleDistribution::LogUniform)) - 2.0 / 3f64.ln()).abs() < TOLERANCE);
    }

    #[test]
    fn scale_depends_on_seed_and_index_alone_and_is_one_without_a_label() {
        let range = GuidanceConfig { min: 1.0, max: 3.0, distribution: ScaleDistribution::LogUniform };
        let whole = range.scales(5, 10, &[0, 1, 2, 0, 1, 2], 2);
        assert_eq!(range.scales(5, 13, &[0, 1, 2], 2), whole[3..]);
        assert_eq!([whole[2], whole[5]], [1.0, 1.0]);
        assert!(whole[0] > 1.0 && whole[0] != whole[1] && whole[0] != whole[3]);
        assert_ne!(range.scales(6, 10, &[0], 2)[0], whole[0]);
    }

    #[test]
    fn scale_outside_is_refused_with_the_range() {
        let range = GuidanceConfig { min: 1.0, max: 3.0, distribution: ScaleDistribution::Uniform };
        let message = range.check(3.5).unwrap_err().to_string();
        assert_eq!(message, "guidance 3.5 is out of range: the model takes 1 to 3");
        assert!(range.check(f64::NAN).is_err());
    }
}
