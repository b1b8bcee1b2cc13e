//! The mathematics of flow maps in f64, without tensors.

#![forbid(unsafe_code)]

mod noise;
pub mod normal;

pub use noise::{Noise, NoiseStream, Stream};
