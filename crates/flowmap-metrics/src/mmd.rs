//! Squared maximum mean discrepancy with a mixture of Gaussian kernels.
//!
//! MMD²(P, Q) = E k(X, X′) + E k(Y, Y′) − 2 E k(X, Y)        (1)
//! k(a, b) = Σ_σ exp(−|a − b|² / (2σ²))                        (2)
//!
//! Gretton, Borgwardt, Rasch, Schölkopf, Smola 2012, "A kernel two-sample test", lemma 6, eq. (3) and (5).
//! Convention: the bandwidths are the median distance times {1/4, 1/2, 1, 2, 4}, the kernels are summed with
//! weight 1 (not averaged), nothing is rooted.
//! - `unbiased` leaves the pairs i = j out of the first two means, so it may be negative.
//! - `biased` keeps them: never negative, 0 for identical sets, too large by about
//!   (number of σ − E k(X, X′))/n + (number of σ − E k(Y, Y′))/m.
//!   It is the number that the evaluation code of torchcfm prints, given the same bandwidths.
//!
//! The median is taken of |a − b| over all pairs of different rows of one set, the data; of a set with more
//! than [`Bandwidths::MEDIAN_ROWS`] rows that many evenly spaced ones enter.
//! Bandwidths that depend on the data alone give every model that is judged the same kernel; with the median of
//! both sets together, as some programs take it, a worse model is judged by a wider kernel.
//! Cost: O((n + m)² (dim + number of σ)), on all threads, same bits for any number of them.

use std::fmt;

use serde::Serialize;

use crate::pairwise::{Points, squared_distance};
use crate::{Error, Result, Samples};

/// The widths σ of the Gaussian kernels, all positive.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Bandwidths {
    sigmas: Vec<f64>,
}

impl Bandwidths {
    /// Factor of the median distance.
    pub const MEDIAN_FACTORS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];

    /// At most this many rows of each set enter the median.
    pub const MEDIAN_ROWS: usize = 1024;

    /// Takes the given widths.
    ///
    /// # Errors
    /// When the list is empty or a width is not a positive finite number.
    pub fn new(sigmas: Vec<f64>) -> Result<Self> {
        if sigmas.is_empty() {
            return Err(Error::NoBandwidths);
        }
        match sigmas.iter().find(|sigma| !(sigma.is_finite() && **sigma > 0.0)) {
            Some(&value) => Err(Error::Bandwidth { value }),
            None => Ok(Self { sigmas }),
        }
    }

    /// The median distance within the data, times [`Self::MEDIAN_FACTORS`].
    ///
    /// # Errors
    /// For fewer than two samples, or a median distance of 0, as when most samples are equal.
    pub fn median_heuristic(data: Samples<'_>) -> Result<Self> {
        data.at_least(2)?;
        let median = median_distance(data);
        Self::new(Self::MEDIAN_FACTORS.iter().map(|factor| factor * median).collect())
    }

    /// The widths, in the order given.
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }
}

/// Squared maximum mean discrepancy, by both of its usual estimators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mmd2 {
    /// Name of the protocol, `mmd2`.
    pub protocol: &'static str,
    /// Means over i ≠ j, may be negative.
    pub unbiased: f64,
    /// Means over all i, j, at least 0 up to rounding.
    pub biased: f64,
    /// The widths of the kernels.
    pub bandwidths: Bandwidths,
    /// Number of samples in the first set.
    pub n_x: usize,
    /// Number of samples in the second set.
    pub n_y: usize,
}

impl Mmd2 {
    /// The name printed with every such number.
    pub const PROTOCOL: &'static str = "mmd2";
}

impl fmt::Display for Mmd2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MMD² {:.3e} [{}: unbiased, sum of Gaussian kernels, σ =", self.unbiased, self.protocol)?;
        for sigma in self.bandwidths.sigmas() {
            write!(f, " {sigma:.3}")?;
        }
        write!(f, ", n = {}, m = {}]", self.n_x, self.n_y)
    }
}

/// MMD² of `x`, shape `(n, dim)`, and `y`, shape `(m, dim)`.
///
/// ```
/// use flowmap_metrics::{Bandwidths, Samples, mmd2};
///
/// let x = Samples::new(&[0.0, 0.1, 0.2, 0.3], 1)?;
/// let y = Samples::new(&[5.0, 5.1, 5.2, 5.3], 1)?;
/// let far = mmd2(x, y, &Bandwidths::median_heuristic(y)?)?;
/// assert!(far.unbiased > 1.0);
/// # Ok::<(), flowmap_metrics::Error>(())
/// ```
///
/// # Errors
/// When the dimensions differ or a set has fewer than two samples.
pub fn mmd2(x: Samples<'_>, y: Samples<'_>, bandwidths: &Bandwidths) -> Result<Mmd2> {
    x.same_dim(&y)?;
    x.at_least(2)?;
    y.at_least(2)?;
    let kernel = Kernel::new(bandwidths);
    let kernel = |d2: f64| kernel.at(d2);
    let (n, m) = (x.n() as f64, y.n() as f64);
    let (points_x, points_y) = (Points::new(x), Points::new(y));
    let xy = points_x.sum_between(&points_y, kernel) / (n * m); // E k(X, Y)
    let xx = 2.0 * points_x.sum_within(kernel); // Σ_{i≠j} k(x_i, x_j)
    let yy = 2.0 * points_y.sum_within(kernel);
    let k0 = bandwidths.sigmas.len() as f64; // k(x, x)
    Ok(Mmd2 {
        protocol: Mmd2::PROTOCOL,
        unbiased: xx / (n * (n - 1.0)) + yy / (m * (m - 1.0)) - 2.0 * xy, // (1)
        biased: (xx + n * k0) / (n * n) + (yy + m * k0) / (m * m) - 2.0 * xy,
        bandwidths: bandwidths.clone(),
        n_x: x.n(),
        n_y: y.n(),
    })
}

