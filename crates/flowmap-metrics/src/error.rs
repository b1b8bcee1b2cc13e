//! What can be wrong with the input of a metric.

/// Everything a metric refuses, with the values that were wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The dimension of a sample was zero.
    #[error("expected samples of at least one dimension, got dimension 0")]
    ZeroDim,
    /// The length of the data is not a multiple of the dimension.
    #[error("expected a length that is a multiple of the dimension {dim}, got {len}")]
    Length {
        /// Number of values given.
        len: usize,
        /// Dimension of one sample.
        dim: usize,
    },
    /// A value is NaN or infinite.
    #[error("expected finite samples, got {value} in row {row}, column {column}")]
    NotFinite {
        /// Row of the value.
        row: usize,
        /// Column of the value.
        column: usize,
        /// The value.
        value: f32,
    },
    /// Fewer samples than the metric is defined for.
    #[error("expected at least {needed} samples, got {n}")]
    TooFewSamples {
        /// Number of samples given.
        n: usize,
        /// Smallest number allowed.
        needed: usize,
    },
    /// More samples than the metric can handle in reasonable time.
    #[error("expected at most {limit} samples, got {n}")]
    TooManySamples {
        /// Number of samples given.
        n: usize,
        /// Largest number allowed.
        limit: usize,
    },
    /// The two sets live in different spaces.
    #[error("expected two sets of one dimension, got dimensions {left} and {right}")]
    DimMismatch {
        /// Dimension of the first set.
        left: usize,
        /// Dimension of the second set.
        right: usize,
    },
    /// The two sets must be of one size.
    #[error("expected two sets of one size, got {left} and {right} samples")]
    CountMismatch {
        /// Number of samples in the first set.
        left: usize,
        /// Number of samples in the second set.
        right: usize,
    },
    /// The draws cannot be shared out among the true parameters.
    #[error("expected as many draws for each of {n_truths} true parameters, got {n_draws} in all")]
    Draws {
        /// Number of true parameters.
        n_truths: usize,
        /// Number of draws.
        n_draws: usize,
    },
    /// The number of bins does not suit a χ² test of ranks.
    #[error("expected an odd number of bins from 3 to {most}, got {n_bins}")]
    Bins {
        /// Number of bins.
        n_bins: usize,
        /// Number of values that a rank can have.
        most: usize,
    },
    /// The metric is defined for one dimension only.
    #[error("expected samples of dimension {expected}, got dimension {got}")]
    Dimension {
        /// Dimension the metric is defined for.
        expected: usize,
        /// Dimension of the samples.
        got: usize,
    },
    /// A histogram grid without bins or without an interior.
    #[error("expected at least one bin on a finite interval lo < hi, got {bins} bins on [{lo}, {hi}]")]
    Grid {
        /// Bins along one axis.
        bins: usize,
        /// Lower end.
        lo: f64,
        /// Upper end.
        hi: f64,
    },
    /// A checkerboard with an odd number of cells, or none.
    #[error("expected a positive even number of cells along an axis, got {cells}")]
    Cells {
        /// Cells along one axis.
        cells: usize,
    },
    /// No sample lies inside the histogram.
    #[error("expected at least one sample inside [{lo}, {hi}]^2, got none of {n}")]
    NoSampleInside {
        /// Number of samples, all outside.
        n: usize,
        /// Lower end of the grid.
        lo: f64,
        /// Upper end of the grid.
        hi: f64,
    },
    /// A density is negative, NaN or infinite.
    #[error("expected a finite density of at least 0, got {value} at ({x}, {y})")]
    Density {
        /// First coordinate.
        x: f64,
        /// Second coordinate.
        y: f64,
        /// The density there.
        value: f64,
    },
    /// The number of bin masses does not fit the grid.
    #[error("expected {expected} bin masses, got {got}")]
    MassCount {
        /// Number of bins.
        expected: usize,
        /// Number of masses.
        got: usize,
    },
    /// A bin mass is not a probability.
    #[error("expected a bin mass in [0, 1], got {value} in bin {bin}")]
    Mass {
        /// Index of the bin, row-major.
        bin: usize,
        /// Mass of the bin.
        value: f64,
    },
    /// The bin masses do not add up.
    #[error("expected bin masses that add up to {expected}, got {sum}")]
    MassSum {
        /// Expected sum.
        expected: &'static str,
        /// The sum.
        sum: f64,
    },
    /// A list of projection directions is empty.
    #[error("expected at least one projection direction, got none")]
    NoDirections,
    /// A projection direction is not a unit vector.
    #[error("expected directions of norm 1, got norm {norm} for direction {direction}")]
    NotUnit {
        /// Index of the direction.
        direction: usize,
        /// Norm of the vector.
        norm: f64,
    },
    /// A list of kernel bandwidths is empty.
    #[error("expected at least one bandwidth, got none")]
    NoBandwidths,
    /// A kernel bandwidth is not a positive number.
    #[error("expected finite bandwidths above 0, got {value}")]
    Bandwidth {
        /// The bandwidth; 0 when the median distance of the samples is 0.
        value: f64,
    },
    /// The mathematics below refused its arguments.
    #[error(transparent)]
    Core(#[from] flowmap_core::Error),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
