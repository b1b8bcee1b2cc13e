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
    /// An operation needs dimensions that a tensor does not have.
    #[error("expected a tensor of {at_least} dimensions or more, found {shape:?}")]
    Rank {
        /// Dimensions needed.
        at_least: usize,
        /// Shape of the tensor.
        shape: Shape,
    },
    /// A weight, bias, scale, shift, gate or summand must fit the tensor that it is applied to.
    #[error("expected a {name} of shape {expected:?}, found {found:?}")]
    OperandShape {
        /// What the operand is for.
        name: &'static str,
        /// The shape that fits.
        expected: Shape,
        /// The shape that came.
        found: Shape,
    },
    /// Candle refused an operation (shapes, element types, device memory).
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
