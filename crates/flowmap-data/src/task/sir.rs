//! An epidemic: counts of infected people in samples of a thousand, on ten days.
//!
//! Ṡ = −β S I/N,  İ = β S I/N − γ I,  with N = 10⁶ and I = 1 at day 0        (1)
//! ln β ~ N(ln 0.4, 0.5²),  ln γ ~ N(ln 0.125, 0.2²),  x_k ~ Binomial(1000, I(17 k)/N),  k = 0, …, 9
//!
//! Lueckmann and others 2021, arXiv:2101.04653, T.9.

use flowmap_core::{Dop853, Noise};

use super::Task;
use crate::Result;

const POPULATION: f64 = 1e6;
const N_OBSERVED: u32 = 1000;
const N_TIMES: usize = 10;
/// Days between observations.
const EVERY: f64 = 17.0;

/// An epidemic.
#[derive(Debug, Clone, Copy)]
pub struct Sir;

impl Sir {
    /// I/N on the days of observation (1).
    pub(super) fn infected(theta: &[f64]) -> Result<Vec<f64>> {
        let (beta, gamma) = (theta[0], theta[1]);
        let rates = |_: f64, u: &[f64], u_dot: &mut [f64]| {
            let new = beta * u[0] * u[1];
            (u_dot[0], u_dot[1]) = (-new, new - gamma * u[1]);
            Ok(())
        };
        // Shares of the population.
        let mut u = vec![1.0 - 1.0 / POPULATION, 1.0 / POPULATION];
        let solver = Dop853::new(1e-8, 1e-12)?;
        let mut infected = vec![u[1]];
        for k in 1..N_TIMES {
            u = solver.integrate(rates, (k - 1) as f64 * EVERY, k as f64 * EVERY, &u)?;
            infected.push(u[1].clamp(0.0, 1.0));
        }
        Ok(infected)
    }
}

impl Task for Sir {
    fn n_parameters(&self) -> usize {
        2
    }

    fn n_data(&self) -> usize {
        N_TIMES
    }

    fn prior(&self, noise: &mut Noise) -> Vec<f64> {
        [(0.4, 0.5), (0.125, 0.2)].map(|(median, sd): (f64, f64)| median * (sd * noise.normal()).exp()).into()
    }

    fn simulate(&self, theta: &[f64], noise: &mut Noise) -> Result<Vec<f64>> {
        Ok(Self::infected(theta)?.into_iter().map(|p| f64::from(binomial(N_OBSERVED, p, noise))).collect())
    }
}

/// Binomial(n, p): the number of n exponential waiting times that end before −ln(1 − p), in their order.
///
/// Devroye 1986, "Non-uniform random variate generation", X.4.3, the second waiting time method. About n p logarithms.
fn binomial(n: u32, p: f64, noise: &mut Noise) -> u32 {
    if p > 0.5 {
        return n - binomial(n, 1.0 - p, noise);
    }
    let end = -(-p).ln_1p();
    let (mut time, mut count) = (0.0, 0);
    while count < n {
        time -= (1.0 - noise.uniform()).ln() / f64::from(n - count);
        if time > end {
            break;
        }
        count += 1;
    }
    count
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flowmap_core::{NoiseStream, Stream};

    use super::*;

    #[test]
    fn binomial_has_its_mean_and_variance() {
        const N_DRAWS: u64 = 20_000;
        let stream = NoiseStream::new(1, Stream::Data);
        for p in [0.0, 1e-3, 0.2, 0.7, 1.0] {
            let draws: Vec<f64> =
                (0..N_DRAWS).map(|i| f64::from(binomial(50, p, &mut stream.at(i)))).collect();
            let mean = draws.iter().sum::<f64>() / N_DRAWS as f64;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / N_DRAWS as f64;
            let (exact_mean, exact_variance) = (50.0 * p, 50.0 * p * (1.0 - p));
            let error = (exact_variance / N_DRAWS as f64).sqrt();
            assert!((mean - exact_mean).abs() <= 4.0 * error, "{p}: {mean}");
            assert!((variance - exact_variance).abs() <= 0.06 * exact_variance, "{p}: {variance}");
        }
    }

    /// By the classical method of order 4 with 50 steps a day.
    #[test]
    fn epidemic_is_that_of_another_integrator() {
        let known = [
            ([0.4, 0.125], [(1, 1.072_088_021_739_322_4e-4), (3, 0.307_012_687_661_588_6), (9, 1.751_1e-5)]),
            ([0.7, 0.2], [(2, 0.258_677_130_461_167), (4, 8.174_043_427_394_52e-4), (7, 1.023_78e-7)]),
        ];
        for (theta, shares) in known {
            let infected = Sir::infected(&theta).unwrap();
            for (k, share) in shares {
                assert!((infected[k] / share - 1.0f64).abs() < 1e-4, "{theta:?}, {k}: {}", infected[k]);
            }
        }
    }
}
