//! Mean squared error between paired samples, with its standard error.
//!
//! e = 1/n Σ_i |a_i − b_i|²,  se = √( 1/(n(n−1)) Σ_i (|a_i − b_i|² − e)² )
//!
//! Convention: |·|² is the sum over the dimensions, the mean is over the samples, as in every loss of
//! Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825.
//! The same number measures the error of a map against the exact one, E|X̂ − X|²; the semigroup law,
//! E|X_{u,t}(X_{s,u}(x)) − X_{s,t}(x)|²; invertibility, E|X_{t,s}(X_{s,t}(x)) − x|²; and the Lagrangian law,
//! E|∂_t X_{s,t}(x) − b_t(X_{s,t}(x))|²: give the two sides as `a` and `b`.
//! Cost: O(n dim).

use std::fmt;

use serde::Serialize;

use crate::{Result, Samples};

/// Mean over samples of the squared distance of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SquaredError {
    /// Name of the protocol, `squared-error`.
    pub protocol: &'static str,
    /// Mean of |a_i − b_i|², summed over dimensions.
    pub mean: f64,
    /// Standard error of that mean, from the spread over the samples.
    pub std_error: f64,
    /// Number of pairs.
    pub n: usize,
}

impl SquaredError {
    /// The name printed with every such number.
    pub const PROTOCOL: &'static str = "squared-error";
}

impl fmt::Display for SquaredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E|a - b|² {:.4e} ± {:.1e} [{}: n = {}]", self.mean, self.std_error, self.protocol, self.n)
    }
}

/// Mean squared distance of the pairs (a_i, b_i), shapes `(n, dim)` both.
///
/// ```
/// use flowmap_metrics::{Samples, mean_squared_error};
///
/// let a = Samples::new(&[0.0, 0.0, 1.0, 1.0], 2)?;
/// let b = Samples::new(&[3.0, 4.0, 1.0, 1.0], 2)?;
/// let error = mean_squared_error(a, b)?;
/// assert_eq!((error.mean, error.std_error), (12.5, 12.5));
/// # Ok::<(), flowmap_metrics::Error>(())
/// ```
///
/// # Errors
/// When the shapes differ or there are fewer than two pairs.
pub fn mean_squared_error(a: Samples<'_>, b: Samples<'_>) -> Result<SquaredError> {
    a.same_shape(&b)?;
    a.at_least(2)?;
    let squared: Vec<f64> = a.rows().zip(b.rows()).map(|(a, b)| squared_distance_f32(a, b)).collect();
    let n = squared.len() as f64;
    let mean = squared.iter().sum::<f64>() / n;
    let spread: f64 = squared.iter().map(|e| (e - mean) * (e - mean)).sum();
    Ok(SquaredError {
        protocol: SquaredError::PROTOCOL,
        mean,
        std_error: (spread / (n * (n - 1.0))).sqrt(),
        n: squared.len(),
    })
}

/// |a − b|², each difference taken in f64.
fn squared_distance_f32(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn equal_errors_have_no_standard_error() {
        let a = Samples::new(&[0.0, 1.0, 2.0], 1).unwrap();
        let b = Samples::new(&[0.5, 1.5, 2.5], 1).unwrap();
        let error = mean_squared_error(a, b).unwrap();
        assert_eq!((error.mean, error.std_error, error.n), (0.25, 0.0, 3));
        assert_eq!(error.to_string(), "E|a - b|² 2.5000e-1 ± 0.0e0 [squared-error: n = 3]");
    }

    #[test]
    fn unequal_shapes_and_single_pairs_are_refused() {
        let one = Samples::new(&[0.0], 1).unwrap();
        let two = Samples::new(&[0.0, 0.0], 1).unwrap();
        let plane = Samples::new(&[0.0, 0.0], 2).unwrap();
        assert_eq!(mean_squared_error(one, two).err(), Some(Error::CountMismatch { left: 1, right: 2 }));
        assert_eq!(mean_squared_error(one, plane).err(), Some(Error::DimMismatch { left: 1, right: 2 }));
        assert_eq!(mean_squared_error(one, one).err(), Some(Error::TooFewSamples { n: 1, needed: 2 }));
    }
}
