//! Sliced 2-Wasserstein distance.
//!
//! SW₂(P, Q) = ( 1/L Σ_l W₂²(⟨θ_l, P⟩, ⟨θ_l, Q⟩) )^{1/2}        (1)
//! W₂²(P, Q) = ∫₀¹ (F_P⁻¹(u) − F_Q⁻¹(u))² du in one dimension       (2)
//!
//! Bonneel, Rabin, Peyré, Pfister 2015, "Sliced and Radon Wasserstein barycenters of measures".
//! Convention: as POT's `ot.sliced_wasserstein_distance` with p = 2: the root of the mean over
//! directions of the squared distances, not the mean of the roots. Directions are normalized Gaussian
//! vectors.
//! (2) is integrated exactly for sets of any two sizes: both quantile functions are steps.
//! For isotropic differences SW₂ ≈ W₂/√dim, so values of different dimensions do not compare.
//! Cost: O(L (n dim + n log n)), on all threads, same bits for any number of them.

use std::fmt;

use flowmap_core::{NoiseStream, Stream};
use rayon::prelude::*;
use serde::Serialize;

use crate::quantiles::transport;
use crate::{Error, Result, Samples};

/// How far from 1 the norm of a given direction may be: what rounding to f32 leaves, with room.
const UNIT_TOLERANCE: f64 = 1e-5;

/// Unit vectors to project on, shape `(L, dim)`.
#[derive(Debug, Clone)]
pub struct Directions {
    data: Vec<f64>,
    dim: usize,
}

impl Directions {
    /// Number of directions unless there is a reason for another.
    pub const DEFAULT_COUNT: usize = 128;

    /// `count` directions uniform on the sphere; direction l depends on `seed` and l alone.
    ///
    /// # Errors
    /// When `dim` or `count` is 0.
    pub fn uniform(dim: usize, count: usize, seed: u64) -> Result<Self> {
        if dim == 0 {
            return Err(Error::ZeroDim);
        }
        if count == 0 {
            return Err(Error::NoDirections);
        }
        let stream = NoiseStream::new(seed, Stream::Projections);
        let mut data = vec![0.0; dim * count];
        for (index, direction) in data.chunks_exact_mut(dim).enumerate() {
            let mut noise = stream.at(index as u64);
            let mut length = 0.0;
            while length == 0.0 {
                noise.fill_normal(direction);
                length = norm(direction);
            }
            direction.iter_mut().for_each(|value| *value /= length);
        }
        Ok(Self { data, dim })
    }

    /// Takes given unit vectors, row-major, shape `(L, dim)`.
    ///
    /// # Errors
    /// When `dim` is 0, there is no row, the length is not a multiple of `dim`, or a row's norm is not 1.
    pub fn from_rows(data: Vec<f64>, dim: usize) -> Result<Self> {
        if dim == 0 {
            return Err(Error::ZeroDim);
        }
        if data.is_empty() {
            return Err(Error::NoDirections);
        }
        if !data.len().is_multiple_of(dim) {
            return Err(Error::Length { len: data.len(), dim });
        }
        for (direction, row) in data.chunks_exact(dim).enumerate() {
            let norm = norm(row);
            if norm.is_nan() || (norm - 1.0).abs() > UNIT_TOLERANCE {
                return Err(Error::NotUnit { direction, norm });
            }
        }
        Ok(Self { data, dim })
    }

    /// Number of directions, L.
    pub fn count(&self) -> usize {
        self.data.len() / self.dim
    }

    /// Dimension of a direction.
    pub fn dim(&self) -> usize {
        self.dim
    }
}

/// Sliced 2-Wasserstein distance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SlicedWasserstein {
    /// Name of the protocol, `sliced-w2`.
    pub protocol: &'static str,
    /// SW₂, in the unit of the samples.
    pub distance: f64,
    /// Number of directions.
    pub n_projections: usize,
    /// Number of samples in the first set.
    pub n_x: usize,
    /// Number of samples in the second set.
    pub n_y: usize,
}

