//! Fused kernels with hand-written backward passes, tested against the composed operations.
//!
//! Each runs over chunks of rows of a fixed size, in threads, and adds partial sums in the order of the chunks:
//! the bits do not depend on the number of threads.

mod blocks;
mod buffer;
mod curve;
mod epilogue;
mod gemm;
mod layer;
mod micro;
mod panels;
mod scope;
mod simd;
mod sin_cos;
mod slices;

pub(crate) use layer::{Layer, Layers, Tape};
pub(crate) use scope::is_summed;
pub use scope::{GradientSums, PackedWeights};
pub(crate) use sin_cos::SinCos;
