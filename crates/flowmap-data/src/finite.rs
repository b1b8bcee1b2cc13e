//! Sets of finitely many samples held in memory, visited in shuffled epochs.

use flowmap_core::NoiseStream;

use crate::shuffle::row_of;
use crate::{DataSet, Error, Facts, Result, ValueFault, Warning};

/// Samples held in memory: images, points of a file, anything that fits.
///
/// Index i belongs to epoch ⌊i / n⌋, and each epoch visits each of the n samples once, in the order of a
/// [`Permutation`](crate::Permutation) that is keyed by the stream at the number of the epoch.
///
/// ```
/// use flowmap_data::{DataSet, FiniteSet};
///
/// let set = FiniteSet::new("corners", vec![2], vec![0.0, 0.0, 0.0, 1.0, 1.0, 1.0], None)?;
/// assert_eq!(set.n_samples(), Some(3));
/// assert_eq!(set.sigma(), 0.5);
/// # Ok::<(), flowmap_data::Error>(())
/// ```
#[derive(Clone)]
pub struct FiniteSet {
    name: String,
    shape: Vec<usize>,
    values: Vec<f32>,
    labels: Option<Vec<u32>>,
    noise: Option<Vec<f32>>,
    n_samples: u64,
    n_classes: usize,
    sigma: f64,
    extent: Option<f64>,
    class_names: Vec<String>,
    warnings: Vec<Warning>,
}

impl FiniteSet {
    /// The largest label that is accepted; the number of classes is one more than the largest label there is.
    pub const MAX_LABEL: u32 = 65_535;

    /// A set of the samples in `values`, one after the other, each of the given shape, row-major.
    ///
    /// The name says in error messages where the values come from.
    ///
    /// # Errors
    /// No sample, a number of values that the shape does not divide, a value that is not finite, values that are
    /// all equal, a standard deviation whose square f32 cannot hold, a number of labels other than that of samples, a label
    /// above [`MAX_LABEL`](Self::MAX_LABEL).
    pub fn new(
        name: impl Into<String>,
        shape: Vec<usize>,
        values: Vec<f32>,
        labels: Option<Vec<u32>>,
    ) -> Result<Self> {
        let name = name.into();
        let n_values = shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n));
        let n_values = n_values.unwrap_or(usize::MAX);
        if values.is_empty() {
            return Err(Error::Empty { place: name });
        }
        if n_values == 0 || !values.len().is_multiple_of(n_values) {
            let (expected, found) = (n_values, values.len());
            return Err(ValueFault::ValueCount { place: name, shape, expected, found }.into());
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let (sample, coordinate) = ((at / n_values) as u64, (at % n_values) as u64);
            return Err(
                ValueFault::NotFinite { place: name, sample, coordinate, found: values[at].into() }.into()
            );
        }
        let n_samples = (values.len() / n_values) as u64;
        let n_classes = match &labels {
            Some(labels) => count_classes(&name, labels, n_samples)?,
            None => 0,
        };
        let sigma = standard_deviation(&values);
        if sigma == 0.0 {
            return Err(ValueFault::NoSpread { place: name, found: values[0].into() }.into());
        }
        check_sigma(&name, sigma)?;
        let reach = values.iter().fold(0.0f32, |reach, value| reach.max(value.abs()));
        let extent = (shape == [2]).then_some(PLOT_MARGIN * f64::from(reach));
        let (noise, class_names, warnings) = (None, Vec::new(), Vec::new());
        Ok(Self {
            name,
            shape,
            values,
            labels,
            noise,
            n_samples,
            n_classes,
            sigma,
            extent,
            class_names,
            warnings,
        })
    }

    /// These samples, each with the noise that it came from, in the same rows.
    ///
    /// [`sigma`](DataSet::sigma) is then the root mean square of the noise, since a model of these pairs starts from it.
    ///
    /// # Errors
    /// [`ValueFault::NoiseShape`] for another number of rows or another shape.
    pub fn with_noise(mut self, noise: Self) -> Result<Self> {
        if (noise.n_samples, &noise.shape) != (self.n_samples, &self.shape) {
            let (expected, found) = ((self.n_samples, self.shape), (noise.n_samples, noise.shape));
            return Err(ValueFault::NoiseShape { place: noise.name, expected, found }.into());
        }
        let square: f64 = noise.values.iter().map(|value| f64::from(*value).powi(2)).sum();
        self.sigma = (square / noise.values.len() as f64).sqrt();
        self.noise = Some(noise.values);
        Ok(self)
    }

    /// These samples, whose classes have these names, in the order of their labels.
    pub(crate) fn with_class_names(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.class_names = names.into_iter().collect();
        self
    }

    /// These samples with the warnings that came up on reading.
    pub(crate) fn with_warnings(mut self, warnings: Vec<Warning>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// The noise of each sample, if there is any.
    pub fn noise(&self) -> Option<&[f32]> {
        self.noise.as_deref()
    }

    /// The row of sample `index` of the sequence of `stream`.
    fn row(&self, stream: &NoiseStream, index: u64) -> usize {
        row_of(self.n_samples, stream, index)
    }

    /// Copies the row number `row` of `values` to `out`.
    fn copy_row(&self, values: &[f32], row: usize, out: &mut [f32]) {
        let n_values = self.values.len() / self.n_samples as usize;
        out.iter_mut().zip(&values[row * n_values..][..n_values]).for_each(|(out, value)| *out = *value);
    }

    /// All values, sample after sample.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The label of each sample, if there are labels.
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }
}

