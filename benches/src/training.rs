//! A whole training step of the 4x512 MLP on a fixed batch: times, loss, gradient, AdamW.
//!
//! Pairs (x_0, x_1) are drawn beforehand; AdamW has lr 1e-4 and weight decay 1e-2, as the peers have.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use flowmap_core::Linear;
use flowmap_nn::loss::{Combination, Term};
use flowmap_nn::net::{Mlp, MlpConfig};
use flowmap_nn::optim::{AdamW, Optimizer};
use flowmap_nn::{Batch, Condition, ParamBuilder, Params, StepKey, loss_and_gradient};
use flowmap_train::bench::Benched;

use crate::random::normal;

/// Learning rate; small, so that nothing diverges.
const LR: f64 = 1e-4;

/// Weight decay per unit of learning rate.
const WEIGHT_DECAY: f64 = 1e-2;

/// A network, its optimizer and a batch.
pub struct TrainingStep {
    model: Mlp,
    teacher: Mlp,
    params: Params,
    optimizer: AdamW,
    combination: Combination,
    x0: Tensor,
    x1: Tensor,
    n_steps: u64,
    flop: f64,
}

impl TrainingStep {
    /// A step of `objective` on `batch` samples of the plane, on `device`.
    ///
    /// # Errors
    /// As the networks.
    pub fn new(objective: &Benched, batch: usize, device: &Device) -> Result<Self> {
        let config = MlpConfig::default();
        let build = |mut builder: ParamBuilder| -> Result<(Mlp, Params)> {
            let net = Mlp::new(&config, &[2], 0, 1.0, &mut builder)?;
            Ok((net, builder.finish()?))
        };
        let (model, params) = build(ParamBuilder::fresh(1, DType::F32, device))?;
        let (teacher, _) = build(ParamBuilder::frozen(params.tensors(), DType::F32, device))?;
        Ok(Self {
            model,
            teacher,
            optimizer: AdamW::new(&params, 0.9, 0.999, 1e-8, WEIGHT_DECAY)?,
            params,
            combination: Combination::new(vec![Term::new(objective.objective.clone(), 1.0)])?,
            x0: normal(1, (batch, 2), 1.0)?.to_device(device)?,
            x1: normal(2, (batch, 2), 1.0)?.to_device(device)?,
            n_steps: 0,
            flop: objective.flop_per_step(&config, 2, batch),
        })
    }

    /// Floating-point operations of the matrix products of a step.
    pub fn flop(&self) -> f64 {
        self.flop
    }

    /// One step.
    ///
    /// # Errors
    /// As the networks.
    pub fn run(&mut self) -> Result<()> {
        let batch = Batch {
            x0: &self.x0,
            x1: &self.x1,
            condition: Condition::default(),
            interpolant: &Linear,
            unit: 1.0,
        };
        let key = StepKey::of_step(1, self.n_steps, self.x0.dim(0)?);
        let result =
            loss_and_gradient(&self.combination, &self.model, &self.teacher, &self.params, &batch, key)?;
        self.optimizer.step(&result.gradients, LR, 1.0)?;
        self.n_steps += 1;
        Ok(())
    }
}
