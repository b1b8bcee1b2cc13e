//! Prey and predators: ten noisy counts of each.
//!
//! u̇ = α u − β u v,  v̇ = −γ v + δ u v,  from (30, 1) at time 0        (1)
//! ln θ ~ N((−⅛, −3, −⅛, −3), ½² I),  x = the u, then the v, at times 0, 2.1, …, 18.9, times e^{0.1 ε}
//!
//! Lueckmann and others 2021, arXiv:2101.04653, T.10. As in `sbibm` counts are kept within [10⁻¹⁰, 10⁴].

use flowmap_core::{Dop853, Noise};

use super::Task;
use crate::Result;

const N_TIMES: usize = 10;
/// Time between observations.
const EVERY: f64 = 2.1;
const START: [f64; 2] = [30.0, 1.0];
const LOG_MEANS: [f64; 4] = [-0.125, -3.0, -0.125, -3.0];
const LOG_DEVIATION: f64 = 0.5;
const NOISE: f64 = 0.1;
const BOUNDS: [f64; 2] = [1e-10, 1e4];

/// Prey and predators.
#[derive(Debug, Clone, Copy)]
pub struct LotkaVolterra;

impl LotkaVolterra {
    /// The prey and then the predators at the times of observation (1).
    pub(super) fn counts(theta: &[f64]) -> Result<Vec<f64>> {
        let [alpha, beta, gamma, delta] = [theta[0], theta[1], theta[2], theta[3]];
        // In logarithms the counts stay positive and the equations lose their stiffness.
        let rates = |_: f64, w: &[f64], w_dot: &mut [f64]| {
            (w_dot[0], w_dot[1]) = (alpha - beta * w[1].exp(), -gamma + delta * w[0].exp());
            Ok(())
        };
        let solver = Dop853::new(1e-8, 1e-8)?;
        let mut w = START.map(f64::ln).to_vec();
        let mut path = vec![w.clone()];
        for k in 1..N_TIMES {
            w = solver.integrate(rates, (k - 1) as f64 * EVERY, k as f64 * EVERY, &w)?;
            path.push(w.clone());
        }
        let count = |w: f64| w.exp().clamp(BOUNDS[0], BOUNDS[1]);
        Ok((0..2).flat_map(|species| path.iter().map(move |w| count(w[species]))).collect())
    }
}

impl Task for LotkaVolterra {
    fn n_parameters(&self) -> usize {
        LOG_MEANS.len()
    }

    fn n_data(&self) -> usize {
        2 * N_TIMES
    }

    fn prior(&self, noise: &mut Noise) -> Vec<f64> {
        LOG_MEANS.map(|mean| (mean + LOG_DEVIATION * noise.normal()).exp()).into()
    }

    fn simulate(&self, theta: &[f64], noise: &mut Noise) -> Result<Vec<f64>> {
        Ok(Self::counts(theta)?.into_iter().map(|count| count * (NOISE * noise.normal()).exp()).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// By the classical method of order 4 with 2000 steps a unit of time.
    #[test]
    fn counts_are_those_of_another_integrator() {
        let known = [
            (
                [0.9, 0.05, 0.9, 0.05],
                [(1, 35.568_871_639_698), (9, 23.713_591_426_548), (11, 76.587_971_692_423)],
            ),
            (
                [1.2, 0.03, 0.6, 0.08],
                [(3, 4.233_743_796_857e-3), (7, 42.038_780_683_782), (18, 176.810_297_133_758)],
            ),
        ];
        for (theta, counts) in known {
            let found = LotkaVolterra::counts(&theta).unwrap();
            for (k, count) in counts {
                assert!((found[k] / count - 1.0f64).abs() < 1e-5, "{theta:?}, {k}: {}", found[k]);
            }
        }
    }
}
