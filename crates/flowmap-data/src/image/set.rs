//! Images held in memory as bytes or floats, visited in shuffled epochs.

use std::num::NonZeroU32;

use flowmap_core::NoiseStream;

use crate::finite::standard_deviation;
use crate::shuffle::row_of;
use crate::{DataSet, Error, Facts, FiniteSet, Result, Skipped, ValueFault, Warning};

/// Images of one shape, in the order of their files; a byte p is the value p/127.5 − 1.
///
/// Epochs are as in [`FiniteSet`]: each visits each image once.
/// If images are mirrored, sample i is so with probability 1/2, by its own noise at index 2⁶⁴ − 1 − i of the stream,
/// which no epoch reaches.
pub struct ImageSet {
    name: String,
    shape: [usize; 3],
    pixels: Pixels,
    labels: Option<Vec<u32>>,
    n_classes: usize,
    n_samples: u64,
    sigma: f64,
    mirror: Mirror,
    skipped: Skipped,
    class_names: Vec<String>,
    warnings: Vec<Warning>,
}

/// The values of all images, one image after the other, each `[C, H, W]` row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pixels {
    /// 0 to 255.
    Bytes(Vec<u8>),
    /// −1 to 1.
    Floats(Vec<f32>),
}

/// Which samples are mirrored left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mirror {
    /// None.
    Never,
    /// Every one with probability 1/2.
    Half,
}

impl From<bool> for Mirror {
    fn from(flip: bool) -> Self {
        if flip { Self::Half } else { Self::Never }
    }
}

/// Labels, and how many classes they are from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    pub labels: Option<Vec<u32>>,
    /// The number of classes if it is known, else one more than the largest label.
    pub classes: Option<NonZeroU32>,
}

impl ImageSet {
    /// The set of these pixels; `name` says in messages where they come from.
    ///
    /// # Errors
    /// No image, no whole images, images that are all of one color, labels that are not one
    /// for each image or beyond the classes.
    pub(crate) fn new(
        name: String,
        shape: [usize; 3],
        pixels: Pixels,
        Labels { labels, classes }: Labels,
        mirror: Mirror,
        skipped: Skipped,
    ) -> Result<Self> {
        let dim = shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n)).unwrap_or(usize::MAX);
        let found = match &pixels {
            Pixels::Bytes(bytes) => bytes.len(),
            Pixels::Floats(floats) => floats.len(),
        };
        if found == 0 {
            return Err(Error::Empty { place: name });
        }
        if dim == 0 || !found.is_multiple_of(dim) {
            return Err(
                ValueFault::ValueCount { place: name, shape: shape.into(), expected: dim, found }.into()
            );
        }
        let n_samples = (found / dim) as u64;
        let n_classes = match &labels {
            Some(labels) => check_labels(&name, labels, n_samples, classes)?,
            None => 0,
        };
        let (first, sigma) = match &pixels {
            Pixels::Bytes(bytes) => (value_of(bytes[0]), deviation_of_bytes(bytes)),
            Pixels::Floats(floats) => (floats[0], standard_deviation(floats)),
        };
        if sigma == 0.0 {
            return Err(ValueFault::NoSpread { place: name, found: first.into() }.into());
        }
        let (class_names, warnings) = (Vec::new(), Vec::new());
        Ok(Self {
            name,
            shape,
            pixels,
            labels,
            n_classes,
            n_samples,
            sigma,
            mirror,
            skipped,
            class_names,
            warnings,
        })
    }

    /// This set, whose classes have these names, in the order of their labels.
    pub(crate) fn with_class_names<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.class_names = names.into_iter().map(Into::into).collect();
        self
    }

    /// This set with the warnings that came up on reading.
    pub(crate) fn with_warnings(mut self, warnings: Vec<Warning>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// The label of each image in the order of the files, if there are labels.
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    /// Writes image number `row` of the files into `out`, not mirrored.
    ///
    /// # Panics
    /// As indexing a slice does, if there is no such image.
    pub fn image(&self, row: usize, out: &mut [f32]) {
        let dim: usize = self.shape.iter().product();
        match &self.pixels {
            Pixels::Bytes(bytes) => {
                out.iter_mut().zip(&bytes[row * dim..][..dim]).for_each(|(out, byte)| *out = value_of(*byte));
            }
            Pixels::Floats(floats) => {
                out.iter_mut().zip(&floats[row * dim..][..dim]).for_each(|(out, value)| *out = *value);
            }
        }
    }
}

/// A byte as a value in [−1, 1].
pub(crate) fn value_of(byte: u8) -> f32 {
    f32::from(byte) / 127.5 - 1.0
}

