//! Fused kernels with hand-written backward passes, tested against the composed operations of flowmap-dual.
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod activation;
mod attention;
mod blank;
mod blocks;
mod buffer;
mod columns;
mod conv;
mod convolution;
mod correlate;
pub mod cuda;
mod curve;
mod epilogue;
mod error;
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

pub use activation::Activation;
pub use attention::{Attention, SelfAttention};
pub use convolution::Convolution;
pub use error::CompilationError;
pub use floats::{Parts, is_wanted, is_within};
pub use gate::Gate;
pub use group_norm::{Gains, Groups, Scaled};
pub use layer::{Layer, Layers, Tape};
pub use layer_norm::{Center, Rows};
pub use magnitude::Magnitude;
pub use norm::{Gain, Geometry, Norm};
pub use resize::Resize;
pub use scaled_sum::ScaledSum;
pub use scope::{GradientSums, PackedWeights, Restore, is_summed};
pub use sin_cos::SinCos;
