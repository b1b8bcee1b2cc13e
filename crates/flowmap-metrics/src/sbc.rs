//! Simulation-based calibration (SBC): are posteriors as wide as they should be?
//!
//! θ* ~ p(θ),  x ~ p(x | θ*),  θ_1, …, θ_L ~ q(θ | x),  r = #{ l : θ_l < θ* }        (1)
//! χ² = Σ_b (n_b − e_b)² / e_b                                                      (2)
//! coverage(c) = share of pairs with | (r + ½)/(L + 1) − ½ | ≤ c/2                   (3)
//!
//! Talts, Betancourt, Simpson, Vehtari, Gelman 2018, arXiv:1804.06788, theorem 1: if q is the posterior, r is uniform on
//! {0, …, L}, for each parameter. Too narrow posteriors have too many ranks at both ends, too wide ones in the middle.
//! (2) compares counts in bins of equal width with their expectation; the share of uniform ranks with a larger χ² is
//! exact for an even number of degrees of freedom, so the number of bins is odd.
//! (3) is the expected coverage of central intervals of mass c, which is c for the posterior.
//! Convention: a draw equal to θ* counts one half, rounded down over all such draws.
//! Cost: O(n L dim).

use std::fmt;

use rayon::prelude::*;
use serde::Serialize;

use crate::{Error, Result, Samples};

/// Ranks of true parameters among draws of their posteriors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranks {
    /// `(n, dim)` row-major, each from 0 to L.
    ranks: Vec<u32>,
    dim: usize,
    n_draws: usize,
}

/// A χ² test that the ranks of one parameter are uniform.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Uniformity {
    /// Name of the protocol, `sbc-chi2`.
    pub protocol: &'static str,
    /// χ² (2).
    pub chi2: f64,
    /// The share of uniform ranks with a larger χ²: small if the ranks are not uniform.
    pub p_value: f64,
    /// Number of bins.
    pub n_bins: usize,
    /// Number of ranks.
    pub n: usize,
}

impl Uniformity {
    /// The name printed with every such number.
    pub const PROTOCOL: &'static str = "sbc-chi2";
}

impl fmt::Display for Uniformity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SBC p = {:.4} [{}: χ² {:.2} in {} bins, n = {}]",
            self.p_value, self.protocol, self.chi2, self.n_bins, self.n
        )
    }
}

impl Ranks {
    /// Ranks (1) of the rows of `truth` `(n, dim)` among `draws` `(n L, dim)`: L draws for the first row, then L for the
    /// second, and so on.
    ///
    /// ```
    /// use flowmap_metrics::{Ranks, Samples};
    ///
    /// // Two true parameters and three draws for each.
    /// let truth = Samples::new(&[0.0, 5.0], 1)?;
    /// let draws = Samples::new(&[-1.0, 1.0, -2.0, 6.0, 7.0, 8.0], 1)?;
    /// assert_eq!(Ranks::new(truth, draws)?.of(0).collect::<Vec<_>>(), [2, 0]);
    /// # Ok::<(), flowmap_metrics::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the dimensions differ, or there are not as many draws for each row.
    pub fn new(truth: Samples<'_>, draws: Samples<'_>) -> Result<Self> {
        truth.same_dim(&draws)?;
        let (n, dim) = (truth.n(), truth.dim());
        if !draws.n().is_multiple_of(n) {
            return Err(Error::Draws { n_truths: n, n_draws: draws.n() });
        }
        let n_draws = draws.n() / n;
        let rank = |i: usize, k: usize| {
            let value = truth.row(i)[k];
            let column = (i * n_draws..(i + 1) * n_draws).map(|l| draws.row(l)[k]);
            let (below, equal) = column.fold((0, 0), |(below, equal), draw| {
                (below + u32::from(draw < value), equal + u32::from(draw == value))
            });
            below + equal / 2
        };
        let ranks = (0..n * dim).into_par_iter().map(|at| rank(at / dim, at % dim)).collect();
        Ok(Self { ranks, dim, n_draws })
    }

    /// Number of parameters, dim.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of draws for each true parameter, L.
    pub fn n_draws(&self) -> usize {
        self.n_draws
    }

    /// The n ranks of parameter `k`.
    pub fn of(&self, k: usize) -> impl Iterator<Item = u32> {
        self.ranks.iter().skip(k).step_by(self.dim).copied()
    }

    /// Counts of the ranks of parameter `k` in `n_bins` bins, for a histogram, each with its expectation.
    pub fn histogram(&self, k: usize, n_bins: usize) -> Vec<(u64, f64)> {
        let n_values = self.n_draws + 1;
        let bin = |rank: usize| rank * n_bins / n_values;
        let mut bins = vec![(0, 0.0); n_bins];
        let n = self.ranks.len() / self.dim;
        for rank in 0..n_values {
            bins[bin(rank)].1 += n as f64 / n_values as f64;
        }
        for rank in self.of(k) {
            bins[bin(rank as usize)].0 += 1;
        }
        bins
    }

