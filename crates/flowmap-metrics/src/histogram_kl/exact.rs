//! Histogram KL, protocol `exact`: known bin masses, one overflow bin, a pseudo-count of 1.
//!
//! q_k = (c_k + a) / (n + a K),  a = 1,  K = bins² + 1                                (1)
//! KL(p‖q)  = Σ_{p_k > 0} p_k log( p_k / q_k )                                         (2)
//! KL(q‖p̃) = Σ_k q_k log( q_k / p̃_k ),  p̃_k = (n p_k + a) / (n + a K)                 (3)
//!
//! p_k is the exact mass of bin k, c_k the count, and k runs over the bins and the overflow bin, the outside
//! of the square, of mass 1 − Σ p_k. Own protocol; derived here. Default grid 64 × 64 on [-1, 1]², whose bins
//! divide the cells of the checkerboard.
//! Convention: a is added to the count of every one of the K bins, those without mass and the overflow
//! included.
//! In (3) the target is smoothed with the same pseudo-count, since one sample where p = 0 would otherwise
//! give ∞; a sample off the support then costs log(1 + count) there and shows in `mass_off_support` too.
//!
//! Floors: the expectations of (2) and (3) for n exact samples. Both are sums over bins of a function of that
//! bin's count, and C_k ~ Binomial(n, p_k), so they are computed without a single random draw.
//! For 2048 equal bins with mass, floor(2) ≈ log(1 + K/n) − 2048/(2n): the pseudo-counts lost to empty bins
//! minus what they save. Checkerboard: 0.030 at n = 100 000, 0.0031 at 10⁶.
//! Cost: O(n + bins²) and, for the floors, O(√n) for each different mass.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::binomial::binomial_expectation;
use super::{Checkerboard, SquareGrid};
use crate::{Error, Result, Samples};

/// The pseudo-count a of each bin.
const PSEUDO_COUNT: f64 = 1.0;

/// Rounding allowed in a sum of masses; an overflow mass below it counts as none.
const MASS_TOLERANCE: f64 = 1e-9;

/// The exact probability of every bin of a grid and of its outside.
///
/// ```
/// use flowmap_metrics::{CellMasses, SquareGrid};
///
/// let grid = SquareGrid::new(2, -1.0, 1.0)?;
/// let target = CellMasses::new(grid, vec![0.25, 0.25, 0.25, 0.05])?;
/// assert!((target.outside() - 0.2).abs() < 1e-12);
/// # Ok::<(), flowmap_metrics::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CellMasses {
    grid: SquareGrid,
    masses: Vec<f64>,
    outside: f64,
}

impl CellMasses {
    /// Takes the masses of the bins of `grid`, row-major; the rest of 1 is the mass outside.
    ///
    /// # Errors
    /// When their number is not that of the bins, one is outside [0, 1], or they add up to more than 1.
    pub fn new(grid: SquareGrid, masses: Vec<f64>) -> Result<Self> {
        if masses.len() != grid.n_bins() {
            return Err(Error::MassCount { expected: grid.n_bins(), got: masses.len() });
        }
        if let Some(bin) = masses.iter().position(|mass| !(0.0..=1.0).contains(mass)) {
            return Err(Error::Mass { bin, value: masses[bin] });
        }
        let sum: f64 = masses.iter().sum();
        if sum > 1.0 + MASS_TOLERANCE {
            return Err(Error::MassSum { expected: "at most 1", sum });
        }
        let outside = if 1.0 - sum > MASS_TOLERANCE { 1.0 - sum } else { 0.0 };
        Ok(Self { grid, masses, outside })
    }

    /// The 4 × 4 checkerboard on 64 × 64 bins.
    pub fn checkerboard() -> Self {
        let masses = Checkerboard::PAPER.bin_masses(SquareGrid::EXACT);
        Self { grid: SquareGrid::EXACT, masses, outside: 0.0 }
    }

    /// The grid of the bins.
    pub fn grid(&self) -> SquareGrid {
        self.grid
    }

    /// The mass outside of the square.
    pub fn outside(&self) -> f64 {
        self.outside
    }

    /// Expectation of KL(data‖model), (2), for `n` exact samples.
    pub fn floor(&self, n: usize) -> f64 {
        let smooth = Smoothing::new(n, &self.grid);
        self.sum_over_masses(|p| {
            p * (p.ln() - binomial_expectation(n as u64, p, |count| smooth.probability(count).ln()))
        })
    }

