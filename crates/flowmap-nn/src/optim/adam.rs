//! Adam with either of two rules: decoupled weight decay ([`super::AdamW`]) or rectification ([`super::RAdam`]).
//!
//! Both keep two moments of the gradients; a rule gives the constants of step k.

use std::collections::BTreeMap;
use std::fmt;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use flowmap_dual::cuda::{AdamRule, GradientNorm};

use super::Optimizer;
use super::moments::Moments;
use crate::{Ema, Params, Result};

/// What differs between the optimizers of Adam's family.
pub trait Rule: fmt::Debug + Send {
    /// The constants of step k = 1, 2, … at learning rate `lr`, for gradients that are multiplied by `gradient_scale`.
    fn at(&self, k: f64, lr: f64, gradient_scale: f64) -> AdamRule;
}

/// Adam with a rule.
#[derive(Debug)]
pub struct Adam<R> {
    moments: Moments,
    rule: R,
}

impl<R: Rule> Adam<R> {
    /// Zero moments for every parameter.
    pub(super) fn with_rule(params: &Params, rule: R) -> Result<Self> {
        Ok(Self { moments: Moments::new(params)?, rule })
    }

    /// Counts a step and gives its constants.
    fn next_rule(&mut self, lr: f64, gradient_scale: f64) -> AdamRule {
        self.rule.at(self.moments.next_step(), lr, gradient_scale)
    }
}

impl<R: Rule> Optimizer for Adam<R> {
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
