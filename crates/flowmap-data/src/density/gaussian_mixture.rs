//! A mixture of isotropic Gaussians, in any dimension.
//!
//! p(x) = Σ_k w_k N(x; μ_k, σ_k² I)                                                   (1)
//!
//! sigma_data² = Σ_k w_k (|μ_k − m|²/D + σ_k²), m the mean of all coordinates         (2)

use flowmap_core::{NoiseStream, normal};
use serde::{Deserialize, Serialize};
use std::f64::consts::FRAC_1_SQRT_2;

use super::{plane, range};
use crate::{DataSet, Error, Facts, Result};

/// Points this many standard deviations from their mean are still inside the plot.
const PLOT_STDS: f64 = 4.0;

/// A mixture of Gaussians: by default eight modes on the unit circle with standard deviation 0.15.
///
/// ```
/// use flowmap_data::{DataSet, GaussianMixtureConfig};
///
/// let config = GaussianMixtureConfig {
///     means: vec![vec![-1.0], vec![1.0]],
///     stds: vec![0.5],
///     weights: vec![1.0, 3.0],
/// };
/// let mixture = config.checked()?;
/// assert_eq!(mixture.weights(), [0.25, 0.75]);
/// assert_eq!(mixture.sigma(), 1.0);
/// # Ok::<(), flowmap_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianMixtureConfig {
    /// Mean of each component, all of the same dimension.
    pub means: Vec<Vec<f64>>,
    /// Standard deviation of each component; a single one holds for all.
    pub stds: Vec<f64>,
    /// Weight of each component, of any sum; a single one holds for all.
    pub weights: Vec<f64>,
}

impl Default for GaussianMixtureConfig {
    fn default() -> Self {
        Self { means: on_circle(1.0), stds: vec![0.15], weights: vec![1.0] }
    }
}

impl GaussianMixtureConfig {
    /// The mixture, if the config makes one.
    ///
    /// # Errors
    /// [`Error::Config`] and [`Error::ConfigLength`]: no means, means of different or no dimensions, values out of
    /// range, lists of different lengths.
    pub fn checked(&self) -> Result<GaussianMixture> {
        let n_components = self.means.len();
        let dimension = self.means.first().map_or(0, Vec::len);
        if dimension == 0 {
            let (expected, found) = ("one mean or more, each a list of numbers", format!("{:?}", self.means));
            return Err(Error::Config { key: "means".into(), expected, found });
        }
        for (k, mean) in self.means.iter().enumerate() {
            if mean.len() != dimension {
                let expected = "as many numbers as in `means[0]`";
                let found = format!("{} against {dimension}", mean.len());
                return Err(Error::Config { key: format!("means[{k}]"), expected, found });
            }
            for (d, value) in mean.iter().enumerate() {
                range::coordinate(&format!("means[{k}][{d}]"), *value)?;
            }
        }
        let stds = for_each_component("stds", &self.stds, n_components)?;
        let weights = for_each_component("weights", &self.weights, n_components)?;
        for (k, std) in self.stds.iter().enumerate() {
            range::positive(&format!("stds[{k}]"), *std)?;
        }
        for (k, weight) in self.weights.iter().enumerate() {
            range::positive(&format!("weights[{k}]"), *weight)?;
        }
        let total: f64 = weights.iter().sum();
        let weights: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
        if let Some(k) = weights.iter().position(|weight| *weight == 0.0) {
            let (expected, found) = ("a share of all weights above 0", format!("{:e}", self.weights[k]));
            return Err(Error::Config { key: format!("weights[{k}]"), expected, found });
        }
        Ok(GaussianMixture::from_parts(self.means.clone(), stds, weights))
    }
}

/// The list with one entry for each component.
fn for_each_component(key: &'static str, values: &[f64], expected: usize) -> Result<Vec<f64>> {
    match values {
        [single] => Ok(vec![*single; expected]),
        _ if values.len() == expected => Ok(values.to_vec()),
        _ => Err(Error::ConfigLength { key, other: "means", expected, found: values.len() }),
    }
}

/// Eight points on a circle about the origin, counterclockwise from (radius, 0).
pub(super) fn on_circle(radius: f64) -> Vec<Vec<f64>> {
    let (r, d) = (radius, radius * FRAC_1_SQRT_2);
    [[r, 0.0], [d, d], [0.0, r], [-d, d], [-r, 0.0], [-d, -d], [0.0, -r], [d, -d]].map(Vec::from).to_vec()
}

