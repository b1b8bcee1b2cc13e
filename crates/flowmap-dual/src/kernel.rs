//! Fused kernels with hand-written backward passes, tested against the composed operations.
//!
//! Each runs over chunks of rows of a fixed size, in threads, and adds partial sums in the order of the chunks:
//! the bits do not depend on the number of threads.

mod attention;
mod curve;
mod epilogue;
mod gemm;
mod layer;
mod simd;

pub(crate) use attention::{Attention, SelfAttention};
pub(crate) use layer::Layer;
