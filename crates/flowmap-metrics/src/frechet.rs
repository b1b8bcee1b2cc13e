//! Fréchet distance of two sets of features, each taken for a Gaussian.
//!
//! d² = |μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁^{1/2} Σ₂ Σ₁^{1/2})^{1/2}            (1)
//!
//! Dowson, Landau 1982, doi:10.1016/0047-259X(82)90077-X, (4); Heusel and others 2017, arXiv:1706.08500, (6).
//! Convention: d² itself, as FID is; covariances divided by n − 1; the root is that of a symmetric matrix, by two
//! eigendecompositions, with eigenvalues below 0 taken for 0.
//! The number depends on the features and on n: it is no FID, and it is compared at one n alone.
//! Cost: O(n dim²) for the moments, O(dim³) for (1).

use std::fmt;

use flowmap_core::symmetric_eigen;
use rayon::prelude::*;
use serde::Serialize;

use crate::{Error, Result, Samples};

/// Mean and covariance of features.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    n: usize,
    mean: Vec<f64>,
    /// `(dim, dim)` flat.
    covariance: Vec<f64>,
}

/// Rows whose products are summed by one thread.
const ROWS: usize = 1024;

impl Moments {
    /// The moments of the rows of `features`, shape `(n, dim)`.
    ///
    /// # Errors
    /// [`Error::TooFewSamples`] for fewer than two rows.
    pub fn of(features: Samples<'_>) -> Result<Self> {
        features.at_least(2)?;
        let (n, dim) = (features.n(), features.dim());
        let rows = features.to_f64();
        let mut mean = vec![0.0; dim];
        for row in rows.chunks_exact(dim) {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / n as f64);
        }
        // Sums of blocks of rows, added up in their order.
        let sums = rows.par_chunks(ROWS * dim).map(|block| {
            let mut sum = vec![0.0; dim * dim];
            for row in block.chunks_exact(dim) {
                let centered: Vec<f64> = row.iter().zip(&mean).map(|(value, mean)| value - mean).collect();
                for (sum, a) in sum.chunks_exact_mut(dim).zip(&centered) {
                    sum.iter_mut().zip(&centered).for_each(|(sum, b)| *sum += a * b);
                }
            }
            sum
        });
        let mut covariance = vec![0.0; dim * dim];
        for sum in sums.collect::<Vec<_>>() {
            covariance.iter_mut().zip(sum).for_each(|(total, sum)| *total += sum / (n - 1) as f64);
        }
        Ok(Self { n, mean, covariance })
    }

    fn dim(&self) -> usize {
        self.mean.len()
    }
}

/// Fréchet distance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Frechet {
    /// Name of the protocol, `frechet`.
    pub protocol: &'static str,
    /// d² of (1).
    pub distance: f64,
    /// Number of features on either side.
    pub n: (usize, usize),
    /// Dimension of a feature.
    pub dim: usize,
}

impl Frechet {
    /// The name printed with every such number.
    pub const PROTOCOL: &'static str = "frechet";
}

impl fmt::Display for Frechet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, m) = self.n;
        write!(f, "Fréchet {:.4} [{}: n = {n} and {m}, dim = {}]", self.distance, self.protocol, self.dim)
    }
}

/// Fréchet distance of two sets of features by their moments.
///
/// ```
/// use flowmap_metrics::{Moments, Samples, frechet};
///
/// let x = Moments::of(Samples::new(&[0.0, 1.0, 2.0], 1)?)?;
/// let y = Moments::of(Samples::new(&[3.0, 5.0, 7.0], 1)?)?;
/// // Means 1 and 5, standard deviations 1 and 2: 4² + (1 − 2)².
/// assert!((frechet(&x, &y)?.distance - 17.0).abs() < 1e-12);
/// # Ok::<(), flowmap_metrics::Error>(())
/// ```
///
/// # Errors
/// [`Error::DimMismatch`] for features of two dimensions.
pub fn frechet(x: &Moments, y: &Moments) -> Result<Frechet> {
    let dim = x.dim();
    if dim != y.dim() {
        return Err(Error::DimMismatch { left: dim, right: y.dim() });
    }
    let shift: f64 = x.mean.iter().zip(&y.mean).map(|(a, b)| (a - b).powi(2)).sum();
    let trace = |matrix: &[f64]| -> f64 { (0..dim).map(|i| matrix[i * dim + i]).sum() };
    let root = square_root(&x.covariance, dim);
    let inner = symmetric(&product(&product(&root, &y.covariance, dim), &root, dim), dim);
    let cross: f64 = symmetric_eigen(&inner, dim).values.iter().map(|value| value.max(0.0).sqrt()).sum();
    let distance = shift + trace(&x.covariance) + trace(&y.covariance) - 2.0 * cross; // (1)
    Ok(Frechet { protocol: Frechet::PROTOCOL, distance: distance.max(0.0), n: (x.n, y.n), dim })
}

