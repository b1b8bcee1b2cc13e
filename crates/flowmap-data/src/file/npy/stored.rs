//! An array between its header and its values, in a file of its own or in an NPZ file.

use std::fs::File;
use std::io::Read;

use super::{Header, Surroundings, Value, read_header, read_values};
use crate::{Error, Result};

/// Source of an array.
pub(crate) trait Source: Read {
    /// Checks what can be known when everything was read.
    fn finish(self, place: &str) -> Result<()>;
}

impl Source for File {
    fn finish(self, _place: &str) -> Result<()> {
        Ok(())
    }
}

/// An array whose header was read, and whose values were not.
pub(crate) struct Stored<R> {
    pub header: Header,
    /// The file, with the array in it if there is one.
    pub place: String,
    source: R,
    surroundings: Surroundings,
}

impl<R: Source> Stored<R> {
    /// Reads the header; `promised` and `there` count the bytes of the header too.
    pub fn open(
        mut source: R,
        Surroundings { promised, there }: Surroundings,
        place: String,
    ) -> Result<Self> {
        let header = read_header(&mut source, &place)?;
        let surroundings = Surroundings { promised: promised.saturating_sub(header.length), there };
        Ok(Self { header, place, source, surroundings })
    }

    /// All values in C order.
    pub fn values<T: Value>(mut self) -> Result<Vec<T>> {
        let values = read_values(&mut self.source, &self.header, self.surroundings, &self.place)?;
        self.source.finish(&self.place)?;
        Ok(values)
    }

    /// Values as labels, one for each sample: `(N,)` or `(N, 1)`, whole numbers of whatever type.
    pub fn labels(self) -> Result<Vec<f64>> {
        if !matches!(self.header.shape[..], [_] | [_, 1]) {
            let (expected, found) = ("(N,)", self.header.shape.clone());
            return Err(Error::WrongShape { place: self.place, expected, found });
        }
        if self.header.dtype.is_whole() {
            return Ok(self.values::<i64>()?.into_iter().map(|label| label as f64).collect());
        }
        Ok(self.values::<f32>()?.into_iter().map(f64::from).collect())
    }
}
