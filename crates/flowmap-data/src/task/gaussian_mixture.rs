//! The mean of two Gaussians, of which one is ten times as wide.
//!
//! θ ~ U[−10, 10]²,  x ~ ½ N(θ, I) + ½ N(θ, 0.01 I),  θ | x the same mixture around x, within the box
//!
//! Lueckmann and others 2021, arXiv:2101.04653, T.7, with one component for both coordinates as in `sbibm` from 1.1 on.

use flowmap_core::Noise;

use super::{Posterior, Task, first_accepted, is_in_box, uniform_in_box};
use crate::Result;

/// Half of the side of the prior's box.
const BOUND: f64 = 10.0;

/// The mean of two Gaussians.
#[derive(Debug, Clone, Copy)]
pub struct GaussianMixture;

/// A draw of the mixture around `mean`.
fn around(mean: &[f64], noise: &mut Noise) -> Vec<f64> {
    let sd = if noise.uniform() < 0.5 { 1.0 } else { 0.1 };
    mean.iter().map(|mean| mean + sd * noise.normal()).collect()
}

impl Task for GaussianMixture {
    fn n_parameters(&self) -> usize {
        2
    }

    fn n_data(&self) -> usize {
        2
    }

    fn prior(&self, noise: &mut Noise) -> Vec<f64> {
        uniform_in_box(2, BOUND, noise)
    }

    fn simulate(&self, theta: &[f64], noise: &mut Noise) -> Result<Vec<f64>> {
        Ok(around(theta, noise))
    }

    fn posterior(&self) -> Option<&dyn Posterior> {
        Some(self)
    }
}

impl Posterior for GaussianMixture {
    fn draw(&self, x: &[f64], noise: &mut Noise) -> Result<Vec<f64>> {
        first_accepted("gaussian_mixture", || around(x, noise), |theta| is_in_box(theta, BOUND))
    }
}