/// The mixture (1); the label of a sample is the index of its component.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianMixture {
    means: Vec<Vec<f64>>,
    stds: Vec<f64>,
    weights: Vec<f64>,
    /// Upper end of the share of [0, 1) that belongs to each component.
    ends: Vec<f64>,
    shape: [usize; 1],
    sigma: f64,
}

impl GaussianMixture {
    /// Mean of each component.
    pub fn means(&self) -> &[Vec<f64>] {
        &self.means
    }

    /// Standard deviation of each component, one for all coordinates.
    pub fn stds(&self) -> &[f64] {
        &self.stds
    }

    /// Probability of each component; the sum is 1.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// From lists that were checked: of equal length, not empty, weights of sum 1.
    pub(super) fn from_parts(means: Vec<Vec<f64>>, stds: Vec<f64>, weights: Vec<f64>) -> Self {
        let dimension = means[0].len();
        let mean_of = |values: &[f64]| values.iter().sum::<f64>() / dimension as f64;
        let m: f64 = weights.iter().zip(&means).map(|(w, mean)| w * mean_of(mean)).sum();
        let distance = |mean: &[f64]| mean.iter().map(|v| (v - m).powi(2)).sum::<f64>() / dimension as f64;
        let components = weights.iter().zip(means.iter().zip(&stds));
        let variance: f64 = components.map(|(w, (mean, std))| w * (distance(mean) + std * std)).sum(); // (2)
        let mut end = 0.0;
        let ends = weights.iter().map(|weight| (end += weight, end).1).collect();
        Self { means, stds, weights, ends, shape: [dimension], sigma: variance.sqrt() }
    }

    /// The component that a number of [0, 1) falls to.
    fn component_of(&self, u: f64) -> usize {
        let k = self.ends.partition_point(|end| *end <= u);
        // Rounding may leave the last end a little below 1.
        k.min(self.ends.len() - 1)
    }
}

impl DataSet for GaussianMixture {
    fn facts(&self) -> Facts<'_> {
        Facts::endless(&self.shape, self.means.len(), self.sigma)
    }

    fn class_shares(&self) -> Vec<f64> {
        self.weights.clone()
    }

    fn draw(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> Option<u32> {
        let mut noise = stream.at(index);
        let k = self.component_of(noise.uniform());
        for (out, mean) in out.iter_mut().zip(&self.means[k]) {
            *out = (mean + self.stds[k] * noise.normal()) as f32;
        }
        Some(k as u32)
    }

    /// Products of differences of the normal distribution function, in the plane.
    fn cell_masses(&self, lo: f64, hi: f64, bins: usize) -> Option<Vec<f64>> {
        let borders = plane::borders(lo, hi, bins).filter(|_| self.shape == [2])?;
        let axes: Vec<[Vec<f64>; 2]> = (0..self.means.len())
            .map(|k| {
                let along = |axis: usize| masses_between(&borders, self.means[k][axis], self.stds[k]);
                [along(0).iter().map(|mass| self.weights[k] * mass).collect(), along(1)]
            })
            .collect();
        Some(plane::sum_of_products(&axes, bins))
    }

    fn extent(&self) -> Option<f64> {
        let reach = |(mean, std): (&Vec<f64>, &f64)| {
            mean.iter().fold(0.0f64, |reach, v| reach.max(v.abs())) + PLOT_STDS * std
        };
        let reaches = self.means.iter().zip(&self.stds).map(reach);
        (self.shape == [2]).then(|| reaches.fold(0.0, f64::max))
    }
}

