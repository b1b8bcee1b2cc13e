//! Sampling with the 4x512 MLP by jumps of the flow map, from given noise.

use std::num::NonZeroU32;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use flowmap_core::TimeGrid;
use flowmap_nn::ParamBuilder;
use flowmap_nn::net::{DataSpec, Mlp, MlpConfig};
use flowmap_sample::{FlowMapJump, Session};
use flowmap_train::bench::flop_per_pass;

use crate::random::normal;

/// A session with a network, noise and a grid of times.
pub struct Sampling {
    session: Session<'static>,
    x0: Tensor,
    grid: TimeGrid,
    flop: f64,
}

impl Sampling {
    /// Sampling of `batch` points of the plane in `n_steps` jumps, on `device`.
    ///
    /// # Errors
    /// As the networks.
    pub fn new(n_steps: NonZeroU32, batch: usize, device: &Device) -> Result<Self> {
        let config = MlpConfig::default();
        let mut fresh = ParamBuilder::fresh(1, DType::F32, device);
        Mlp::new(&config, &DataSpec::of(&[2]), &mut fresh)?;
        let mut frozen = ParamBuilder::frozen(fresh.finish()?.tensors(), DType::F32, device);
        // Lives as long as the program: a case is made once.
        let net: &'static Mlp = Box::leak(Box::new(Mlp::new(&config, &DataSpec::of(&[2]), &mut frozen)?));
        Ok(Self {
            session: Session::new(&FlowMapJump, net),
            x0: normal(1, (batch, 2), 1.0)?.to_device(device)?,
            grid: TimeGrid::uniform(n_steps),
            flop: flop_per_pass(&config, 2) * batch as f64 * f64::from(n_steps.get()),
        })
    }

    /// Floating-point operations of the matrix products.
    pub fn flop(&self) -> f64 {
        self.flop
    }

    /// Draws the samples.
    ///
    /// # Errors
    /// As the network.
    pub fn run(&self) -> Result<Tensor> {
        Ok(self.session.sample(&self.x0, None, &self.grid)?)
    }
}
