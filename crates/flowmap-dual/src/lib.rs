//! Forward-mode differentiation for Candle.
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod activation;
mod dual;
mod error;
mod kernel;
mod ops;

pub use activation::Activation;
pub use dual::Dual;
pub use error::{Error, Result};
pub use kernel::{GradientSums, PackedWeights};
pub use ops::{DenseLayer, Modulation};
