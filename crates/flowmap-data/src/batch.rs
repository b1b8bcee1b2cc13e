//! Batches as a pure function of the seed and the number of their first sample.

use flowmap_core::NoiseStream;

use crate::DataSet;

/// Samples of one step of training, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Values, row-major, of shape [`shape`](Self::shape).
    pub x: Vec<f32>,
    /// Label of each sample, `None` if the set has no labels.
    pub labels: Option<Vec<u32>>,
    /// `(B, D)` for points, `(B, C, H, W)` for images.
    pub shape: Vec<usize>,
}

/// The samples `first` up to but not including `first + batch` of the stream.
///
/// Nothing else enters: a run that is resumed, or split among processes, sees the same samples.
/// Beyond index 2⁶⁴ the sequence starts again.
///
/// ```
/// use flowmap_core::{NoiseStream, Stream};
/// use flowmap_data::{DataConfig, batch};
///
/// let set = DataConfig::default().build(None)?;
/// let data = NoiseStream::new(42, Stream::Data);
/// let large = batch(set.as_ref(), &data, 0, 64);
/// assert_eq!(large.shape, [64, 2]);
/// // Samples do not depend on the size of the batch they come in.
/// let small = batch(set.as_ref(), &data, 3 * 16, 16);
/// assert_eq!(small.x, large.x[3 * 16 * 2..]);
/// # Ok::<(), flowmap_data::Error>(())
/// ```
pub fn batch(set: &dyn DataSet, stream: &NoiseStream, first: u64, batch: usize) -> Batch {
    let n_values: usize = set.shape().iter().product();
    let mut x = vec![0.0; batch * n_values];
    let labels = x
        .chunks_exact_mut(n_values.max(1))
        .zip(0u64..)
        .map(|(row, row_idx)| set.draw(stream, first.wrapping_add(row_idx), row));
    let labels: Option<Vec<u32>> = if set.n_classes() == 0 {
        labels.for_each(drop);
        None
    } else {
        labels.collect()
    };
    let shape = [&[batch], set.shape()].concat();
    Batch { x, labels, shape }
}

/// The noise that the samples of [`batch`] came from, row by row; `None` if the set has none.
pub fn batch_noise(set: &dyn DataSet, stream: &NoiseStream, first: u64, batch: usize) -> Option<Vec<f32>> {
    let n_values: usize = set.shape().iter().product();
    let mut noise = vec![0.0; batch * n_values];
    let rows = noise.chunks_exact_mut(n_values.max(1)).zip(0u64..);
    let has_noise =
        rows.fold(true, |all, (row, i)| set.draw_noise(stream, first.wrapping_add(i), row) && all);
    has_noise.then_some(noise)
}
