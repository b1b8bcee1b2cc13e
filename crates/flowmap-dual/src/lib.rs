//! Forward-mode differentiation for Candle.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod cuda;
mod dual;
mod error;
mod fused;
mod gradient;
pub mod host;
mod ops;
mod recompute;

pub use dual::Dual;
pub use error::{Error, Result};
pub use flowmap_kernel::{Activation, GradientSums, PackedWeights};
pub use fused::{Execution, fused_operations};
pub use gradient::gradient_of;
pub use ops::{DenseLayer, Modulation};
