//! Fused kernels with hand-written backward passes, tested against the composed operations.
//!
//! Each runs over chunks of rows of a fixed size, in threads, and adds partial sums in the order of the chunks:
//! the bits do not depend on the number of threads.

mod columns;
mod conv;
mod convolution;
mod correlate;
mod curve;
mod epilogue;
mod gemm;
mod lanes;
mod layer;
mod resize;
mod simd;
mod slices;

pub(crate) use convolution::Convolution;
pub(crate) use layer::Layer;
pub(crate) use resize::Resize;