/// Standard deviation of the values of all bytes about their mean, from how often each of the 256 occurs.
fn deviation_of_bytes(bytes: &[u8]) -> f64 {
    let mut counts = [0u64; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let n = bytes.len() as f64;
    let mean_of = |f: &dyn Fn(f64) -> f64| -> f64 {
        counts.iter().zip(0u8..=255).map(|(count, byte)| *count as f64 * f(f64::from(byte))).sum::<f64>() / n
    };
    let mean = mean_of(&|byte| byte);
    let is_one_color = counts.iter().filter(|count| **count > 0).count() == 1;
    if is_one_color { 0.0 } else { mean_of(&|byte| (byte - mean).powi(2)).sqrt() / 127.5 }
}

/// Checks the labels; the number of classes.
pub(crate) fn check_labels(
    name: &str,
    labels: &[u32],
    n_samples: u64,
    classes: Option<NonZeroU32>,
) -> Result<usize> {
    if labels.len() as u64 != n_samples {
        let found = labels.len() as u64;
        return Err(ValueFault::LabelCount { place: name.into(), expected: n_samples, found }.into());
    }
    let max = max_label(classes);
    if let Some(sample) = labels.iter().position(|label| *label > max) {
        let found = labels[sample].into();
        return Err(ValueFault::BadLabel { place: name.into(), sample: sample as u64, max, found }.into());
    }
    let seen = || labels.iter().max().map_or(0, |label| *label as usize + 1);
    Ok(classes.map_or_else(seen, |n| n.get() as usize))
}

/// The largest label of `classes` classes, or of any number of classes.
pub(crate) fn max_label(classes: Option<NonZeroU32>) -> u32 {
    classes.map_or(FiniteSet::MAX_LABEL, |n| n.get() - 1)
}

impl std::fmt::Debug for ImageSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.facts()
            .debug_of(f, "ImageSet", &self.name)
            .field("mirror", &self.mirror)
            .field("skipped", &self.skipped.n)
            .finish_non_exhaustive()
    }
}

impl DataSet for ImageSet {
    fn facts(&self) -> Facts<'_> {
        let Self { n_samples, n_classes, sigma, .. } = *self;
        Facts { shape: &self.shape, n_samples: Some(n_samples), n_classes, sigma }
    }

    fn draw(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> Option<u32> {
        let row = row_of(self.n_samples, stream, index);
        self.image(row, out);
        if self.mirror == Mirror::Half && stream.at(!index).below(2) == 1 {
            out.chunks_exact_mut(self.shape[2]).for_each(<[f32]>::reverse);
        }
        self.labels.as_ref().map(|labels| labels[row])
    }

    fn extent(&self) -> Option<f64> {
        None
    }

    fn skipped(&self) -> Option<&Skipped> {
        Some(&self.skipped).filter(|skipped| skipped.n > 0)
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn source(&self) -> Option<&str> {
        Some(&self.name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flowmap_core::Stream;

    use super::*;

    /// n images of 1 x 1 x 2 with the bytes (i, 255 − i).
    fn numbered(n: u8, mirror: Mirror) -> ImageSet {
        let pixels = Pixels::Bytes((0..n).flat_map(|i| [i, 255 - i]).collect());
        let labels = Labels { labels: Some((0..n).map(|i| u32::from(i) % 3).collect()), classes: None };
        ImageSet::new("numbered".into(), [1, 1, 2], pixels, labels, mirror, Skipped::default()).unwrap()
    }

    #[test]
    fn values_lie_between_minus_one_and_one_and_sigma_is_theirs() {
        let set = numbered(3, Mirror::Never);
        let mut all = [0.0; 6];
        all.chunks_exact_mut(2).enumerate().for_each(|(row, out)| set.image(row, out));
        assert_eq!(all[..2], [-1.0, 1.0]);
        let same = FiniteSet::new("same", vec![2], all.to_vec(), None).unwrap();
        assert!((set.sigma() - same.sigma()).abs() < 1e-7, "{} {}", set.sigma(), same.sigma());
    }

    #[test]
    fn half_of_the_samples_are_mirrored_whatever_was_drawn_before() {
        let (set, stream) = (numbered(100, Mirror::Half), NoiseStream::new(3, Stream::Data));
        let plain = numbered(100, Mirror::Never);
        let mut mirrored = Vec::new();
        for index in 0..1000 {
            let (mut x, mut y) = ([0.0; 2], [0.0; 2]);
            assert_eq!(set.draw(&stream, index, &mut x), plain.draw(&stream, index, &mut y));
            assert!(x == y || x == [y[1], y[0]]);
            mirrored.push(x != y);
        }
        // 500 expected; six standard deviations are 95.
        let n = mirrored.iter().filter(|m| **m).count();
        assert!(n.abs_diff(500) < 95, "{n}");
        let mut x = [0.0; 2];
        set.draw(&stream, 7, &mut x);
        let mut y = [0.0; 2];
        plain.draw(&stream, 7, &mut y);
        assert_eq!(x != y, mirrored[7]);
        // Another epoch mirrors others.
        assert_ne!(mirrored[..100], mirrored[100..200]);
    }
}
