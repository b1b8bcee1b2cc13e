//! What a checkpoint remembers of the data, by which it is seen that a file changed.
//!
//! A sketch is a few sums Σ ±x_ij/√(ND) over N samples that a fixed stream draws, each with its label and its noise,
//! where the signs are fixed too: for other data, or another order of the rows, all of them are others by about σ.
//! Sums, not a hash of bytes: readers of images may round a pixel differently on another machine.

use flowmap_core::{NoiseStream, Stream};
use flowmap_data::DataSet;
use serde::{Deserialize, Serialize};

/// Number of sums.
const N_SUMS: usize = 8;
/// Most samples that are looked at, and most numbers of them together.
const MAX_ROWS: u64 = 4096;
const MAX_NUMBERS: usize = 1 << 20;
/// The seed of samples and signs.
const SEED: u64 = 0x5eed;
/// How far a sum may be off, in standard deviations of the data; rounding of pixels stays below it.
const TOLERANCE: f64 = 1e-2;

/// The data of a run in a few numbers, in state.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataPrint {
    /// Number of samples; `None` for data generated without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_samples: Option<u64>,
    /// Standard deviation σ of the data.
    pub sigma: f64,
    /// The sums over σ; none where samples are generated, which their keys say everything of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sketch: Vec<f64>,
}

impl DataPrint {
    /// The print of a data set.
    pub(crate) fn of(data: &dyn DataSet) -> Self {
        let n_samples = data.n_samples();
        let sketch = n_samples.map_or(Vec::new(), |n| sketch(data, n));
        Self { n_samples, sigma: data.sigma(), sketch }
    }

    /// Whether two prints may be of the same samples, whose number is the same.
    pub(crate) fn is_near(&self, other: &Self) -> bool {
        (self.sigma / other.sigma - 1.0).abs() < TOLERANCE
            && self.sketch.len() == other.sketch.len()
            && self.sketch.iter().zip(&other.sketch).all(|(one, other)| (one - other).abs() < TOLERANCE)
    }
}

fn sketch(data: &dyn DataSet, n_samples: u64) -> Vec<f64> {
    let dim: usize = data.shape().iter().product();
    let n_rows = n_samples.min(MAX_ROWS).min((MAX_NUMBERS / dim.max(1)).max(1) as u64);
    let (samples, signs) =
        (NoiseStream::new(SEED, Stream::Data), NoiseStream::new(SEED, Stream::Projections));
    let sigma = data.sigma();
    let mut sums = vec![0.0; N_SUMS];
    let (mut row, mut noise) = (vec![0f32; dim], vec![0f32; dim]);
    for index in 0..n_rows {
        let label = data.draw(&samples, index, &mut row);
        if !data.draw_noise(&samples, index, &mut noise) {
            noise.clear();
        }
        let mut signs = signs.at(index);
        // The label weighs as much as all coordinates, since a wrong one is a wrong sample.
        let label = f64::from(label.unwrap_or(0)) * (dim as f64).sqrt();
        let values = row.iter().chain(&noise).map(|x| f64::from(*x) / sigma).chain([label]);
        for value in values {
            let bits = (signs.uniform() * f64::from(1u32 << N_SUMS)) as u32;
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum += if bits >> k & 1 == 1 { value } else { -value };
            }
        }
    }
    let scale = ((n_rows as usize * dim) as f64).sqrt().max(1.0);
    sums.into_iter().map(|sum| sum / scale).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flowmap_data::FiniteSet;

    use super::*;

    fn set(change: impl Fn(usize, f32) -> f32, labels: Option<Vec<u32>>) -> DataPrint {
        let mut noise = NoiseStream::new(1, Stream::Data).at(0);
        let values = (0..400).map(|i| change(i, noise.normal() as f32)).collect();
        DataPrint::of(&FiniteSet::new("test", vec![2], values, labels).unwrap())
    }

    #[test]
    fn print_tells_other_samples_and_labels_apart_and_forgives_rounding() {
        let first = set(|_, x| x, None);
        assert_eq!(first.n_samples, Some(200));
        assert!(first.is_near(&set(|_, x| x, None)));
        assert!(first.is_near(&set(|i, x| x + if i % 7 == 0 { 1e-3 } else { 0.0 }, None)));
        for (other, what) in [
            (set(|_, x| -x, None), "mirrored"),
            (set(|i, x| if i == 31 { x + 1.0 } else { x }, None), "one number"),
            (set(|i, x| if i % 2 == 0 { x + 0.2 } else { x }, None), "moved"),
        ] {
            assert!(!first.is_near(&other), "{what}: {first:?} {other:?}");
        }
        let labels = |n: u32| Some((0..200).map(|i| i % n).collect());
        assert!(!set(|_, x| x, labels(2)).is_near(&set(|_, x| x, labels(3))));
        let other_unit = set(|_, x| x * 1e4, None);
        assert!(!first.is_near(&other_unit));
        // Their standard deviation alone tells them apart.
        assert!(first.is_near(&DataPrint { sigma: first.sigma, ..other_unit }));
    }

    #[test]
    fn generated_data_are_told_by_their_keys() {
        let checkerboard = flowmap_data::DataConfig::default().build(None).unwrap();
        let print = DataPrint::of(&*checkerboard);
        assert!(print.n_samples.is_none() && print.sketch.is_empty() && print.is_near(&print));
    }
}
