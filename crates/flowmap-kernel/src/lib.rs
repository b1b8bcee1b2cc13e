//! Fused kernels with hand-written backward passes, tested against the composed operations of flowmap-dual.
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod activation;
mod attention;
mod conv;
pub mod cuda;
mod error;
mod lanes;
mod layer;
mod matmul;
mod memory;
mod norm;
mod pointwise;
mod shared;

pub use activation::Activation;
pub use attention::{Attention, SelfAttention};
pub use conv::operation::Convolution;
pub use conv::resize::Resize;
pub use error::CompilationError;
pub use layer::{Layer, Layers, Tape};
pub use memory::slices::{Parts, is_wanted, is_within};
pub use norm::group_norm::{Gains, Groups, Scaled};
pub use norm::layer_norm::{Center, Rows};
pub use norm::magnitude::Magnitude;
pub use norm::{Gain, Geometry, Norm};
pub use pointwise::gate::Gate;
pub use pointwise::scaled_sum::ScaledSum;
pub use pointwise::sin_cos::SinCos;
pub use shared::{GradientSums, PackedWeights, Restore, is_summed};