/// Mass of N(mean, std²) between each two neighbors of the borders, which ascend.
fn masses_between(borders: &[f64], mean: f64, std: f64) -> Vec<f64> {
    let z: Vec<f64> = borders.iter().map(|border| (border - mean) / std).collect();
    z.windows(2)
        .map(|bin| match (bin[0], bin[1]) {
            // Differences of the smaller tails, so that far cells keep their digits.
            (lo, hi) if lo > 0.0 => normal::cdf(-lo) - normal::cdf(-hi),
            (lo, hi) => normal::cdf(hi) - normal::cdf(lo),
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::density::claims;

    fn uneven() -> GaussianMixture {
        let config = GaussianMixtureConfig {
            means: vec![vec![2.0, 1.0], vec![-1.0, 0.5], vec![0.0, -2.0]],
            stds: vec![0.3, 1.0, 0.6],
            weights: vec![5.0, 3.0, 2.0],
        };
        config.checked().unwrap()
    }

    #[test]
    fn claims_of_a_set_hold() {
        claims::hold(&uneven(), &[0.5, 0.3, 0.2]);
        claims::hold(&GaussianMixtureConfig::default().checked().unwrap(), &[0.125; 8]);
        let means = vec![vec![1.0, 2.0, 3.0, 4.0, 5.0], vec![0.0; 5]];
        let wide = GaussianMixtureConfig { means, ..Default::default() };
        claims::sigma_is_right(&wide.checked().unwrap());
    }

    #[test]
    fn labels_are_the_components() {
        let mixture = GaussianMixtureConfig { stds: vec![1e-3], ..Default::default() }.checked().unwrap();
        claims::all_points(&mixture, |[x, y], label| {
            let mean = &mixture.means()[label.unwrap() as usize];
            assert!((x - mean[0]).hypot(y - mean[1]) < 0.01);
        });
    }

    #[test]
    fn cell_masses_are_those_of_the_samples() {
        claims::cell_masses_are_right(&uneven(), -4.0, 4.0, 30);
        claims::cell_masses_are_right(&uneven(), 0.5, 2.5, 7);
        let line = GaussianMixtureConfig { means: vec![vec![0.0]], ..Default::default() };
        assert_eq!(line.checked().unwrap().cell_masses(-1.0, 1.0, 4), None);
    }

    #[test]
    fn masses_of_all_intervals_add_up_to_one() {
        let borders = [f64::NEG_INFINITY, -50.0, -3.0, -0.1, 0.0, 0.3, 5.0, 60.0, f64::INFINITY];
        let masses = masses_between(&borders, 0.2, 0.7);
        assert!(masses.iter().all(|mass| *mass >= 0.0));
        assert!((masses.iter().sum::<f64>() - 1.0).abs() < 1e-15); // eight roundings at most
    }

    #[test]
    fn masses_of_far_intervals_keep_their_digits() {
        // The tail beyond 30 standard deviations, computed with 50 digits; 1e-13 is a hundred roundings of it.
        let (far, tail) = ([30.0, f64::INFINITY], 4.90671392714818706e-198);
        assert!((masses_between(&far, 0.0, 1.0)[0] / tail - 1.0).abs() < 1e-13);
        assert!((masses_between(&[f64::NEG_INFINITY, -30.0], 0.0, 1.0)[0] / tail - 1.0).abs() < 1e-13);
    }

    #[test]
    fn bad_configs_are_named() {
        let base = GaussianMixtureConfig::default();
        let cases = [
            (
                GaussianMixtureConfig { means: vec![], ..base.clone() },
                "`means`: expected one mean or more, each a list of numbers, found []",
            ),
            (
                GaussianMixtureConfig { means: vec![vec![]], ..base.clone() },
                "`means`: expected one mean or more, each a list of numbers, found [[]]",
            ),
            (
                GaussianMixtureConfig { means: vec![vec![0.0, 1.0], vec![1.0]], ..base.clone() },
                "`means[1]`: expected as many numbers as in `means[0]`, found 1 against 2",
            ),
            (
                GaussianMixtureConfig { means: vec![vec![0.0, f64::NAN]], ..base.clone() },
                "`means[0][1]`: expected a number from -1e6 to 1e6, found NaN",
            ),
            (
                GaussianMixtureConfig { stds: vec![0.1, 0.2], ..base.clone() },
                "`stds`: expected 8 entries as in `means`, or a single one, found 2",
            ),
            (
                GaussianMixtureConfig { stds: vec![0.0], ..base.clone() },
                "`stds[0]`: expected a number above 0 and at most 1e6, found 0",
            ),
            (
                GaussianMixtureConfig { weights: vec![], ..base.clone() },
                "`weights`: expected 8 entries as in `means`, or a single one, found 0",
            ),
            (
                GaussianMixtureConfig { weights: vec![-1.0], ..base.clone() },
                "`weights[0]`: expected a number above 0 and at most 1e6, found -1",
            ),
            (
                GaussianMixtureConfig {
                    weights: vec![1.0, 2.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0],
                    ..base.clone()
                },
                "`weights[2]`: expected a number above 0 and at most 1e6, found 0",
            ),
            (
                GaussianMixtureConfig {
                    means: vec![vec![0.0], vec![1.0]],
                    weights: vec![1e6, 5e-324],
                    ..base.clone()
                },
                "`weights[1]`: expected a share of all weights above 0, found 5e-324",
            ),
        ];
        for (config, message) in cases {
            assert_eq!(config.checked().unwrap_err().to_string(), message);
        }
    }
}
