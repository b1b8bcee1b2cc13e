//! The mathematics of flow maps in f64: interpolants, times, noise streams, exact flow maps.
#![doc = ""]
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod coupling;
mod eigen;
mod error;
pub mod exact;
mod grid;
mod interpolant;
mod noise;
pub mod normal;
pub mod ode;
mod times;

pub use coupling::Coupling;
pub use eigen::{Eigen, symmetric_eigen};
pub use error::{Error, Result};
pub use grid::TimeGrid;
pub use interpolant::{
    Custom, Interpolant, InterpolantKind, Linear, NoisyLinear, OwnInterpolant, Trigonometric,
    VariancePreserving,
};
pub use noise::{Noise, NoiseStream, Stream};
pub use ode::Dop853;
pub use times::{Jump, MiddleTime, Place, TimeDistribution, Times, Widths};
