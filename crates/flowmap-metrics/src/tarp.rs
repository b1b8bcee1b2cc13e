//! Tests of accuracy with random points (TARP): coverage of posteriors as a whole, all parameters together.
//!
//! f = #{ l : |θ_l − ρ| < |θ* − ρ| } / L        (1)
//! ECP(α) = share of pairs with f < α            (2)
//!
//! Lemos, Coogan, Hezaveh, Perreault-Levasseur 2023, arXiv:2302.03026, algorithm 2 and theorem 3: if the draws θ_l are of
//! the posterior, f is uniform and ECP(α) = α, whatever the reference points ρ; if ρ depends on x the converse holds too.
//! Convention: parameters are brought to [0, 1] by the smallest and the largest true value of each, and ρ is uniform
//! there; distances are Euclidean. Half of a draw is added to f and one to L, so that f is never 0 or 1.
//! Cost: O(n L dim).

use std::fmt;

use flowmap_core::{NoiseStream, Stream};
use rayon::prelude::*;
use serde::Serialize;

use crate::{Error, Result, Samples};

/// Coverage of posteriors by tests of accuracy with random points.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tarp {
    /// Name of the protocol, `tarp`.
    pub protocol: &'static str,
    /// f (1) of each pair, in ascending order.
    pub fractions: Vec<f64>,
    /// sup_α | ECP(α) − α |.
    pub ks: f64,
    /// The share of uniform f with a larger `ks`: small if the posteriors are not right.
    pub p_value: f64,
    /// Number of draws for each pair, L.
    pub n_draws: usize,
}

impl Tarp {
    /// The name printed with every such number.
    pub const PROTOCOL: &'static str = "tarp";

    /// Expected coverage ECP(α) (2).
    pub fn coverage(&self, alpha: f64) -> f64 {
        self.fractions.partition_point(|f| *f < alpha) as f64 / self.fractions.len() as f64
    }
}

impl fmt::Display for Tarp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.fractions.len();
        write!(
            f,
            "TARP p = {:.4} [{}: largest error of coverage {:.4}, n = {n}, L = {}]",
            self.p_value, self.protocol, self.ks, self.n_draws
        )
    }
}

/// Coverage of `draws` `(n L, dim)`, L for each row of `truth` `(n, dim)` in order; `seed` decides the reference points.
///
/// ```
/// use flowmap_metrics::{Samples, tarp};
///
/// let truth: Vec<f32> = (0..50).map(|i| i as f32).collect();
/// // Draws that always miss in the same direction.
/// let draws: Vec<f32> = truth.iter().flat_map(|theta| [theta + 30.0, theta + 31.0]).collect();
/// assert!(tarp(Samples::new(&truth, 1)?, Samples::new(&draws, 1)?, 0)?.p_value < 0.01);
/// # Ok::<(), flowmap_metrics::Error>(())
/// ```
///
/// # Errors
/// If the dimensions differ, or there are not as many draws for each row.
pub fn tarp(truth: Samples<'_>, draws: Samples<'_>, seed: u64) -> Result<Tarp> {
    truth.same_dim(&draws)?;
    let (n, dim) = (truth.n(), truth.dim());
    if !draws.n().is_multiple_of(n) {
        return Err(Error::Draws { n_truths: n, n_draws: draws.n() });
    }
    let n_draws = draws.n() / n;
    let ranges: Vec<[f64; 2]> = (0..dim)
        .map(|k| {
            let column = || truth.rows().map(|row| f64::from(row[k]));
            let (low, high) =
                (column().fold(f64::INFINITY, f64::min), column().fold(f64::NEG_INFINITY, f64::max));
            [low, if high > low { high - low } else { 1.0 }]
        })
        .collect();
    let stream = NoiseStream::new(seed, Stream::Projections);
    let fraction = |i: usize| {
        let mut noise = stream.at(i as u64);
        let point: Vec<f64> = (0..dim).map(|_| noise.uniform()).collect();
        let squared = |row: &[f32]| -> f64 {
            let unit = row.iter().zip(&ranges).map(|(x, [low, width])| (f64::from(*x) - low) / width);
            unit.zip(&point).map(|(x, rho)| (x - rho).powi(2)).sum()
        };
        let limit = squared(truth.row(i));
        let n_closer = (i * n_draws..(i + 1) * n_draws).filter(|l| squared(draws.row(*l)) < limit).count();
        (n_closer as f64 + 0.5) / (n_draws as f64 + 1.0) // (1)
    };
    let mut fractions: Vec<f64> = (0..n).into_par_iter().map(fraction).collect();
    fractions.sort_unstable_by(f64::total_cmp);
    let gap =
        |(i, f): (usize, &f64)| (f - i as f64 / n as f64).abs().max((f - (i + 1) as f64 / n as f64).abs());
    let ks = fractions.iter().enumerate().map(gap).fold(0.0, f64::max);
    Ok(Tarp { protocol: Tarp::PROTOCOL, p_value: kolmogorov_tail(ks, n), fractions, ks, n_draws })
}

/// P(D_n > d) for the statistic of Kolmogorov and Smirnov of n uniform numbers: 2 Σ_k (−1)^{k−1} e^{−2 k² λ²} with
/// λ = d (√n + 0.12 + 0.11/√n).
///
/// Stephens 1970, "Use of the Kolmogorov–Smirnov, Cramér–von Mises and related statistics without extensive tables".
fn kolmogorov_tail(d: f64, n: usize) -> f64 {
    let root = (n as f64).sqrt();
    let lambda = d * (root + 0.12 + 0.11 / root);
    // Below, the series converges slowly, and the tail is 1 to four digits.
    if lambda < 0.3 {
        return 1.0;
    }
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 2.0 } else { -2.0 };
        sign * (-2.0 * (f64::from(k) * lambda).powi(2)).exp()
    };
    (1..=100).map(term).sum::<f64>().clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the limit: 1.3581 is its 95 % point, 1.6276 its 99 % point.
    #[test]
    fn tail_of_kolmogorov_is_that_of_tables() {
        let n = 1_000_000_000_000;
        for (lambda, tail) in [(1.3581, 0.05), (1.6276, 0.01), (0.5, 0.9639)] {
            assert!((kolmogorov_tail(lambda / 1e6, n) - tail).abs() < 1e-4, "{lambda}");
        }
    }
}
