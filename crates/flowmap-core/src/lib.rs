//! The mathematics of flow maps in f64, without tensors.

#![forbid(unsafe_code)]

mod error;
mod interpolant;
mod noise;
pub mod normal;

pub use error::{Error, Result};
pub use interpolant::{Custom, Interpolant, InterpolantKind, Linear, Trigonometric, VariancePreserving};
pub use noise::{Noise, NoiseStream, Stream};
