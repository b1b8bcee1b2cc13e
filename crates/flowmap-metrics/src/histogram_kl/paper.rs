//! Histogram KL, protocol `paper`: 50 × 50 bins on [-1, 1]², the density at bin centers.
//!
//! KL = Σ_{p_k > 0} p_k log( p_k / (q_k + 1e-10) ) A,  q_k = c_k / (n_in A)        (1)
//!
//! p_k is the density at the center of bin k, c_k the count, n_in the number of samples inside, A the area of
//! a bin.
//! Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825, appendix G; the details that the paper leaves open
//! (the 1e-10, samples outside dropped and the rest renormalized) are those of its public notebooks.
//! The paper uses n = 64 000 samples; n is the caller's choice here and is reported.
//!
//! Trap: 50 bins do not divide into the 4 × 4 cells of the checkerboard, so the borders at ±1/2 run through
//! the bins 12 and 37 of each axis, whose centers count as wholly white or wholly black.
//! Exact samples therefore do not score 0: the floor is 0.0662 at n = 64 000
//! (one draw spreads by 0.0011) and 0.0555 for n → ∞.
//! A second trap: a model that throws samples outside the square is not punished for them; read `n_outside`.
//!
//! Floor: E (1) over exact samples, from the law of each count alone, C_k ~ Binomial(n, m_k) with m_k the
//! exact mass.
//! Cost: O(n) and, for the floor, O(√n) for each different mass.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::binomial::binomial_expectation;
use super::{Checkerboard, SquareGrid};
use crate::{Error, Result, Samples};

/// Added to the density of the histogram.
const EPSILON: f64 = 1e-10;

/// How far from 1 the masses of a target inside the square may add up.
const MASS_TOLERANCE: f64 = 1e-9;

/// Knowledge of the target density that the protocol needs.
#[derive(Debug, Clone)]
pub struct PaperTarget {
    density: Vec<f64>,
    masses: Option<Vec<f64>>,
}

impl PaperTarget {
    /// The 4 × 4 checkerboard, with its exact bin masses.
    pub fn checkerboard() -> Self {
        let board = Checkerboard::PAPER;
        let density = centers().map(|(x, y)| board.density(x, y)).collect();
        Self { density, masses: Some(board.bin_masses(SquareGrid::PAPER)) }
    }

    /// Evaluates `density` at the bin centers; without bin masses no floor is reported.
    ///
    /// # Errors
    /// When a value is negative, NaN or infinite.
    pub fn from_density(density: impl Fn(f64, f64) -> f64) -> Result<Self> {
        let mut values = Vec::with_capacity(SquareGrid::PAPER.n_bins());
        for (x, y) in centers() {
            let value = density(x, y);
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::Density { x, y, value });
            }
            values.push(value);
        }
        Ok(Self { density: values, masses: None })
    }

    /// Adds the exact masses of the bins of [`SquareGrid::PAPER`], row-major, so that a floor can be
    /// reported.
    ///
    /// # Errors
    /// When their number is not 2500, one is outside [0, 1], or they do not add up to 1.
    pub fn with_bin_masses(self, masses: Vec<f64>) -> Result<Self> {
        if masses.len() != SquareGrid::PAPER.n_bins() {
            return Err(Error::MassCount { expected: SquareGrid::PAPER.n_bins(), got: masses.len() });
        }
        if let Some(bin) = masses.iter().position(|mass| !(0.0..=1.0).contains(mass)) {
            return Err(Error::Mass { bin, value: masses[bin] });
        }
        let sum: f64 = masses.iter().sum();
        if (sum - 1.0).abs() > MASS_TOLERANCE {
            return Err(Error::MassSum { expected: "1", sum });
        }
        Ok(Self { masses: Some(masses), ..self })
    }

    /// Expectation of (1) for `n` exact samples, `None` without bin masses.
    pub fn floor(&self, n: usize) -> Option<f64> {
        let masses = self.masses.as_ref()?;
        let area = SquareGrid::PAPER.bin_area();
        let per_count = 1.0 / (n.max(1) as f64 * area);
        let mut known = BTreeMap::new(); // bits of a mass → E log(q_k + ε)
        let mut floor = 0.0;
        for (&p, &mass) in self.density.iter().zip(masses).filter(|(p, _)| **p > 0.0) {
            let log_q = *known.entry(mass.to_bits()).or_insert_with(|| {
                binomial_expectation(n as u64, mass, |count| (count * per_count + EPSILON).ln())
            });
            floor += p * (p.ln() - log_q) * area;
        }
        Some(floor)
    }
}

/// Histogram KL by the protocol `paper`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PaperKl {
    /// Name of the protocol, `paper`.
    pub protocol: &'static str,
    /// KL(data‖model) in nats.
    pub kl: f64,
    /// What exact samples of the same size score on average, where the target has bin masses.
    pub floor: Option<f64>,
    /// Number of samples.
    pub n: usize,
    /// Samples outside of the square, which the protocol drops.
    pub n_outside: usize,
    /// Bins along one axis.
    pub bins: usize,
}

impl PaperKl {
    /// The name printed with every such number.
    pub const PROTOCOL: &'static str = "paper";
}

impl fmt::Display for PaperKl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KL(data‖model) {:.3} [{}: ", self.kl, self.protocol)?;
        write!(f, "{0}×{0} bins, n = {1}, outside {2}", self.bins, self.n, self.n_outside)?;
        match self.floor {
            Some(floor) => write!(f, ", floor {floor:.3}]"),
            None => write!(f, "]"),
        }
    }
}

/// KL between `target` and the histogram of `samples`, shape `(n, 2)`.
///
/// ```
/// use flowmap_metrics::{PaperTarget, Samples, paper_kl};
///
/// let samples = Samples::new(&[-0.9, -0.9, 0.1, 0.1, 5.0, 0.0], 2)?;
/// let kl = paper_kl(samples, &PaperTarget::checkerboard())?;
/// assert_eq!((kl.n, kl.n_outside), (3, 1));
/// # Ok::<(), flowmap_metrics::Error>(())
/// ```
///
/// # Errors
/// When the samples are not of dimension 2 or all of them lie outside of the square.
pub fn paper_kl(samples: Samples<'_>, target: &PaperTarget) -> Result<PaperKl> {
    let grid = SquareGrid::PAPER;
    let counts = grid.counts(samples)?;
    let n = samples.n();
    let n_outside = counts.outside as usize;
    let n_in = n - n_outside;
    if n_in == 0 {
        return Err(Error::NoSampleInside { n, lo: grid.lo(), hi: grid.hi() });
    }
    let area = grid.bin_area();
    let density_of = |count: u64| count as f64 / (n_in as f64 * area); // q_k
    let kl = target
        .density
        .iter()
        .zip(&counts.in_bins)
        .filter(|(p, _)| **p > 0.0)
        .map(|(p, count)| p * (p / (density_of(*count) + EPSILON)).ln() * area) // (1)
        .sum();
    Ok(PaperKl { protocol: PaperKl::PROTOCOL, kl, floor: target.floor(n), n, n_outside, bins: grid.bins() })
}

fn centers() -> impl Iterator<Item = (f64, f64)> {
    let grid = SquareGrid::PAPER;
    (0..grid.n_bins()).map(move |bin| (grid.center(bin / grid.bins()), grid.center(bin % grid.bins())))
}
