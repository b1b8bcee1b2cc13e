//! Samplers for flow maps and their velocity fields on Candle.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
mod multistep;
mod noise;
mod sampler;
mod session;

pub use error::{Error, Result};
pub use multistep::{multistep_consistency, n_fresh};
pub use noise::base_noise;
pub use sampler::{FlowMapJump, RungeKutta, Sampler, SamplerKind};
pub use session::{Session, sample, trajectory};
