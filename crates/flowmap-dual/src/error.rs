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
    /// A pixel must be repeated at least once.
    #[error("expected a factor of at least one to up-sample by, found {factor}")]
    Upsampling {
        /// Factor asked for.
        factor: usize,
    },
    /// Images and kernels must have the same channels.
    #[error(
        "expected images (B, C, H, W) and kernels (O, C, kh, kw) of the same channels, \
         found {images:?} and {kernels:?}"
    )]
    ConvolutionShapes {
        /// Shape of the images.
        images: Shape,
        /// Shape of the kernels.
        kernels: Shape,
    },
    /// A bias must have one number for each channel of the output.
    #[error("expected a bias of shape [{channels}], found {bias:?}")]
    ConvolutionBias {
        /// Shape of the bias.
        bias: Shape,
        /// Channels of the output.
        channels: usize,
    },
    /// The window must have pixels, move, and fit into the padded images.
    #[error(
        "expected a stride of at least one and a window inside the padded images, \
         found {}x{} with stride {stride} and padding {padding} on {height}x{width}", kernel.0, kernel.1
    )]
    ConvolutionWindow {
        /// Height and width of the window.
        kernel: (usize, usize),
        /// Pixels from one window to the next.
        stride: usize,
        /// Zeros around the images.
        padding: usize,
        /// Height of the images.
        height: usize,
        /// Width of the images.
        width: usize,
    },
    /// Candle refused an operation (shapes, element types, device memory).
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