/// (2) as a function of |a − b|².
enum Kernel {
    /// One exponential for each width; the factors −1/(2σ²).
    Any(Vec<f64>),
    /// Each width is half of the next one, so each exponential is the fourth power of the next one.
    Doubling { widest: f64, count: usize },
}

impl Kernel {
    fn new(bandwidths: &Bandwidths) -> Self {
        let sigmas = &bandwidths.sigmas;
        let factor = |sigma: f64| -0.5 / (sigma * sigma);
        match sigmas.last() {
            Some(&widest) if sigmas.is_sorted_by(|narrow, wide| 2.0 * narrow == *wide) => {
                Self::Doubling { widest: factor(widest), count: sigmas.len() }
            }
            _ => Self::Any(sigmas.iter().map(|&sigma| factor(sigma)).collect()),
        }
    }

    fn at(&self, d2: f64) -> f64 {
        match self {
            Self::Any(factors) => factors.iter().map(|factor| (factor * d2).exp()).sum(),
            Self::Doubling { widest, count } => {
                let mut term = (widest * d2).exp();
                let mut sum = term;
                for _ in 1..*count {
                    term = (term * term) * (term * term);
                    sum += term;
                }
                sum
            }
        }
    }
}

/// Median of |a − b| over the pairs of different rows; the mean of the two middle ones for an even number.
fn median_distance(samples: Samples<'_>) -> f64 {
    let rows: Vec<Vec<f64>> = spaced_rows(samples).collect();
    let mut squared: Vec<f64> = Vec::with_capacity(rows.len() * (rows.len() - 1) / 2);
    for (i, a) in rows.iter().enumerate() {
        squared.extend(rows[i + 1..].iter().map(|b| squared_distance(a, b)));
    }
    let n_pairs = squared.len();
    let (below, &mut upper, _) = squared.select_nth_unstable_by(n_pairs / 2, f64::total_cmp);
    if n_pairs % 2 == 1 {
        return upper.sqrt();
    }
    let lower = below.iter().copied().fold(0.0, f64::max);
    0.5 * (lower.sqrt() + upper.sqrt())
}

/// All rows of a small set, evenly spaced rows of a large one.
fn spaced_rows(samples: Samples<'_>) -> impl Iterator<Item = Vec<f64>> {
    let (n, taken) = (samples.n(), samples.n().min(Bandwidths::MEDIAN_ROWS));
    (0..taken).map(move |i| samples.row(i * n / taken).iter().map(|&value| f64::from(value)).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn median_is_taken_over_all_pairs() {
        let samples = Samples::new(&[0.0, 1.0, 4.0], 1).unwrap();
        assert_eq!(median_distance(samples), 3.0); // of 1, 3, 4
        let samples = Samples::new(&[0.0, 1.0, 4.0, 10.0], 1).unwrap();
        assert_eq!(median_distance(samples), 5.0); // of 1, 3, 4, 6, 9, 10
    }

    #[test]
    fn fourth_powers_are_the_exponentials_of_doubling_widths() {
        let doubling = Bandwidths::new(vec![0.3, 0.6, 1.2, 2.4]).unwrap();
        let same = Bandwidths::new(vec![2.4, 0.3, 1.2, 0.6]).unwrap();
        assert!(matches!(Kernel::new(&doubling), Kernel::Doubling { count: 4, .. }));
        assert!(matches!(Kernel::new(&same), Kernel::Any(_)));
        for d2 in [0.0, 0.01, 1.0, 30.0, 1e5] {
            let (left, right) = (Kernel::new(&doubling).at(d2), Kernel::new(&same).at(d2));
            assert!((left - right).abs() < 1e-13, "{d2}: {left} and {right}");
        }
    }

    #[test]
    fn bad_bandwidths_are_refused() {
        assert_eq!(Bandwidths::new(vec![]).err(), Some(Error::NoBandwidths));
        assert_eq!(Bandwidths::new(vec![1.0, -1.0]).err(), Some(Error::Bandwidth { value: -1.0 }));
        let same = Samples::new(&[2.0; 4], 1).unwrap();
        assert_eq!(Bandwidths::median_heuristic(same).err(), Some(Error::Bandwidth { value: 0.0 }));
        let one = Samples::new(&[2.0], 1).unwrap();
        assert_eq!(Bandwidths::median_heuristic(one).err(), Some(Error::TooFewSamples { n: 1, needed: 2 }));
    }
}
