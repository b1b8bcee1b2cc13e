//! Covariance of a Gaussian in three forms, from one number to a full matrix.

use serde::{Deserialize, Serialize};

use super::checked_finite;
use crate::eigen::{Eigen, symmetric_eigen};
use crate::{Error, Result};

/// Relative to the largest entry or eigenvalue: what rounding may add to a symmetric, semidefinite matrix.
const ROUNDING: f64 = 1e-12;

/// The covariance of a Gaussian.
///
/// In a file: `{ isotropic = 0.5 }`, `{ diagonal = [0.5, 2.0] }` (standard deviations)
/// or `{ full = [[1.0, 0.3], [0.3, 2.0]] }` (the matrix).
///
/// ```
/// use flowmap_core::exact::Covariance;
/// let tilted = Covariance::Full(vec![vec![1.0, 0.3], vec![0.3, 2.0]]);
/// assert!(tilted.validate(2).is_ok());
/// assert!(tilted.validate(3).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Covariance {
    /// One standard deviation for all coordinates.
    Isotropic(f64),
    /// A standard deviation for each coordinate.
    Diagonal(Vec<f64>),
    /// The symmetric, positive semidefinite matrix, row by row.
    Full(Vec<Vec<f64>>),
}

/// Variances along orthogonal axes: the eigenvalues and, unless the axes are the coordinates', the vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Axes {
    /// λ_i ≥ 0, `(dim,)`.
    pub variances: Vec<f64>,
    /// Directions as rows, `(dim, dim)` flat.
    pub directions: Option<Vec<f64>>,
}

impl Covariance {
    /// Checks that this is a covariance in that many dimensions.
    ///
    /// # Errors
    /// [`Error::Dimension`] for another number of rows or columns, [`Error::Parameter`] for a standard
    /// deviation that is negative or not finite, [`Error::NotSymmetric`], [`Error::NotSemidefinite`].
    pub fn validate(&self, dim: usize) -> Result<()> {
        self.axes(dim).map(|_| ())
    }

    /// The decomposition into independent directions, in that many dimensions.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn axes(&self, dim: usize) -> Result<Axes> {
        match self {
            Self::Isotropic(std) => Ok(Axes { variances: vec![variance(*std)?; dim], directions: None }),
            Self::Diagonal(stds) => {
                super::checked_dim(dim, stds)?;
                let variances = stds.iter().map(|std| variance(*std)).collect::<Result<_>>()?;
                Ok(Axes { variances, directions: None })
            }
            Self::Full(rows) => full_axes(rows, dim),
        }
    }
}

fn variance(std: f64) -> Result<f64> {
    if std.is_finite() && std >= 0.0 {
        return Ok(std * std);
    }
    Err(Error::Parameter { name: "standard deviation", expected: "finite and not negative", found: std })
}

fn full_axes(rows: &[Vec<f64>], dim: usize) -> Result<Axes> {
    if rows.len() != dim {
        return Err(Error::Dimension { expected: dim, found: rows.len() });
    }
    let mut largest = 0.0f64;
    for row in rows {
        super::checked_dim(dim, row)?;
        for entry in row {
            largest = largest.max(checked_finite("entry of the covariance", *entry)?.abs());
        }
    }
    let mut matrix = Vec::with_capacity(dim * dim);
    for (row, entries) in rows.iter().enumerate() {
        for (column, &upper) in entries.iter().enumerate() {
            let lower = rows[column][row];
            if (upper - lower).abs() > ROUNDING * largest {
                return Err(Error::NotSymmetric { row, column, upper, lower });
            }
            matrix.push(0.5 * (upper + lower));
        }
    }
    let Eigen { mut values, vectors } = symmetric_eigen(&matrix, dim);
    for eigenvalue in &mut values {
        if *eigenvalue < -ROUNDING * largest {
            return Err(Error::NotSemidefinite { eigenvalue: *eigenvalue });
        }
        *eigenvalue = eigenvalue.max(0.0);
    }
    Ok(Axes { variances: values, directions: Some(vectors) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_the_same_covariance_agree() {
        let one = Covariance::Isotropic(0.5).axes(2).unwrap();
        assert_eq!(one, Covariance::Diagonal(vec![0.5, 0.5]).axes(2).unwrap());
        let full = Covariance::Full(vec![vec![0.25, 0.0], vec![0.0, 0.25]]).axes(2).unwrap();
        assert_eq!(full.variances, one.variances);
    }

    #[test]
    fn what_is_no_covariance_is_refused() {
        let full = |rows: [[f64; 2]; 2]| Covariance::Full(rows.iter().map(|r| r.to_vec()).collect());
        assert!(matches!(full([[1.0, 0.2], [0.3, 1.0]]).validate(2), Err(Error::NotSymmetric { .. })));
        assert!(matches!(full([[1.0, 2.0], [2.0, 1.0]]).validate(2), Err(Error::NotSemidefinite { .. })));
        assert!(matches!(full([[f64::NAN, 0.0], [0.0, 1.0]]).validate(2), Err(Error::Parameter { .. })));
        assert!(matches!(
            Covariance::Full(vec![vec![1.0], vec![]]).validate(2),
            Err(Error::Dimension { .. })
        ));
        assert!(matches!(Covariance::Diagonal(vec![1.0]).validate(2), Err(Error::Dimension { .. })));
        assert!(Covariance::Isotropic(-1.0).validate(2).is_err());
        assert!(full([[1.0, 1.0], [1.0, 1.0]]).validate(2).is_ok());
        assert!(Covariance::Isotropic(0.0).validate(2).is_ok());
    }

    #[test]
    fn covariance_is_a_small_table_in_a_file() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Config {
            covariance: Covariance,
        }
        for (text, covariance) in [
            ("covariance = { isotropic = 0.5 }", Covariance::Isotropic(0.5)),
            ("covariance = { diagonal = [0.5, 2.0] }", Covariance::Diagonal(vec![0.5, 2.0])),
            ("covariance = { full = [[1.0]] }", Covariance::Full(vec![vec![1.0]])),
        ] {
            assert_eq!(toml::from_str::<Config>(text).unwrap(), Config { covariance });
        }
    }
}
