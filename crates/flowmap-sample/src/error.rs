//! What can go wrong in sampling.

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No sampler has this name.
    #[error("unknown sampler `{name}`, expected one of {known}")]
    UnknownSampler {
        /// The name that was given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Consistency sampling leads to the data and nowhere else.
    #[error("consistency sampling needs times that rise to the data, found a step from {s} to {t}")]
    FallingGrid {
        /// Start of the step.
        s: f64,
        /// End of the step.
        t: f64,
    },
    /// Consistency sampling adds fresh noise at every inner time.
    #[error("expected {expected} tensors of fresh noise, one for each inner time, found {found}")]
    FreshNoise {
        /// How many inner times there are.
        expected: usize,
        /// How many tensors came.
        found: usize,
    },
    /// A time or a grid is out of range.
    #[error(transparent)]
    Core(#[from] flowmap_core::Error),
    /// The network failed.
    #[error(transparent)]
    Network(#[from] flowmap_nn::Error),
    /// A device failed to draw noise.
    #[error(transparent)]
    Noise(#[from] flowmap_dual::Error),
    /// Candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