impl SlicedWasserstein {
    /// The name printed with every such number.
    pub const PROTOCOL: &'static str = "sliced-w2";
}

impl fmt::Display for SlicedWasserstein {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sliced W₂ {:.4} [{}: root of the mean of W₂² over {} directions, n = {}, m = {}]",
            self.distance, self.protocol, self.n_projections, self.n_x, self.n_y
        )
    }
}

/// Sliced 2-Wasserstein distance of `x`, shape `(n, dim)`, and `y`, shape `(m, dim)`, along `directions`.
///
/// ```
/// use flowmap_metrics::{Directions, Samples, sliced_wasserstein};
///
/// let x = Samples::new(&[0.0, 0.0, 1.0, 0.0], 2)?;
/// let y = Samples::new(&[3.0, 0.0], 2)?;
/// let axis = Directions::from_rows(vec![1.0, 0.0], 2)?;
/// assert_eq!(sliced_wasserstein(x, y, &axis)?.distance, 6.5_f64.sqrt()); // of (9 + 4)/2
/// let sphere = Directions::uniform(2, Directions::DEFAULT_COUNT, 0)?;
/// assert!(sliced_wasserstein(x, y, &sphere)?.distance < 6.5_f64.sqrt());
/// # Ok::<(), flowmap_metrics::Error>(())
/// ```
///
/// # Errors
/// When the dimensions of the sets or of the directions differ.
pub fn sliced_wasserstein(
    x: Samples<'_>,
    y: Samples<'_>,
    directions: &Directions,
) -> Result<SlicedWasserstein> {
    x.same_dim(&y)?;
    if x.dim() != directions.dim {
        return Err(Error::DimMismatch { left: x.dim(), right: directions.dim });
    }
    let squared: Vec<f64> = directions
        .data
        .par_chunks_exact(directions.dim)
        .map(|theta| transport(&sorted_projection(x, theta), &sorted_projection(y, theta), |gap| gap * gap))
        .collect();
    let mean = squared.iter().sum::<f64>() / squared.len() as f64;
    Ok(SlicedWasserstein {
        protocol: SlicedWasserstein::PROTOCOL,
        distance: mean.sqrt(), // (1)
        n_projections: directions.count(),
        n_x: x.n(),
        n_y: y.n(),
    })
}

/// ⟨θ, x_i⟩ in ascending order.
fn sorted_projection(samples: Samples<'_>, theta: &[f64]) -> Vec<f64> {
    let project = |row: &[f32]| row.iter().zip(theta).map(|(&x, t)| f64::from(x) * t).sum();
    let mut values: Vec<f64> = samples.rows().map(project).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_units_and_depend_on_the_seed_and_their_index_alone() {
        let few = Directions::uniform(5, 3, 7).unwrap();
        let many = Directions::uniform(5, 9, 7).unwrap();
        assert_eq!(few.data, many.data[..15]);
        assert_ne!(few.data, Directions::uniform(5, 3, 8).unwrap().data);
        assert!(Directions::from_rows(many.data, 5).is_ok());
    }

    #[test]
    fn bad_directions_are_refused() {
        let long = Directions::from_rows(vec![1.0, 0.0, 3.0, 4.0], 2).err();
        assert_eq!(long, Some(Error::NotUnit { direction: 1, norm: 5.0 }));
        assert_eq!(Directions::from_rows(vec![], 2).err(), Some(Error::NoDirections));
        assert_eq!(Directions::from_rows(vec![1.0; 3], 2).err(), Some(Error::Length { len: 3, dim: 2 }));
        assert!(Directions::from_rows(vec![f64::NAN, 0.0], 2).is_err());
        assert_eq!(Directions::uniform(2, 0, 0).err(), Some(Error::NoDirections));
        assert_eq!(Directions::uniform(0, 2, 0).err(), Some(Error::ZeroDim));
    }
}
