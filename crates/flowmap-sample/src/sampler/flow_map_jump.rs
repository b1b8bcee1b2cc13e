//! The flow map itself as a sampler: one jump a step.
//!
//! x_{k+1} = X_{t_k, t_{k+1}}(x_k)
//!
//! Exact for the exact flow map, whatever the grid: the semigroup law.
//! Cost: one evaluation a step.

use candle_core::Tensor;
use flowmap_nn::FlowMap;

use super::{Sampler, time_column};
use crate::Result;

/// Jumps of the flow map.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowMapJump;

impl Sampler for FlowMapJump {
    fn step(&self, model: FlowMap<'_>, s: f64, t: f64, x: &Tensor) -> Result<Tensor> {
        Ok(model.starting_at(s).jump(&time_column(s, x)?, &time_column(t, x)?, x)?)
    }

    fn evaluations_per_step(&self) -> usize {
        1
    }
}
