//! Samplers: from noise along a grid of times.

mod flow_map_jump;
mod runge_kutta;

use std::fmt;
use std::str::FromStr;

use candle_core::Tensor;
use flowmap_core::ode::{EULER, HEUN, MIDPOINT, RK4};
use flowmap_nn::FlowMap;

pub use flow_map_jump::FlowMapJump;
pub use runge_kutta::RungeKutta;

use crate::{Error, Result};

/// One step from time s to time t, in either direction.
pub trait Sampler: fmt::Debug + Send + Sync {
    /// x at time `t`, from `x` `(B, ...)` at time `s`.
    ///
    /// # Errors
    /// As the network.
    fn step(&self, model: FlowMap<'_>, s: f64, t: f64, x: &Tensor) -> Result<Tensor>;

    /// Evaluations of the network that a step costs.
    fn evaluations_per_step(&self) -> usize;
}

/// A time for every sample of `x`, `(B,)`.
fn time_column(t: f64, x: &Tensor) -> Result<Tensor> {
    Ok(Tensor::full(t, x.dim(0)?, x.device())?.to_dtype(x.dtype())?)
}

/// The samplers by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SamplerKind {
    /// Jumps of the flow map.
    #[default]
    FlowMap,
    /// Euler's method on the velocity field.
    Euler,
    /// The midpoint method on the velocity field.
    Midpoint,
    /// Heun's method on the velocity field.
    Heun,
    /// The classical Runge-Kutta method on the velocity field.
    Rk4,
}

impl SamplerKind {
    /// All samplers, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::FlowMap, Self::Euler, Self::Midpoint, Self::Heun, Self::Rk4];

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::FlowMap => "flow_map",
            Self::Euler => "euler",
            Self::Midpoint => "midpoint",
            Self::Heun => "heun",
            Self::Rk4 => "rk4",
        }
    }

    /// The sampler of this name.
    pub fn build(self) -> Box<dyn Sampler> {
        match self {
            Self::FlowMap => Box::new(FlowMapJump),
            Self::Euler => Box::new(RungeKutta(EULER)),
            Self::Midpoint => Box::new(RungeKutta(MIDPOINT)),
            Self::Heun => Box::new(RungeKutta(HEUN)),
            Self::Rk4 => Box::new(RungeKutta(RK4)),
        }
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SamplerKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| Error::UnknownSampler {
            name: name.to_owned(),
            known: Self::ALL.map(|kind| format!("`{kind}`")).join(", "),
        })
    }
}
