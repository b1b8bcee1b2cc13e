//! Optimizers with their state in the open, learning-rate schedules, and clipping.

mod adam;
mod adamw;
mod clip;
mod inplace;
mod moments;
mod muon;
mod radam;
mod schedule;

use std::collections::BTreeMap;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use flowmap_dual::cuda::GradientNorm;
use serde::{Deserialize, Serialize};

pub use adamw::AdamW;
pub use clip::{first_not_finite, gradient_norm};
pub(crate) use inplace::lerp;
pub use muon::{Muon, MuonConstants};
pub use radam::RAdam;
pub use schedule::Schedule;

use crate::{Ema, Params, Result};

/// An optimizer: a rule to update parameters from gradients, with state that can be saved and restored.
pub trait Optimizer: Send {
    /// One update with learning rate `lr`, the gradients multiplied by `gradient_scale` first (clipping),
    /// and one of all `averages`, which see the new parameters, in the same pass over memory.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    fn step_and_average(
        &mut self,
        gradients: &GradStore,
        lr: f64,
        gradient_scale: f64,
        averages: &mut [Ema],
    ) -> Result<()>;

    /// One update with the gradients clipped by [`gradient_norm`], without waiting for a device that keeps the norm.
    ///
    /// If the norm is not finite, parameters and averages stay as they are; if a device keeps the norm, the update is
    /// still counted, and the caller calls [`Optimizer::uncount_step`] after reading the norm.
    /// The provided implementation reads the norm and calls [`Optimizer::step_and_average`].
    ///
    /// # Errors
    /// As Candle; [`crate::Error::OptimizerDType`] for parameters of a type in which the device does not step.
    fn step_clipped(
        &mut self,
        gradients: &GradStore,
        lr: f64,
        norm: &GradientNorm,
        averages: &mut [Ema],
    ) -> Result<()> {
        match norm.factor()? {
            Some(factor) => self.step_and_average(gradients, lr, factor, averages),
            None => Ok(()),
        }
    }

    /// One update of the parameters alone.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    fn step(&mut self, gradients: &GradStore, lr: f64, gradient_scale: f64) -> Result<()> {
        self.step_and_average(gradients, lr, gradient_scale, &mut [])
    }

    /// Number of updates so far.
    fn n_steps(&self) -> u64;

    /// Takes back the count of one update.
    fn uncount_step(&mut self);

    /// The state by name, `first.{parameter}` and, if there is one, `second.{parameter}`; shares memory with the optimizer.
    fn state(&self) -> BTreeMap<String, Tensor>;

    /// Restores what [`Optimizer::state`] and [`Optimizer::n_steps`] gave.
    ///
    /// # Errors
    /// Where a tensor is missing, misshapen or unexpected; the state is then as it was.
    fn restore(&mut self, state: BTreeMap<String, Tensor>, n_steps: u64) -> Result<()>;
}

/// Which optimizer, and its constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Adam with decoupled weight decay.
    Adamw {
        /// Decay of the first moment.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the second moment.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "eps")]
        eps: f64,
        /// Decoupled weight decay, per unit of learning rate.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Rectified Adam.
    Radam {
        /// Decay of the first moment.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the second moment.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "eps")]
        eps: f64,
    },
    /// Orthogonal momentum for the matrices, Adam for everything else.
    Muon {
        /// Decay of the momentum.
        #[serde(default = "momentum")]
        momentum: f64,
        /// Decay of Adam's first moment.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of Adam's second moment.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root of Adam's second moment.
        #[serde(default = "eps")]
        eps: f64,
        /// Decoupled weight decay, per unit of learning rate.
        #[serde(default)]
        weight_decay: f64,
    },
}

fn momentum() -> f64 {
    0.95
}

fn beta1() -> f64 {
    0.9
}
fn beta2() -> f64 {
    0.999
}
fn eps() -> f64 {
    1e-8
}

impl Default for OptimizerConfig {
    /// Adam without weight decay.
    fn default() -> Self {
        Self::Adamw { beta1: beta1(), beta2: beta2(), eps: eps(), weight_decay: 0.0 }
    }
}

impl OptimizerConfig {
    /// Muon with the constants of its authors.
    pub fn muon() -> Self {
        Self::Muon { momentum: momentum(), beta1: beta1(), beta2: beta2(), eps: eps(), weight_decay: 0.0 }
    }

    /// Checks every constant.
    ///
    /// # Errors
    /// [`crate::Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::Adamw { beta1, beta2, eps, weight_decay } => {
                moments::check_constants(beta1, beta2, eps, weight_decay)
            }
            Self::Radam { beta1, beta2, eps } => moments::check_constants(beta1, beta2, eps, 0.0),
            Self::Muon { momentum, beta1, beta2, eps, weight_decay } => {
                MuonConstants { momentum, weight_decay, adam: (beta1, beta2, eps) }.validate()
            }
        }
    }

    /// Builds the optimizer for `params`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfRange`] for a bad constant.
    pub fn build(&self, params: &Params) -> Result<Box<dyn Optimizer>> {
        match *self {
            Self::Adamw { beta1, beta2, eps, weight_decay } => {
                Ok(Box::new(AdamW::new(params, beta1, beta2, eps, weight_decay)?))
            }
            Self::Radam { beta1, beta2, eps } => Ok(Box::new(RAdam::new(params, beta1, beta2, eps)?)),
            Self::Muon { momentum, beta1, beta2, eps, weight_decay } => {
                let constants = MuonConstants { momentum, weight_decay, adam: (beta1, beta2, eps) };
                Ok(Box::new(Muon::new(params, constants)?))
            }
        }
    }
}
