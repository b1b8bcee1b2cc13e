//! Forward-mode differentiation for Candle.
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod activation;
pub mod cuda;
mod dual;
mod error;
mod fused;
mod gradient;
pub mod host;
mod kernel;
mod ops;
mod recompute;

pub use activation::Activation;
pub use dual::Dual;
pub use error::{Error, Result};
pub use fused::{Execution, fused_operations};
pub use gradient::gradient_of;
pub use kernel::{GradientSums, PackedWeights};
pub use ops::{DenseLayer, Modulation};