/// Plots leave this much room around the outermost point.
const PLOT_MARGIN: f64 = 1.1;

impl std::fmt::Debug for FiniteSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.facts().debug_of(f, "FiniteSet", &self.name).finish_non_exhaustive()
    }
}

impl DataSet for FiniteSet {
    fn facts(&self) -> Facts<'_> {
        let Self { n_samples, n_classes, sigma, .. } = *self;
        Facts { shape: &self.shape, n_samples: Some(n_samples), n_classes, sigma }
    }

    fn draw(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> Option<u32> {
        let sample = self.row(stream, index);
        self.copy_row(&self.values, sample, out);
        self.labels.as_ref().map(|labels| labels[sample])
    }

    fn draw_noise(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> bool {
        let Some(noise) = &self.noise else { return false };
        self.copy_row(noise, self.row(stream, index), out);
        true
    }

    fn extent(&self) -> Option<f64> {
        self.extent
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn source(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

/// Standard deviations of data whose inverses and tails f32 holds, too.
const SIGMAS: std::ops::RangeInclusive<f64> = 1e-30..=1e30;

/// Refuses data that are beyond the numbers that a network computes with.
pub(crate) fn check_sigma(name: &str, found: f64) -> Result<()> {
    let (min, max) = (*SIGMAS.start(), *SIGMAS.end());
    let error = || Error::from(ValueFault::BeyondRange { place: name.into(), min, max, found });
    SIGMAS.contains(&found).then_some(()).ok_or_else(error)
}

/// Checks the labels; one more than the largest.
fn count_classes(name: &str, labels: &[u32], n_samples: u64) -> Result<usize> {
    let max = FiniteSet::MAX_LABEL;
    if labels.len() as u64 != n_samples {
        let found = labels.len() as u64;
        return Err(ValueFault::LabelCount { place: name.into(), expected: n_samples, found }.into());
    }
    if let Some(sample) = labels.iter().position(|label| *label > max) {
        let found = labels[sample].into();
        return Err(ValueFault::BadLabel { place: name.into(), sample: sample as u64, max, found }.into());
    }
    Ok(labels.iter().max().map_or(0, |label| *label as usize + 1))
}

/// Standard deviation (divided by n) of the values about their mean, in two passes.
pub(crate) fn standard_deviation(values: &[f32]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / n;
    let variance = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / n;
    // Equal values may leave a rounding error of the mean.
    if values.iter().all(|value| *value == values[0]) { 0.0 } else { variance.sqrt() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
