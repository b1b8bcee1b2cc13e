//! A neuron: spikes in a hundred time bins, given a known stimulus, summed up by their sufficient statistics.
//!
//! y_t ~ Bernoulli(σ((V θ)_t)),  x = Vᵀ y,  V = a column of ones, then the stimulus delayed by 0, …, 8 bins        (1)
//! θ = (offset, filter),  offset ~ N(0, 2),  filter ~ N(0, (FᵀF)⁻¹)
//! F = D D + diag √(i/9),  i = 0, …, 8,  D_ii = 1,  D_{i,i−1} = −1        (2)
//!
//! Lueckmann and others 2021, arXiv:2101.04653, T.5: (2) makes the filter smooth.

use flowmap_core::Noise;

use super::Task;
use crate::Result;

const N_BINS: usize = 100;
const N_LAGS: usize = 9;
/// Variance of the offset.
const OFFSET_VARIANCE: f64 = 2.0;

/// The stimulus, white noise that is the same for everybody.
#[rustfmt::skip]
const STIMULUS: [f64; N_BINS] = [
    0.49671414, -0.1382643, 0.64768857, 1.5230298, -0.23415338, -0.23413695, 1.5792128,
    0.7674347, -0.46947438, 0.54256004, -0.46341768, -0.46572974, 0.24196227, -1.9132802,
    -1.7249179, -0.5622875, -1.0128311, 0.31424734, -0.9080241, -1.4123037, 1.4656488,
    -0.2257763, 0.0675282, -1.4247482, -0.54438275, 0.11092259, -1.1509936, 0.37569803,
    -0.6006387, -0.29169375, -0.6017066, 1.8522782, -0.013497225, -1.0577109, 0.82254493,
    -1.2208437, 0.2088636, -1.9596701, -1.328186, 0.19686124, 0.73846656, 0.17136829,
    -0.115648285, -0.30110368, -1.478522, -0.7198442, -0.46063876, 1.0571222, 0.3436183,
    -1.7630402, 0.32408398, -0.38508227, -0.676922, 0.6116763, 1.0309995, 0.93128014,
    -0.83921754, -0.3092124, 0.33126342, 0.9755451, -0.47917423, -0.18565898, -1.1063349,
    -1.1962066, 0.8125258, 1.35624, -0.07201012, 1.0035329, 0.361636, -0.6451197,
    0.3613956, 1.5380366, -0.03582604, 1.5646436, -2.619745, 0.8219025, 0.08704707,
    -0.29900736, 0.09176078, -1.9875689, -0.21967189, 0.35711256, 1.4778941, -0.5182702,
    -0.8084936, -0.501757, 0.9154021, 0.32875112, -0.5297602, 0.51326746, 0.09707755,
    0.968645, -0.70205307, -0.32766214, -0.39210814, -1.4635149, 0.2961203, 0.26105526,
    0.005113457, -0.23458713,
];

/// A neuron under a known stimulus.
#[derive(Debug, Clone)]
pub struct BernoulliGlm {
    /// F (2), lower triangular.
    smoothing: [[f64; N_LAGS]; N_LAGS],
}

impl Default for BernoulliGlm {
    fn default() -> Self {
        let d = |i: usize, j: usize| f64::from(u8::from(i == j)) - f64::from(u8::from(i == j + 1));
        let mut smoothing = [[0.0; N_LAGS]; N_LAGS];
        for (i, row) in smoothing.iter_mut().enumerate() {
            for (j, f) in row.iter_mut().enumerate() {
                *f = (0..N_LAGS).map(|k| d(i, k) * d(k, j)).sum();
            }
            row[i] += (i as f64 / N_LAGS as f64).sqrt();
        }
        Self { smoothing }
    }
}

/// V_{t,k} (1).
fn design(t: usize, k: usize) -> f64 {
    match k {
        0 => 1.0,
        _ => t.checked_sub(k - 1).map_or(0.0, |at| STIMULUS[at]),
    }
}

impl Task for BernoulliGlm {
    fn n_parameters(&self) -> usize {
        1 + N_LAGS
    }

    fn n_data(&self) -> usize {
        1 + N_LAGS
    }

    fn prior(&self, noise: &mut Noise) -> Vec<f64> {
        let mut theta = vec![OFFSET_VARIANCE.sqrt() * noise.normal()];
        // F θ = ε gives θ the covariance F⁻¹ F⁻ᵀ = (FᵀF)⁻¹.
        for i in 0..N_LAGS {
            let known: f64 = (0..i).map(|j| self.smoothing[i][j] * theta[1 + j]).sum();
            theta.push((noise.normal() - known) / self.smoothing[i][i]);
        }
        theta
    }

    fn simulate(&self, theta: &[f64], noise: &mut Noise) -> Result<Vec<f64>> {
        let mut x = vec![0.0; 1 + N_LAGS];
        for t in 0..N_BINS {
            let drive: f64 = theta.iter().enumerate().map(|(k, theta)| design(t, k) * theta).sum();
            if noise.uniform() < 1.0 / (1.0 + (-drive).exp()) {
                x.iter_mut().enumerate().for_each(|(k, x)| *x += design(t, k));
            }
        }
        Ok(x)
    }
}

#[cfg(test)]
mod tests {
    use flowmap_core::{NoiseStream, Stream};

    use super::*;

    /// The first entries of (FᵀF)⁻¹, by NumPy.
    #[test]
    fn filters_of_the_prior_have_its_covariance() {
        const N_DRAWS: u64 = 40_000;
        /// Four standard errors of the largest entry.
        const TOLERANCE: f64 = 0.12;
        let expected =
            [[1.0, 1.5, 1.359_245_5], [1.5, 2.8125, 2.803_443_9], [1.359_245_5, 2.803_443_9, 3.348_681_4]];
        let (task, stream) = (BernoulliGlm::default(), NoiseStream::new(2, Stream::Data));
        let mut sums = [[0.0; 3]; 3];
        for i in 0..N_DRAWS {
            let theta = task.prior(&mut stream.at(i));
            for (j, row) in sums.iter_mut().enumerate() {
                row.iter_mut().enumerate().for_each(|(k, sum)| *sum += theta[1 + j] * theta[1 + k]);
            }
        }
        for (row, expected) in sums.iter().zip(expected) {
            for (sum, expected) in row.iter().zip(expected) {
                assert!((sum / N_DRAWS as f64 - expected).abs() < TOLERANCE, "{sums:?}");
            }
        }
    }

    #[test]
    fn statistics_count_spikes_first() {
        let mut noise = NoiseStream::new(3, Stream::Data).at(0);
        let always = task_at(&[50.0], &mut noise);
        assert_eq!(always[0], N_BINS as f64);
        let all: f64 = STIMULUS.iter().sum();
        assert!((always[1] - all).abs() < 1e-12);
        assert!((always[2] - (all - STIMULUS[N_BINS - 1])).abs() < 1e-12);
        assert_eq!(task_at(&[-50.0], &mut noise), [0.0; 1 + N_LAGS]);
    }

    #[allow(clippy::unwrap_used)]
    fn task_at(offset: &[f64; 1], noise: &mut Noise) -> Vec<f64> {
        let theta = [offset.as_slice(), &[0.0; N_LAGS]].concat();
        BernoulliGlm::default().simulate(&theta, noise).unwrap()
    }
}
