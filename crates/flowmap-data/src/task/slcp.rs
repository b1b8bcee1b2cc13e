//! Simple likelihood, complex posterior: four draws of a Gaussian whose moments are the parameters.
//!
//! θ ~ U[−3, 3]⁵,  x = four draws of N((θ₁, θ₂), Σ),  Σ = [s₁², ρ s₁ s₂; ρ s₁ s₂, s₂²] + 10⁻⁶ I
//! s₁ = θ₃²,  s₂ = θ₄²,  ρ = tanh θ₅
//!
//! Lueckmann and others 2021, arXiv:2101.04653, T.3; Papamakarios, Sterratt, Murray 2019, arXiv:1805.07226.

use flowmap_core::Noise;

use super::{Task, uniform_in_box};
use crate::Result;

const N_DRAWS: usize = 4;
/// Half of the side of the prior's box.
const BOUND: f64 = 3.0;
/// Added to both variances.
const JITTER: f64 = 1e-6;

/// Simple likelihood, complex posterior.
#[derive(Debug, Clone, Copy)]
pub struct Slcp;

impl Task for Slcp {
    fn n_parameters(&self) -> usize {
        5
    }

    fn n_data(&self) -> usize {
        2 * N_DRAWS
    }

    fn prior(&self, noise: &mut Noise) -> Vec<f64> {
        uniform_in_box(5, BOUND, noise)
    }

    fn simulate(&self, theta: &[f64], noise: &mut Noise) -> Result<Vec<f64>> {
        let (s1, s2, rho) = (theta[2].powi(2), theta[3].powi(2), theta[4].tanh());
        // The Cholesky factor of Σ.
        let l11 = (s1 * s1 + JITTER).sqrt();
        let l21 = rho * s1 * s2 / l11;
        let l22 = (s2 * s2 + JITTER - l21 * l21).max(0.0).sqrt();
        let draw = |_| {
            let (e1, e2) = (noise.normal(), noise.normal());
            [theta[0] + l11 * e1, theta[1] + l21 * e1 + l22 * e2]
        };
        Ok((0..N_DRAWS).flat_map(draw).collect())
    }
}
