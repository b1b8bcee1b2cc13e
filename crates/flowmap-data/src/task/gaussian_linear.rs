//! The mean of a Gaussian in ten dimensions, with a Gaussian or a uniform prior.
//!
//! θ ~ N(0, 0.1 I) or U[−1, 1]¹⁰,  x ~ N(θ, 0.1 I)
//! θ | x ~ N(x/2, 0.05 I), or N(x, 0.1 I) truncated to the box
//!
//! Lueckmann and others 2021, arXiv:2101.04653, T.1 and T.2. 0.1 is a variance.

use flowmap_core::{Noise, normal};

use super::{Posterior, Task, uniform_in_box};
use crate::{Error, Result};

const DIM: usize = 10;
/// Variance of the prior and of the likelihood.
const VARIANCE: f64 = 0.1;
/// Half of the side of the uniform prior's box.
const BOUND: f64 = 1.0;

/// The mean of a Gaussian.
#[derive(Debug, Clone, Copy)]
pub struct GaussianLinear {
    prior: Prior,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prior {
    Gaussian,
    Uniform,
}

impl GaussianLinear {
    /// The task `gaussian_linear`.
    pub const GAUSSIAN: Self = Self { prior: Prior::Gaussian };
    /// The task `gaussian_linear_uniform`.
    pub const UNIFORM: Self = Self { prior: Prior::Uniform };
}

impl Task for GaussianLinear {
    fn n_parameters(&self) -> usize {
        DIM
    }

    fn n_data(&self) -> usize {
        DIM
    }

    fn prior(&self, noise: &mut Noise) -> Vec<f64> {
        match self.prior {
            Prior::Gaussian => (0..DIM).map(|_| VARIANCE.sqrt() * noise.normal()).collect(),
            Prior::Uniform => uniform_in_box(DIM, BOUND, noise),
        }
    }

    fn simulate(&self, theta: &[f64], noise: &mut Noise) -> Result<Vec<f64>> {
        Ok(theta.iter().map(|mean| mean + VARIANCE.sqrt() * noise.normal()).collect())
    }

    fn posterior(&self) -> Option<&dyn Posterior> {
        Some(self)
    }
}

impl Posterior for GaussianLinear {
    fn draw(&self, x: &[f64], noise: &mut Noise) -> Result<Vec<f64>> {
        x.iter()
            .map(|&x| match self.prior {
                Prior::Gaussian => Ok(0.5 * x + (0.5 * VARIANCE).sqrt() * noise.normal()),
                Prior::Uniform => truncated(x, noise),
            })
            .collect()
    }
}

/// N(`mean`, 0.1) within the box, by the inverse of its distribution function.
fn truncated(mean: f64, noise: &mut Noise) -> Result<f64> {
    // In the tail that is small, where the distribution function keeps its digits.
    let (sign, sd) = (if mean > 0.0 { -1.0 } else { 1.0 }, VARIANCE.sqrt());
    let center = sign * mean;
    let tail = |theta: f64| normal::cdf(-(theta - center) / sd);
    let (low, high) = (tail(BOUND), tail(-BOUND));
    let theta = center - sd * normal::quantile(low + noise.uniform() * (high - low));
    if !theta.is_finite() {
        return Err(Error::NoPosterior { task: "gaussian_linear_uniform", n_tries: 1 });
    }
    Ok(sign * theta.clamp(-BOUND, BOUND))
}
