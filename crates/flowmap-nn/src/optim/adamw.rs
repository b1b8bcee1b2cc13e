//! Adam with decoupled weight decay.
//!
//! m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²
//! θ ← θ − lr ( m̂ / (√v̂ + eps) + λ θ ),  m̂ = m/(1 − β₁ᵏ),  v̂ = v/(1 − β₂ᵏ)
//!
//! Kingma, Ba 2014, arXiv:1412.6980, algorithm 1; Loshchilov, Hutter 2017, arXiv:1711.05101, algorithm 2.

use std::collections::BTreeMap;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use flowmap_dual::cuda::{AdamRule, GradientNorm};

use super::Optimizer;
use super::moments::Moments;
use crate::{Ema, Params, Result};

/// Adam with decoupled weight decay.
#[derive(Debug)]
pub struct AdamW {
    moments: Moments,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
}

impl AdamW {
    /// Zero moments for every parameter.
    ///
    /// # Errors
    /// [`crate::Error::OutOfRange`] for a bad constant.
    pub fn new(params: &Params, beta1: f64, beta2: f64, eps: f64, weight_decay: f64) -> Result<Self> {
        super::moments::check_constants(beta1, beta2, eps, weight_decay)?;
        Ok(Self { moments: Moments::new(params)?, beta1, beta2, eps, weight_decay })
    }

    /// Counts a step and gives its constants.
    fn next_rule(&mut self, lr: f64, gradient_scale: f64) -> AdamRule {
        let k = self.moments.next_step();
        let (bias1, bias2) = (1.0 - self.beta1.powf(k), 1.0 - self.beta2.powf(k));
        AdamRule {
            beta1: self.beta1,
            beta2: self.beta2,
            gradient_scale,
            rate: lr / bias1,
            root: Some(bias2.sqrt()),
            eps: self.eps,
            keep: 1.0 - lr * self.weight_decay,
        }
    }
}

impl Optimizer for AdamW {
    fn step_and_average(
        &mut self,
        gradients: &GradStore,
        lr: f64,
        gradient_scale: f64,
        averages: &mut [Ema],
    ) -> Result<()> {
        let rule = self.next_rule(lr, gradient_scale);
        self.moments.step(&rule, gradients, averages, None)
    }

    fn step_clipped(
        &mut self,
        gradients: &GradStore,
        lr: f64,
        norm: &GradientNorm,
        averages: &mut [Ema],
    ) -> Result<()> {
        let rule = self.next_rule(lr, 1.0);
        self.moments.step(&rule, gradients, averages, Some(norm))
    }

    fn n_steps(&self) -> u64 {
        self.moments.n_steps()
    }

    fn uncount_step(&mut self) {
        self.moments.uncount_step();
    }

    fn state(&self) -> BTreeMap<String, Tensor> {
        self.moments.state()
    }

    fn restore(&mut self, state: BTreeMap<String, Tensor>, n_steps: u64) -> Result<()> {
        self.moments.restore(state, n_steps)
    }
}
