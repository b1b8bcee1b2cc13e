//! Dropout whose masks are a function of what they are for.
//!
//! y ← m ⊙ y,  m = 0 with probability p, 1/(1 − p) otherwise
//!
//! Srivastava and others 2014, JMLR 15:1929.
//! A mask depends on the seed, the number of the row and the layer alone, and a row's number on the step and its place in
//! the batch: the order of passes, tiles and devices changes no bit, nor does computing a block again.

use candle_core::{DType, Device, Tensor};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::cuda::Draws;
use flowmap_dual::host;

use crate::Result;
use crate::params::fnv1a;

/// What the masks of the rows of a batch are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutKeys {
    seed: u64,
    first: u64,
}

impl DropoutKeys {
    /// Keys of the rows `first`, `first + 1`, ... of the run of this seed.
    pub fn new(seed: u64, first: u64) -> Self {
        Self { seed, first }
    }

    /// The keys of the rows from `row` on.
    pub(crate) fn starting_at(self, row: usize) -> Self {
        Self { first: self.first.wrapping_add(row as u64), ..self }
    }
}

/// The dropout of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout {
    /// The probability p of a zero.
    probability: f64,
    /// A number of its own for each layer.
    layer: u64,
}

impl Dropout {
    /// The dropout of the layer of this name.
    pub(crate) fn new(name: &str, probability: f64) -> Self {
        Self { probability, layer: fnv1a(name) }
    }

    /// m of the shape `dims`, whose first is the rows; `None` where nothing is dropped.
    pub(crate) fn mask(
        self,
        keys: Option<DropoutKeys>,
        dims: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Option<Tensor>> {
        let (Some(keys), Some((&rows, inner))) =
            (keys.filter(|_| self.probability > 0.0), dims.split_first())
        else {
            return Ok(None);
        };
        let stream = NoiseStream::new(keys.seed ^ self.layer, Stream::Dropout);
        let dim: usize = inner.iter().product();
        let draws = Draws { key: stream.key(), first: keys.first, rows, dim };
        let scale = (1.0 - self.probability).recip();
        if let Some(uniforms) = draws.uniforms(device)? {
            let kept = uniforms.ge(&host::filled_like(&uniforms, self.probability)?)?.to_dtype(dtype)?;
            return Ok(Some((kept.reshape(dims)? * scale)?));
        }
        let mut values = Vec::with_capacity(rows * dim);
        for row in 0..rows as u64 {
            let mut noise = stream.at(keys.first.wrapping_add(row));
            let mut number = || if noise.uniform() < self.probability { 0.0 } else { scale as f32 };
            values.extend((0..dim).map(|_| number()));
        }
        Ok(Some(host::send(values, dims, dtype, device)?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const P: f64 = 0.13;
    /// Standard errors that a share may be off; the seed is fixed.
    const STANDARD_ERRORS: f64 = 4.0;

    fn mask(name: &str, keys: DropoutKeys, rows: usize) -> Vec<f32> {
        let dims = [rows, 3, 16, 16];
        let mask = Dropout::new(name, P).mask(Some(keys), &dims, DType::F32, &Device::Cpu).unwrap();
        mask.unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn masks_depend_on_seed_row_and_layer_alone() {
        let keys = DropoutKeys::new(1, 40);
        let whole = mask("a", keys, 8);
        let parts = [mask("a", keys, 3), mask("a", keys.starting_at(3), 5)].concat();
        assert_eq!(whole, parts);
        assert_ne!(whole, mask("b", keys, 8));
        assert_ne!(whole, mask("a", DropoutKeys::new(2, 40), 8));
        assert_ne!(whole, mask("a", DropoutKeys::new(1, 48), 8));
    }

    #[test]
    fn share_of_zeros_is_the_probability_and_the_mean_is_one() {
        let mask = mask("a", DropoutKeys::new(1, 0), 64);
        let n = mask.len() as f64;
        let zeros = mask.iter().filter(|m| **m == 0.0).count() as f64 / n;
        let error = (P * (1.0 - P) / n).sqrt();
        assert!((zeros - P).abs() < STANDARD_ERRORS * error, "{zeros}");
        assert!(mask.iter().all(|m| *m == 0.0 || (f64::from(*m) * (1.0 - P) - 1.0).abs() < 1e-6));
    }

    #[test]
    fn nothing_is_dropped_without_keys_or_probability() {
        let none = |p, keys| Dropout::new("a", p).mask(keys, &[2, 3], DType::F32, &Device::Cpu).unwrap();
        assert!(none(P, None).is_none());
        assert!(none(0.0, Some(DropoutKeys::new(1, 0))).is_none());
    }
}