    /// Expectation of KL(model‖data), (3), for `n` exact samples.
    pub fn reverse_floor(&self, n: usize) -> f64 {
        let smooth = Smoothing::new(n, &self.grid);
        self.sum_over_masses(|p| {
            let p_smooth = smooth.probability(n as f64 * p);
            binomial_expectation(n as u64, p, |count| {
                let q = smooth.probability(count);
                q * (q / p_smooth).ln()
            })
        })
    }

    /// All bins and the overflow bin.
    fn all(&self) -> impl Iterator<Item = f64> {
        self.masses.iter().copied().chain([self.outside])
    }

    /// Σ f(p_k) over the bins with mass, evaluating f once for each different mass; bins without mass add
    /// nothing.
    fn sum_over_masses(&self, f: impl Fn(f64) -> f64) -> f64 {
        let mut multiplicity = BTreeMap::new();
        for p in self.all().filter(|p| *p > 0.0) {
            *multiplicity.entry(p.to_bits()).or_insert(0.0) += 1.0;
        }
        multiplicity.iter().map(|(&bits, times)| times * f(f64::from_bits(bits))).sum()
    }
}

/// The map from a count to a probability, (1).
struct Smoothing {
    total: f64,
}

impl Smoothing {
    fn new(n: usize, grid: &SquareGrid) -> Self {
        Self { total: n as f64 + PSEUDO_COUNT * (grid.n_bins() + 1) as f64 }
    }

    fn probability(&self, count: f64) -> f64 {
        (count + PSEUDO_COUNT) / self.total
    }
}

/// Histogram KL by the protocol `exact`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ExactKl {
    /// Name of the protocol, `exact`.
    pub protocol: &'static str,
    /// KL(data‖model) in nats, (2).
    pub kl: f64,
    /// Mean `kl` of exact samples of the same size.
    pub floor: f64,
    /// KL(model‖data) in nats, (3), against the target smoothed alike.
    pub reverse_kl: f64,
    /// Mean `reverse_kl` of exact samples of the same size.
    pub reverse_floor: f64,
    /// Share of the samples in bins where the target has no mass, the overflow bin included.
    pub mass_off_support: f64,
    /// Number of samples.
    pub n: usize,
    /// Bins along one axis.
    pub bins: usize,
}

impl ExactKl {
    /// The name printed with every such number.
    pub const PROTOCOL: &'static str = "exact";
}

impl fmt::Display for ExactKl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KL(data‖model) {:.3} [{}: ", self.kl, self.protocol)?;
        write!(f, "{0}×{0} bins, n = {1}, floor {2:.3}]", self.bins, self.n, self.floor)?;
        write!(f, ", KL(model‖data) {:.3} [floor {:.3}]", self.reverse_kl, self.reverse_floor)?;
        write!(f, ", off support {:.2}%", 100.0 * self.mass_off_support)
    }
}

/// KL in both directions between `target` and the histogram of `samples`, shape `(n, 2)`.
///
/// ```
/// use flowmap_metrics::{CellMasses, Samples, exact_kl};
///
/// let samples = Samples::new(&[-0.9, -0.9, 0.1, 0.1, 5.0, 0.0, -0.9, 0.0], 2)?;
/// let kl = exact_kl(samples, &CellMasses::checkerboard())?;
/// assert_eq!(kl.mass_off_support, 0.25);
/// # Ok::<(), flowmap_metrics::Error>(())
/// ```
///
/// # Errors
/// When the samples are not of dimension 2.
pub fn exact_kl(samples: Samples<'_>, target: &CellMasses) -> Result<ExactKl> {
    let counts = target.grid.counts(samples)?;
    let n = samples.n();
    let smooth = Smoothing::new(n, &target.grid);
    let (mut kl, mut reverse_kl, mut off_support) = (0.0, 0.0, 0);
    for (p, count) in target.all().zip(counts.in_bins.iter().copied().chain([counts.outside])) {
        let q = smooth.probability(count as f64); // (1)
        let p_smooth = smooth.probability(n as f64 * p);
        reverse_kl += q * (q / p_smooth).ln(); // (3)
        if p > 0.0 {
            kl += p * (p / q).ln(); // (2)
        } else {
            off_support += count;
        }
    }
    Ok(ExactKl {
        protocol: ExactKl::PROTOCOL,
        kl,
        floor: target.floor(n),
        reverse_kl,
        reverse_floor: target.reverse_floor(n),
        mass_off_support: off_support as f64 / n as f64,
        n,
        bins: target.grid.bins(),
    })
}
