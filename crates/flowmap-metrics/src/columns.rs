//! Distances of samples of a table, column by column, and of the correlations between columns.
//!
//! W₁(P, Q) = ∫₀¹ |F_P⁻¹(u) − F_Q⁻¹(u)| du        (1)
//! KS(P, Q) = sup_x |F_P(x) − F_Q(x)|             (2)
//! C(P, Q) = max_{i<j} |ρ_ij(P) − ρ_ij(Q)|        (3)
//!
//! (1) is the earth mover's distance of a column, in the unit of the column (`scipy.stats.wasserstein_distance`), (2) the
//! statistic of Kolmogorov and Smirnov (`scipy.stats.ks_2samp`), and ρ Pearson's correlation (`numpy.corrcoef`).
//! Columns say nothing about dependence beyond (3): equal columns can belong to different laws.
//! Cost: O(dim n log n) for (1) and (2), O(dim² n) for (3).

use std::fmt;

use rayon::prelude::*;
use serde::Serialize;

use crate::quantiles::transport;
use crate::{Result, Samples};

/// How far a column of the samples is from the same column of the data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ColumnDistance {
    /// W₁ (1), in the unit of the column.
    pub w1: f64,
    /// W₁ over the standard deviation of the data; W₁ itself if the column of the data is constant.
    pub relative_w1: f64,
    /// The statistic of Kolmogorov and Smirnov (2), from 0 to 1.
    pub ks: f64,
    /// Standard deviation of the data, with n − 1.
    pub deviation: f64,
}

/// How far a table of samples is from a table of data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnDistances {
    /// Name of the protocol, `columns`.
    pub protocol: &'static str,
    /// Distances of each column, in their order.
    pub columns: Vec<ColumnDistance>,
    /// The largest W₁ of a column over the standard deviation of the data.
    pub largest_relative_w1: f64,
    /// The largest KS of a column.
    pub largest_ks: f64,
    /// The largest difference of a correlation (3), over the pairs of columns that vary in both sets; `None` if there is
    /// no such pair.
    pub correlation_error: Option<f64>,
    /// The pair of columns with the largest difference of correlations, counted from 0.
    pub correlation_columns: Option<[usize; 2]>,
    /// Number of samples.
    pub n_x: usize,
    /// Number of samples of the data.
    pub n_y: usize,
}

impl ColumnDistances {
    /// The name printed with every such number.
    pub const PROTOCOL: &'static str = "columns";
}

impl fmt::Display for ColumnDistances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "largest W₁/σ {:.4}, largest KS {:.4} [{}: {} columns, n = {}, m = {}]",
            self.largest_relative_w1,
            self.largest_ks,
            self.protocol,
            self.columns.len(),
            self.n_x,
            self.n_y
        )
    }
}

/// Distances of `x` `(n, dim)` from the data `y` `(m, dim)`, column by column.
///
/// ```
/// use flowmap_metrics::{Samples, column_distances};
///
/// let data = Samples::new(&[0.0, 0.0, 2.0, 200.0], 2)?;
/// let shifted = Samples::new(&[1.0, 0.0, 3.0, 200.0], 2)?;
/// let distances = column_distances(shifted, data)?;
/// assert_eq!((distances.columns[0].w1, distances.columns[1].w1), (1.0, 0.0));
/// assert_eq!(distances.columns[0].ks, 0.5);
/// assert!(distances.correlation_error.unwrap() < 1e-12);
/// # Ok::<(), flowmap_metrics::Error>(())
/// ```
///
/// # Errors
/// If the dimensions differ or a set has fewer than two samples.
pub fn column_distances(x: Samples<'_>, y: Samples<'_>) -> Result<ColumnDistances> {
    x.same_dim(&y)?;
    x.at_least(2)?;
    y.at_least(2)?;
    let columns: Vec<ColumnDistance> = (0..x.dim()).into_par_iter().map(|j| distance(x, y, j)).collect();
    let largest = |of: fn(&ColumnDistance) -> f64| columns.iter().map(of).fold(0.0, f64::max);
    let worst = largest_difference(x, y);
    Ok(ColumnDistances {
        protocol: ColumnDistances::PROTOCOL,
        largest_relative_w1: largest(|column| column.relative_w1),
        largest_ks: largest(|column| column.ks),
        correlation_error: worst.map(|(error, _)| error),
        correlation_columns: worst.map(|(_, pair)| pair),
        columns,
        n_x: x.n(),
        n_y: y.n(),
    })
}

fn distance(x: Samples<'_>, y: Samples<'_>, j: usize) -> ColumnDistance {
    let deviation = standard(y, j).1;
    let (x, y) = (sorted(x, j), sorted(y, j));
    let w1 = transport(&x, &y, f64::abs); // (1)
    let relative_w1 = if deviation > 0.0 { w1 / deviation } else { w1 };
    ColumnDistance { w1, relative_w1, ks: kolmogorov_smirnov(&x, &y), deviation }
}

