//! Two moons: two crescents in two dimensions, one of each sign.
//!
//! θ ~ U[−1, 1]²,  x = (r cos a + ¼ − |θ₁ + θ₂|/√2,  r sin a + (θ₂ − θ₁)/√2)        (1)
//! a ~ U[−π/2, π/2],  r ~ N(0.1, 0.01²)
//!
//! Lueckmann and others 2021, arXiv:2101.04653, T.8; Greenberg, Nonnenmacher, Macke 2019, arXiv:1905.07488.
//! The posterior: (1) has Jacobian ±1 on either side of θ₁ + θ₂ = 0, so that drawing (a, r), solving (1) for θ with
//! either sign, and rejecting what lies outside of the prior draws exactly.

use std::f64::consts::{FRAC_1_SQRT_2, PI, SQRT_2};

use flowmap_core::Noise;

use super::{Posterior, Task, first_accepted, is_in_box, uniform_in_box};
use crate::Result;

/// Half of the side of the prior's box.
const BOUND: f64 = 1.0;

/// Two moons.
#[derive(Debug, Clone, Copy)]
pub struct TwoMoons;

/// A point of the crescent.
fn crescent(noise: &mut Noise) -> [f64; 2] {
    let a = PI * (noise.uniform() - 0.5);
    let r = 0.1 + 0.01 * noise.normal();
    [r * a.cos() + 0.25, r * a.sin()]
}

impl Task for TwoMoons {
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
        let p = crescent(noise);
        let (sum, difference) = (theta[0] + theta[1], theta[1] - theta[0]);
        Ok(vec![p[0] - sum.abs() * FRAC_1_SQRT_2, p[1] + difference * FRAC_1_SQRT_2]) // (1)
    }

    fn posterior(&self) -> Option<&dyn Posterior> {
        Some(self)
    }
}

impl Posterior for TwoMoons {
    fn draw(&self, x: &[f64], noise: &mut Noise) -> Result<Vec<f64>> {
        let propose = || {
            let p = crescent(noise);
            let (sum, difference) = (SQRT_2 * (p[0] - x[0]), SQRT_2 * (x[1] - p[1]));
            // No θ belongs to a negative |θ₁ + θ₂|; NaN is outside of every box.
            let sum = if sum < 0.0 { f64::NAN } else { sum };
            let sum = if noise.uniform() < 0.5 { sum } else { -sum };
            vec![0.5 * (sum - difference), 0.5 * (sum + difference)]
        };
        first_accepted("two_moons", propose, |theta| is_in_box(theta, BOUND))
    }
}
