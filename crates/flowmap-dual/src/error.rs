//! What can go wrong in a dual operation.

use candle_core::{DType, Shape};

/// The result of a dual operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tangent must lie in the space of its primal: same shape.
    #[error("tangent of shape {tangent:?} does not fit its primal of shape {primal:?}")]
    TangentShape {
        /// Shape of the primal.
        primal: Shape,
        /// Shape of the tangent.
        tangent: Shape,
    },
    /// A tangent must lie in the space of its primal: same element type.
    #[error("tangent of type {tangent:?} does not fit its primal of type {primal:?}")]
    TangentDType {
        /// Element type of the primal.
        primal: DType,
        /// Element type of the tangent.
        tangent: DType,
    },
    /// A list of tensors to join was empty.
    #[error("expected at least one tensor to concatenate, found none")]
    EmptyCat,
    /// Channels must split evenly into groups.
    #[error("expected a number of channels that {groups} groups divide, found {channels}")]
    Groups {
        /// Number of groups asked for.
        groups: usize,
        /// Number of channels of the input.
        channels: usize,
    },
    /// Attention takes queries `(B, heads, N, d)`, keys `(B, heads, M, d)` and values `(B, heads, M, e)`, d and M at least 1.
    #[error(
        "expected queries (B, heads, N, d), keys (B, heads, M, d) and values (B, heads, M, e), \
         found {queries:?}, {keys:?} and {values:?}"
    )]
    Attention {
        /// Shape of the queries.
        queries: Shape,
        /// Shape of the keys.
        keys: Shape,
        /// Shape of the values.
        values: Shape,
    },
    /// Self-attention takes queries, keys and values of all heads in one tensor `(B, N, 3 · heads · d)`, d at least 1.
    #[error("expected packed projections (B, N, 3 · {heads} · d), found {found:?}")]
    PackedHeads {
        /// Number of heads asked for.
        heads: usize,
        /// Shape of the input.
        found: Shape,
    },
    /// A spatial size must be a multiple of the pooling factor.
    #[error("expected a height and width that {factor} divides, found {height}x{width}")]
    Pooling {
        /// Pooling factor.
        factor: usize,
        /// Height of the input.
        height: usize,
        /// Width of the input.
        width: usize,
    },
    /// Candle refused an operation (shapes, element types, device memory).
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
