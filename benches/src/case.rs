//! A case of the comparison with other libraries, as the driver in `benches/peers` describes it.

use std::num::NonZeroU32;

use anyhow::{Context, Result};
use candle_core::Device;
use flowmap_nn::loss::Term;
use flowmap_nn::method::{Lsd, LsdStop, Objective};
use flowmap_train::bench::Benched;
use serde::Deserialize;

use crate::layer::{LAYERS, Layer, Pass};
use crate::networks::{NETWORKS, NetworkBench};
use crate::sampling::Sampling;
use crate::training::TrainingStep;

/// What to time.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CaseConfig {
    /// A training step of the 4x512 MLP.
    Step {
        /// The objective by its name in [`flowmap_train::bench::BENCHED`].
        objective: String,
        /// Samples in a step.
        batch: usize,
    },
    /// Sampling with the 4x512 MLP.
    Sampling {
        /// Number of jumps.
        steps: NonZeroU32,
        /// Number of samples.
        batch: usize,
    },
    /// A training step of the compact U-Net, `unet` in [`NETWORKS`], by LSD alone.
    UnetStep {},
    /// A pass of a layer.
    Layer {
        /// The layer by its name in [`LAYERS`].
        layer: String,
        /// Which pass.
        pass: Pass,
    },
}

/// A case that is ready to run.
pub struct Case {
    /// Runs it once.
    pub run: Box<dyn FnMut() -> Result<()>>,
    /// Floating-point operations of its matrix products, 0 where no limit is asked of them.
    pub flop: f64,
}

impl CaseConfig {
    /// Makes everything that the case needs.
    ///
    /// # Errors
    /// For an unknown name, and as the networks.
    pub fn prepare(&self) -> Result<Case> {
        match self {
            Self::Step { objective, batch } => {
                let mut step = TrainingStep::new(Benched::named(objective)?, *batch, &Device::Cpu)?;
                Ok(Case { flop: step.flop(), run: Box::new(move || step.run()) })
            }
            Self::Sampling { steps, batch } => {
                let sampling = Sampling::new(*steps, *batch, &Device::Cpu)?;
                Ok(Case { flop: sampling.flop(), run: Box::new(move || sampling.run().map(drop)) })
            }
            Self::UnetStep {} => {
                let spec =
                    NETWORKS.iter().find(|spec| spec.name == "unet").context("unknown network `unet`")?;
                let lsd = Term::new(Objective::Lsd(Lsd { stop: LsdStop::Target }), 1.0);
                let mut bench = NetworkBench::new(spec, spec.batch, vec![lsd])?;
                Ok(Case { flop: 0.0, run: Box::new(move || bench.step()) })
            }
            Self::Layer { layer, pass } => {
                let spec = LAYERS.iter().find(|spec| spec.name == layer);
                let layer = Layer::new(spec.with_context(|| format!("unknown layer `{layer}`"))?)?;
                let pass = *pass;
                Ok(Case { flop: layer.flop(pass), run: Box::new(move || layer.run(pass)) })
            }
        }
    }
}
