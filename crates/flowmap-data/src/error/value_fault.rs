//! What can be wrong with the values and labels of samples.

/// A fault of the values or labels of samples.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueFault {
    /// A value of an image is far from [−1, 1].
    #[error(
        "{place}, sample {sample}, coordinate {coordinate}: expected a number from -1 to 1, found {found}"
    )]
    BeyondScale {
        /// The file, with the array in it.
        place: String,
        /// The sample, counted from 0.
        sample: u64,
        /// The coordinate of the flattened sample, counted from 0.
        coordinate: u64,
        /// The value.
        found: f64,
    },
    /// A whole number among the pixels is not a byte.
    #[error(
        "{place}, sample {sample}, coordinate {coordinate}: expected a whole number from 0 to 255, found {found}"
    )]
    NotAByte {
        /// The file, with the array in it if there is one.
        place: String,
        /// The sample, counted from 0.
        sample: u64,
        /// The coordinate of the flattened sample, counted from 0.
        coordinate: u64,
        /// The value.
        found: i64,
    },
    /// A value is NaN, infinite or beyond the range of f32.
    #[error(
        "{place}, sample {sample}, coordinate {coordinate}: expected a finite number (f32), found {found}"
    )]
    NotFinite {
        /// The file, with the array in it if there is one.
        place: String,
        /// The sample, counted from 0.
        sample: u64,
        /// The coordinate of the flattened sample, counted from 0.
        coordinate: u64,
        /// The value.
        found: f64,
    },
    /// A label is not a class number.
    #[error("{place}, sample {sample}: expected a whole number from 0 to {max}, found {found}")]
    BadLabel {
        /// The file, with the array in it if there is one.
        place: String,
        /// The sample, counted from 0.
        sample: u64,
        /// The largest label that is read.
        max: u32,
        /// The value.
        found: f64,
    },
    /// A label is not a class number, where the config says which label is the first class.
    #[error("{place}, sample {sample}: expected a whole number from {min} to {max}, found {found}{}",
            first_label_hint(*.min, *.max, *.found))]
    NoClass {
        /// The file, with the array in it if there is one.
        place: String,
        /// The sample, counted from 0.
        sample: u64,
        /// The label of class 0.
        min: i64,
        /// The largest label that is read.
        max: i64,
        /// The value.
        found: f64,
    },
    /// There is not one label for each sample.
    #[error("{place}: expected {expected} labels, one for each sample, found {found}")]
    LabelCount {
        /// The file, with the array in it if there is one.
        place: String,
        /// Number of samples.
        expected: u64,
        /// Number of labels.
        found: u64,
    },
    /// The noise of pairs does not fit the samples.
    #[error("{place}: expected {} rows of shape {:?}, as many as samples, found {} of shape {:?}", expected.0, expected.1, found.0, found.1)]
    NoiseShape {
        /// Source of the noise.
        place: String,
        /// Number and shape of the samples.
        expected: (u64, Vec<usize>),
        /// Number and shape of the rows of noise.
        found: (u64, Vec<usize>),
    },
    /// Number of values and shape do not agree.
    #[error("{place}: expected a multiple of {expected} values for shape {shape:?}, found {found}")]
    ValueCount {
        /// Source of the values.
        place: String,
        /// Shape of a sample.
        shape: Vec<usize>,
        /// Values in a sample.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// The values are so large or so small that f32 cannot compute with them.
    #[error(
        "{place}: expected a standard deviation from {min:e} to {max:e}, found {found:e}; rescale the data"
    )]
    BeyondRange {
        /// The file, with the array in it if there is one.
        place: String,
        /// The smallest that is accepted.
        min: f64,
        /// The largest that is accepted.
        max: f64,
        /// Standard deviation of all coordinates.
        found: f64,
    },
    /// All values are equal, so that there is no scale to work at.
    #[error("{place}: expected data that vary, found {found} in every coordinate of every sample")]
    NoSpread {
        /// The file, with the array in it if there is one.
        place: String,
        /// The only value.
        found: f64,
    },
}

/// Names the key by which labels may start elsewhere, where a whole number is just beyond the classes.
fn first_label_hint(min: i64, max: i64, found: f64) -> &'static str {
    let is_beyond = found.fract() == 0.0 && (found < min as f64 || found == (max + 1) as f64);
    if is_beyond { "; the key `first_label` says which label is the first class" } else { "" }
}