    /// Tests that the ranks of parameter `k` are uniform, in `n_bins` bins.
    ///
    /// # Errors
    /// [`Error::Bins`] unless the number of bins is odd, at least 3 and at most L + 1; [`Error::Dimension`] for a
    /// parameter that does not exist.
    pub fn uniformity(&self, k: usize, n_bins: usize) -> Result<Uniformity> {
        if k >= self.dim {
            return Err(Error::Dimension { expected: self.dim, got: k + 1 });
        }
        if n_bins < 3 || n_bins.is_multiple_of(2) || n_bins > self.n_draws + 1 {
            return Err(Error::Bins { n_bins, most: self.n_draws + 1 });
        }
        let excess = |(count, expected): (u64, f64)| (count as f64 - expected).powi(2) / expected;
        let chi2 = self.histogram(k, n_bins).into_iter().map(excess).sum(); // (2)
        Ok(Uniformity {
            protocol: Uniformity::PROTOCOL,
            chi2,
            p_value: chi2_tail(chi2, n_bins - 1),
            n_bins,
            n: self.ranks.len() / self.dim,
        })
    }

    /// The share of true parameters `k` within the central interval of mass `level` of their posteriors (3).
    pub fn coverage(&self, k: usize, level: f64) -> f64 {
        let is_within = |rank: u32| {
            let place = (f64::from(rank) + 0.5) / (self.n_draws as f64 + 1.0);
            (place - 0.5).abs() <= 0.5 * level
        };
        let n_within = self.of(k).filter(|rank| is_within(*rank)).count();
        n_within as f64 / (self.ranks.len() / self.dim) as f64
    }
}

/// P(χ² > x) for an even number of degrees of freedom: e^{−x/2} Σ_{k < dof/2} (x/2)^k / k!.
fn chi2_tail(x: f64, dof: usize) -> f64 {
    let half = 0.5 * x;
    let terms = (1..dof / 2).scan(1.0, |term, k| {
        *term *= half / k as f64;
        Some(*term)
    });
    (-half).exp() * (1.0 + terms.sum::<f64>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The 95 % points of tables.
    #[test]
    fn tail_of_chi2_is_that_of_tables() {
        for (dof, x) in [(2, 5.991_464_547), (10, 18.307_038_05), (20, 31.410_432_84)] {
            assert!((chi2_tail(x, dof) - 0.05).abs() < 1e-9, "{dof}");
        }
        assert_eq!(chi2_tail(0.0, 4), 1.0);
    }

    #[test]
    fn histogram_expects_what_its_bins_hold() {
        let truth = Samples::new(&[0.0; 10], 1).unwrap();
        let draws: Vec<f32> = (0..40).map(|i| if i % 4 < 3 { -1.0 } else { 1.0 }).collect();
        let ranks = Ranks::new(truth, Samples::new(&draws, 1).unwrap()).unwrap();
        // Five ranks in three bins: {0, 1}, {2, 3}, {4}.
        assert_eq!(ranks.histogram(0, 3), [(0, 4.0), (10, 4.0), (0, 2.0)]);
        assert!(ranks.uniformity(0, 3).unwrap().p_value < 1e-3);
        assert_eq!((ranks.coverage(0, 0.5), ranks.coverage(0, 0.3)), (1.0, 0.0));
    }

    #[test]
    fn draws_equal_to_the_truth_count_one_half() {
        let (truth, draws) = (Samples::new(&[1.0], 1).unwrap(), [1.0, 1.0, 1.0, 1.0, 0.0]);
        let ranks = Ranks::new(truth, Samples::new(&draws, 1).unwrap()).unwrap();
        assert_eq!(ranks.of(0).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn bad_numbers_of_draws_and_bins_are_refused() {
        let (two, three) = (Samples::new(&[0.0; 2], 1).unwrap(), Samples::new(&[0.0; 3], 1).unwrap());
        assert_eq!(Ranks::new(two, three).err(), Some(Error::Draws { n_truths: 2, n_draws: 3 }));
        let ranks = Ranks::new(two, Samples::new(&[0.0; 8], 1).unwrap()).unwrap();
        for n_bins in [0, 1, 4, 7] {
            assert_eq!(ranks.uniformity(0, n_bins).err(), Some(Error::Bins { n_bins, most: 5 }));
        }
        assert_eq!(ranks.uniformity(1, 3).err(), Some(Error::Dimension { expected: 1, got: 2 }));
    }
}
