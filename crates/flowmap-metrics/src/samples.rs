//! Samples as every metric takes them: borrowed rows of finite numbers.

use crate::{Error, Result};

/// `n` samples of dimension `dim`, row-major, shape `(n, dim)`, all finite.
///
/// ```
/// use flowmap_metrics::Samples;
///
/// let x = Samples::new(&[0.0, 1.0, 2.0, 3.0], 2)?;
/// assert_eq!((x.n(), x.dim()), (2, 2));
/// assert_eq!(x.row(1), &[2.0, 3.0]);
/// assert!(Samples::new(&[0.0, f32::NAN], 2).is_err());
/// # Ok::<(), flowmap_metrics::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    data: &'a [f32],
    dim: usize,
}

impl<'a> Samples<'a> {
    /// Borrows `data` as rows of `dim` numbers.
    ///
    /// # Errors
    /// When `dim` is 0, `data` is empty, its length is not a multiple of `dim`, or a value is NaN or infinite.
    pub fn new(data: &'a [f32], dim: usize) -> Result<Self> {
        if dim == 0 {
            return Err(Error::ZeroDim);
        }
        if data.is_empty() {
            return Err(Error::TooFewSamples { n: 0, needed: 1 });
        }
        if !data.len().is_multiple_of(dim) {
            return Err(Error::Length { len: data.len(), dim });
        }
        if let Some(at) = data.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { row: at / dim, column: at % dim, value: data[at] });
        }
        Ok(Self { data, dim })
    }

    /// Number of samples.
    pub fn n(&self) -> usize {
        self.data.len() / self.dim
    }

    /// Dimension of one sample.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Sample `i`, of length `dim`.
    ///
    /// # Panics
    /// When `i` is not below `n`, as indexing a slice does.
    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.dim..(i + 1) * self.dim]
    }

    /// All samples in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [f32]> {
        self.data.chunks_exact(self.dim)
    }

    /// The samples in f64, row-major; metrics compute in f64 throughout.
    pub(crate) fn to_f64(self) -> Vec<f64> {
        self.data.iter().map(|&value| f64::from(value)).collect()
    }

    /// Refuses a partner of another dimension.
    pub(crate) fn same_dim(&self, other: &Samples<'_>) -> Result<()> {
        if self.dim == other.dim {
            Ok(())
        } else {
            Err(Error::DimMismatch { left: self.dim, right: other.dim })
        }
    }

    /// Refuses a partner of another dimension or size.
    pub(crate) fn same_shape(&self, other: &Samples<'_>) -> Result<()> {
        self.same_dim(other)?;
        if self.n() == other.n() {
            Ok(())
        } else {
            Err(Error::CountMismatch { left: self.n(), right: other.n() })
        }
    }

    /// Refuses fewer than `needed` samples.
    pub(crate) fn at_least(&self, needed: usize) -> Result<()> {
        if self.n() >= needed { Ok(()) } else { Err(Error::TooFewSamples { n: self.n(), needed }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_input_is_refused_with_its_values() {
        assert_eq!(Samples::new(&[1.0], 0).err(), Some(Error::ZeroDim));
        assert_eq!(Samples::new(&[], 2).err(), Some(Error::TooFewSamples { n: 0, needed: 1 }));
        assert_eq!(Samples::new(&[1.0, 2.0, 3.0], 2).err(), Some(Error::Length { len: 3, dim: 2 }));
        let error = Samples::new(&[1.0, 2.0, 3.0, f32::INFINITY], 2).err();
        assert_eq!(error, Some(Error::NotFinite { row: 1, column: 1, value: f32::INFINITY }));
    }

    #[test]
    fn messages_say_what_was_expected_and_what_came() {
        let message = Error::Length { len: 3, dim: 2 }.to_string();
        assert_eq!(message, "expected a length that is a multiple of the dimension 2, got 3");
    }
}
