//! First and second moments of the gradients, the state that Adam's family shares.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use flowmap_dual::cuda::{AdamRule, GradientNorm};

use super::inplace::{Target, step};
use crate::params::{refuse_rest, take_like};
use crate::{Ema, Error, Params, Result};

/// A parameter and its two moments.
#[derive(Debug)]
struct Moment {
    name: String,
    theta: Var,
    first: Tensor,
    second: Tensor,
}

/// The moments of parameters and the number of steps.
#[derive(Debug)]
pub(super) struct Moments {
    moments: Vec<Moment>,
    n_steps: u64,
}

impl Moments {
    /// Zeros.
    pub(super) fn new(params: &Params) -> Result<Self> {
        Self::of(params.vars())
    }

    /// Zeros for these parameters alone.
    pub(super) fn of<'a>(params: impl IntoIterator<Item = (&'a String, &'a Var)>) -> Result<Self> {
        let moment = |(name, theta): (&String, &Var)| {
            let (first, second) = (theta.zeros_like()?, theta.zeros_like()?);
            Ok(Moment { name: name.clone(), theta: theta.clone(), first, second })
        };
        Ok(Self { moments: params.into_iter().map(moment).collect::<Result<_>>()?, n_steps: 0 })
    }

    /// Counts a step and gives its number k, from one.
    pub(super) fn next_step(&mut self) -> f64 {
        self.n_steps += 1;
        self.n_steps as f64
    }

    pub(super) fn n_steps(&self) -> u64 {
        self.n_steps
    }

    pub(super) fn uncount_step(&mut self) {
        self.n_steps = self.n_steps.saturating_sub(1);
    }

    /// Moves every parameter that has a gradient, and all averages, by `rule`, clipped by a norm if there is one.
    ///
    /// Where that norm is known and not finite the step is taken back.
    pub(super) fn step(
        &mut self,
        rule: &AdamRule,
        gradients: &GradStore,
        averages: &mut [Ema],
        norm: Option<&GradientNorm>,
    ) -> Result<()> {
        let mut rule = *rule;
        let mut norm = norm;
        if let Some(known) = norm.filter(|norm| norm.is_on_host()) {
            let Some(factor) = known.factor()? else {
                self.uncount_step();
                return Ok(());
            };
            rule.gradient_scale *= factor;
            norm = None;
        }
        for Moment { name, theta, first, second } in &self.moments {
            let followers: Vec<_> = averages.iter().filter_map(|ema| ema.follower(name)).collect();
            step(&rule, &Target { theta, first, second }, gradients.get(theta), &followers, norm)?;
        }
        averages.iter_mut().for_each(Ema::count_update);
        Ok(())
    }

    pub(super) fn state(&self) -> BTreeMap<String, Tensor> {
        let both = |m: &Moment| {
            [(format!("first.{}", m.name), m.first.clone()), (format!("second.{}", m.name), m.second.clone())]
        };
        self.moments.iter().flat_map(both).collect()
    }

    pub(super) fn restore(&mut self, mut state: BTreeMap<String, Tensor>, n_steps: u64) -> Result<()> {
        let mut take = |m: &Moment| -> Result<(Tensor, Tensor)> {
            let first = take_like(&mut state, &format!("first.{}", m.name), &m.first)?;
            Ok((first, take_like(&mut state, &format!("second.{}", m.name), &m.second)?))
        };
        let taken: Vec<(Tensor, Tensor)> = self.moments.iter().map(&mut take).collect::<Result<_>>()?;
        refuse_rest(state)?;
        // Nothing can fail from here on: a state that is refused leaves all as it was.
        for (m, (first, second)) in self.moments.iter_mut().zip(taken) {
            (m.first, m.second) = (first, second);
        }
        self.n_steps = n_steps;
        Ok(())
    }
}

/// Refuses constants for which the moments are undefined.
pub(super) fn check_constants(beta1: f64, beta2: f64, eps: f64, weight_decay: f64) -> Result<()> {
    let unit = "a number from 0 to 1, 1 excluded";
    let range = |key, good, expected, found| {
        if good { Ok(()) } else { Err(Error::OutOfRange { key, expected, found }) }
    };
    range("beta1", (0.0..1.0).contains(&beta1), unit, beta1)?;
    range("beta2", (0.0..1.0).contains(&beta2), unit, beta2)?;
    range("eps", eps > 0.0, "a positive number", eps)?;
    range(
        "weight_decay",
        weight_decay >= 0.0 && weight_decay.is_finite(),
        "a number of at least 0",
        weight_decay,
    )
}
