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
    /// The network failed.
    #[error(transparent)]
    Network(#[from] flowmap_nn::Error),
    /// Candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