/// The symmetric root of a symmetric, semidefinite matrix.
fn square_root(matrix: &[f64], dim: usize) -> Vec<f64> {
    let eigen = symmetric_eigen(matrix, dim);
    let mut root = vec![0.0; dim * dim];
    for (value, vector) in eigen.values.iter().zip(eigen.vectors.chunks_exact(dim)) {
        let value = value.max(0.0).sqrt();
        for (row, a) in root.chunks_exact_mut(dim).zip(vector) {
            row.iter_mut().zip(vector).for_each(|(entry, b)| *entry += value * a * b);
        }
    }
    root
}

fn product(a: &[f64], b: &[f64], dim: usize) -> Vec<f64> {
    let mut out = vec![0.0; dim * dim];
    for (out, a) in out.chunks_exact_mut(dim).zip(a.chunks_exact(dim)) {
        for (a, b) in a.iter().zip(b.chunks_exact(dim)) {
            out.iter_mut().zip(b).for_each(|(out, b)| *out += a * b);
        }
    }
    out
}

/// The mean of a matrix and its transpose, free of what rounding adds.
fn symmetric(matrix: &[f64], dim: usize) -> Vec<f64> {
    (0..dim * dim).map(|at| 0.5 * (matrix[at] + matrix[at % dim * dim + at / dim])).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flowmap_core::{NoiseStream, Stream};

    use super::*;

    /// Roots of eigenvalues that are zero up to rounding: √(n ε) of numbers of order 1.
    const TOLERANCE: f64 = 1e-6;

    fn features(n: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut x = vec![0.0; n * dim];
        NoiseStream::new(seed, Stream::Evaluation).at(0).fill_normal(&mut x);
        x.into_iter().map(|x| x as f32).collect()
    }

    fn moments(x: &[f32], dim: usize) -> Moments {
        Moments::of(Samples::new(x, dim).unwrap()).unwrap()
    }

    #[test]
    fn a_set_is_at_no_distance_from_itself_and_distance_is_symmetric() {
        let (x, y) = (moments(&features(300, 5, 1), 5), moments(&features(200, 5, 2), 5));
        assert!(frechet(&x, &x).unwrap().distance < TOLERANCE);
        let (xy, yx) = (frechet(&x, &y).unwrap().distance, frechet(&y, &x).unwrap().distance);
        assert!((xy - yx).abs() < TOLERANCE && xy > 0.0, "{xy} {yx}");
    }

    #[test]
    fn commuting_covariances_give_the_distance_of_their_deviations() {
        // y = mean + R diag(s) R^T x shares its axes with x only if x is isotropic; here both are scaled copies.
        let x = features(400, 3, 3);
        let y: Vec<f32> = x.iter().map(|x| 3.0 * x + 2.0).collect();
        let of_x = moments(&x, 3);
        let shift: f64 = of_x.mean.iter().map(|mean| (2.0 * mean + 2.0).powi(2)).sum();
        let spread: f64 = (0..3).map(|i| 4.0 * of_x.covariance[i * 4]).sum();
        let found = frechet(&of_x, &moments(&y, 3)).unwrap().distance;
        assert!((found - shift - spread).abs() < 1e-4, "{found}");
    }

    #[test]
    fn singular_covariances_are_no_trouble() {
        // The second coordinate is constant in both sets.
        let line = |scale: f32| (0..50).flat_map(|i| [scale * i as f32, 1.0]).collect::<Vec<_>>();
        let (x, y) = (moments(&line(1.0), 2), moments(&line(2.0), 2));
        let found = frechet(&x, &y).unwrap().distance;
        let expected = 24.5f64.powi(2) + x.covariance[0];
        assert!((found - expected).abs() < TOLERANCE * expected, "{found} {expected}");
        assert!(frechet(&x, &moments(&[0.0, 1.0], 1)).is_err());
    }
}