fn sorted(samples: Samples<'_>, j: usize) -> Vec<f64> {
    let mut values: Vec<f64> = samples.rows().map(|row| f64::from(row[j])).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// (2) for two sorted sets; equal values are passed together.
fn kolmogorov_smirnov(x: &[f64], y: &[f64]) -> f64 {
    let (mut i, mut j, mut largest) = (0, 0, 0.0f64);
    while i < x.len() && j < y.len() {
        let value = x[i].min(y[j]);
        i += x[i..].iter().take_while(|x| **x == value).count();
        j += y[j..].iter().take_while(|y| **y == value).count();
        let gap = i as f64 / x.len() as f64 - j as f64 / y.len() as f64;
        largest = largest.max(gap.abs());
    }
    largest
}

/// Mean and standard deviation (n − 1) of a column.
fn standard(samples: Samples<'_>, j: usize) -> (f64, f64) {
    let n = samples.n() as f64;
    let mean = samples.rows().map(|row| f64::from(row[j])).sum::<f64>() / n;
    let square = |row: &[f32]| (f64::from(row[j]) - mean).powi(2);
    (mean, (samples.rows().map(square).sum::<f64>() / (n - 1.0)).sqrt())
}

/// (3), with the pair of columns.
fn largest_difference(x: Samples<'_>, y: Samples<'_>) -> Option<(f64, [usize; 2])> {
    let (x, y) = (Standardized::of(x), Standardized::of(y));
    let varies = |j: usize| x.deviations[j] > 0.0 && y.deviations[j] > 0.0;
    let row = |i: usize| {
        let others = (i + 1..x.deviations.len()).filter(|&j| varies(i) && varies(j));
        others.map(|j| ((x.correlation(i, j) - y.correlation(i, j)).abs(), [i, j])).max_by(larger)
    };
    (0..x.deviations.len()).into_par_iter().filter_map(row).max_by(larger)
}

fn larger(a: &(f64, [usize; 2]), b: &(f64, [usize; 2])) -> std::cmp::Ordering {
    // Of equal ones the first pair, whatever the threads do.
    a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))
}

/// Columns with mean 0 and standard deviation 1, or 0 if they are constant.
struct Standardized {
    columns: Vec<Vec<f64>>,
    deviations: Vec<f64>,
}

impl Standardized {
    fn of(samples: Samples<'_>) -> Self {
        let column = |j: usize| {
            let (mean, deviation) = standard(samples, j);
            let scale = if deviation > 0.0 { deviation.recip() } else { 0.0 };
            (samples.rows().map(|row| (f64::from(row[j]) - mean) * scale).collect(), deviation)
        };
        let (columns, deviations) = (0..samples.dim()).into_par_iter().map(column).unzip();
        Self { columns, deviations }
    }

    /// ρ_ij
    fn correlation(&self, i: usize, j: usize) -> f64 {
        let (x, y) = (&self.columns[i], &self.columns[j]);
        x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / (x.len() as f64 - 1.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn statistic_of_kolmogorov_and_smirnov_passes_equal_values_together() {
        assert_eq!(kolmogorov_smirnov(&[1.0, 1.0, 2.0], &[1.0, 1.0, 2.0]), 0.0);
        assert_eq!(kolmogorov_smirnov(&[1.0, 1.0], &[1.0, 2.0]), 0.5);
        assert_eq!(kolmogorov_smirnov(&[0.0], &[1.0, 2.0]), 1.0);
    }

    #[test]
    fn correlations_differ_by_two_at_most_and_constant_columns_have_none() {
        let up = Samples::new(&[0.0, 0.0, 5.0, 1.0, 1.0, 5.0, 2.0, 2.0, 5.0], 3).unwrap();
        let down = Samples::new(&[0.0, 2.0, 5.0, 1.0, 1.0, 5.0, 2.0, 0.0, 5.0], 3).unwrap();
        let distances = column_distances(down, up).unwrap();
        assert!((distances.correlation_error.unwrap() - 2.0).abs() < 1e-12);
        assert_eq!(distances.correlation_columns, Some([0, 1]));
        let single = Samples::new(&[0.0, 1.0], 1).unwrap();
        assert_eq!(column_distances(single, single).unwrap().correlation_error, None);
    }

    #[test]
    fn constant_column_is_compared_in_its_own_unit() {
        let (x, y) = (Samples::new(&[3.5, 3.5], 1).unwrap(), Samples::new(&[3.0, 3.0], 1).unwrap());
        let column = column_distances(x, y).unwrap().columns[0];
        assert_eq!((column.w1, column.relative_w1, column.deviation), (0.5, 0.5, 0.0));
    }
}
