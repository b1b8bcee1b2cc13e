//! Fused kernels with hand-written backward passes, tested against the composed operations.
//!
//! Each runs over chunks of rows of a fixed size, in threads, and adds partial sums in the order of the chunks:
//! the bits do not depend on the number of threads.

mod attention;
mod blank;
mod blocks;
mod buffer;
mod columns;
mod conv;
mod convolution;
mod correlate;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod curve;
mod epilogue;
mod floats;
mod gate;
mod gemm;
mod group_norm;
mod lanes;
mod layer;
mod layer_norm;
mod magnitude;
mod micro;
mod norm;
mod panels;
mod resize;
mod scaled_sum;
mod scope;
mod simd;
mod sin_cos;
mod sums;
mod winograd;

pub(crate) use attention::{Attention, SelfAttention};
pub(crate) use convolution::Convolution;
pub(crate) use floats::{Parts, is_wanted, is_within};
pub(crate) use gate::Gate;
pub(crate) use group_norm::{Gains, Groups, Scaled};
pub(crate) use layer::{Layer, Layers, Tape};
pub(crate) use layer_norm::{Center, Rows};
pub(crate) use magnitude::Magnitude;
pub(crate) use norm::{Gain, Geometry, Norm};
pub(crate) use resize::Resize;
pub(crate) use scaled_sum::ScaledSum;
pub use scope::{GradientSums, PackedWeights};
pub(crate) use scope::{Restore, is_summed};
pub(crate) use sin_cos::SinCos;
