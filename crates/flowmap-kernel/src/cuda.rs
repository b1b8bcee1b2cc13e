//! Kernels on CUDA devices: their sources, how they are compiled and launched, and the operations that they make up.
//!
//! Kernels are compiled by NVRTC when first used, once for each process and device, for the architecture of the device.
//! Kernels take f32; every other type takes the composed operations.
//!
//! | source | kernels |
//! |---|---|
//! | `layer` | bias, activation and its dual after a matrix product of cuBLAS, and the way back |
//! | `layer_norm` | LayerNorm and RMSNorm with modulation, activation and dual, and the way back |
//! | `group_norm` | GroupNorm with the same |
//! | `sums` | the second stage of the sums over rows, in a fixed order |
//! | `optimizer` | the norm of the gradients, its factor for clipping, and Adam's step with the averages |
//! | `noise` | normals and uniforms of the keyed streams, with the bits of the CPU |

#[cfg(feature = "cuda")]
mod launcher;
#[doc(hidden)]
pub mod launches;
#[cfg(feature = "cuda")]
pub(crate) mod layer;
#[cfg(feature = "cuda")]
pub(crate) mod norm;
#[cfg(feature = "cuda")]
mod streams;
#[cfg(feature = "cuda")]
mod update;

#[cfg(feature = "cuda")]
pub use launcher::trust_one_stream;
pub use launches::{AdamRule, Draws, MAX_AVERAGES};
#[cfg(feature = "cuda")]
pub use streams::{normals, uniforms};
#[cfg(feature = "cuda")]
pub use update::{measure, step};

/// What NVRTC compiles: the name of each source and its CUDA C++, which includes nothing.
pub const SOURCES: &[(&str, &str)] = &[
    ("layer", concat!(include_str!("cuda/curve.cuh"), include_str!("cuda/layer.cu"))),
    ("layer_norm", concat!(include_str!("cuda/curve.cuh"), include_str!("cuda/layer_norm.cu"))),
    ("group_norm", concat!(include_str!("cuda/curve.cuh"), include_str!("cuda/group_norm.cu"))),
    ("sums", include_str!("cuda/sums.cu")),
    ("optimizer", include_str!("cuda/optimizer.cu")),
    ("noise", include_str!("cuda/noise.cu")),
];

/// The options of NVRTC, in addition to the architecture of the device.
pub const OPTIONS: &[&str] = &["--std=c++17"];

/// Largest number of channels that the fused LayerNorm and RMSNorm take; their sums live in 48 KiB of shared memory.
pub const MAX_NORM_CHANNELS: usize = 2560;
