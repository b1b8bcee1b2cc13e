//! Energy distance between two sets of samples.
//!
//! E(P, Q) = 2 E|X − Y| − E|X − X′| − E|Y − Y′|        (1)
//!
//! Székely, Rizzo 2013, "Energy statistics: a class of statistics based on distances".
//! |·| is the Euclidean norm.
//! Convention: no factor 1/2 and no square root, so the unit is the unit of the samples.
//! - `value` is the V-statistic: the means over X, X′ keep the n zero pairs i = j. It is the energy distance
//!   of the two empirical measures, never negative and 0 for identical sets, but biased upward by
//!   (E|X − X′|)/n + (E|Y − Y′|)/m.
//! - `unbiased` is the U-statistic: means over i ≠ j. Its expectation is (1) and it may be negative.
//!
//! Others: `dcor.energy_distance` is `value`; `scipy.stats.energy_distance` (one dimension) is √`value`;
//! geomloss `SamplesLoss("energy")` is `value` / 2.
//! Cost: O((n + m)² dim), on all threads, same bits for any number of them.

use std::fmt;

use serde::Serialize;

use crate::pairwise::Points;
use crate::{Result, Samples};

/// Energy distance, by both of its usual estimators.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EnergyDistance {
    /// Name of the protocol, `energy`.
    pub protocol: &'static str,
    /// V-statistic, at least 0 up to rounding.
    pub value: f64,
    /// U-statistic, unbiased, may be negative.
    pub unbiased: f64,
    /// Number of samples in the first set.
    pub n_x: usize,
    /// Number of samples in the second set.
    pub n_y: usize,
}

impl EnergyDistance {
    /// The name printed with every such number.
    pub const PROTOCOL: &'static str = "energy";
}

impl fmt::Display for EnergyDistance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "2E|x-y| - E|x-x'| - E|y-y'| {:.3e} [{}: V-statistic, unbiased {:.3e}, n = {}, m = {}]",
            self.value, self.protocol, self.unbiased, self.n_x, self.n_y
        )
    }
}

/// Energy distance of `x`, shape `(n, dim)`, and `y`, shape `(m, dim)`.
///
/// ```
/// use flowmap_metrics::{Samples, energy_distance};
///
/// let x = Samples::new(&[0.0, 1.0], 1)?;
/// let y = Samples::new(&[0.0, 2.0], 1)?;
/// // 2 (0 + 2 + 1 + 1)/4 - (1 + 1)/4 - (2 + 2)/4
/// assert_eq!(energy_distance(x, y)?.value, 0.5);
/// # Ok::<(), flowmap_metrics::Error>(())
/// ```
///
/// # Errors
/// When the dimensions differ or a set has fewer than two samples.
pub fn energy_distance(x: Samples<'_>, y: Samples<'_>) -> Result<EnergyDistance> {
    x.same_dim(&y)?;
    x.at_least(2)?;
    y.at_least(2)?;
    let (n, m) = (x.n() as f64, y.n() as f64);
    let (points_x, points_y) = (Points::new(x), Points::new(y));
    let xy = points_x.sum_between(&points_y, f64::sqrt) / (n * m); // E|X − Y|
    let xx = 2.0 * points_x.sum_within(f64::sqrt); // Σ_{i,j} |x_i − x_j|
    let yy = 2.0 * points_y.sum_within(f64::sqrt);
    Ok(EnergyDistance {
        protocol: EnergyDistance::PROTOCOL,
        value: 2.0 * xy - xx / (n * n) - yy / (m * m), // (1)
        unbiased: 2.0 * xy - xx / (n * (n - 1.0)) - yy / (m * (m - 1.0)),
        n_x: x.n(),
        n_y: y.n(),
    })
}
