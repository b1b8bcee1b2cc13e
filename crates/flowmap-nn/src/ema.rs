//! Exponential moving averages of the parameters.
//!
//! θ̄ ← d θ̄ + (1 − d) θ at every n-th update,  d = min(decayⁿ, (1 + k)/(10 + k)),  or  d = decayⁿ
//!
//! with k the number of times that the average moved so far: [`EmaStart::Forget`] keeps a young average from
//! remembering the random start, [`EmaStart::Keep`] has none of it.
//! n > 1 saves passes over memory and changes little: a parameter weighs what n of its neighbors would.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::optim::lerp;
use crate::params::{refuse_rest, take_like};
use crate::{Error, Params, Result};

/// What becomes of the parameters that an average began with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmaStart {
    /// The first moves are long ones, so that they are soon forgotten.
    #[default]
    Forget,
    /// The decay is the same from the first move on, as in much published code.
    Keep,
}

/// When averages move, and how they begin; the same for averages of all decays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmaRule {
    /// n: an average moves at every n-th update, by the decay of n.
    pub every: NonZeroU64,
    /// What becomes of the first parameters.
    pub start: EmaStart,
}

impl Default for EmaRule {
    /// At every update, forgetting the start.
    fn default() -> Self {
        Self { every: NonZeroU64::MIN, start: EmaStart::Forget }
    }
}

impl EmaRule {
    /// The decay of the average of this decay when it moves for the time k + 1.
    fn decay(&self, decay: f64, k: u64) -> f64 {
        let (decay, k) = (decay.powf(self.every.get() as f64), k as f64);
        match self.start {
            EmaStart::Forget => decay.min((1.0 + k) / (10.0 + k)),
            EmaStart::Keep => decay,
        }
    }

    /// The share of the initial parameters in an average of this decay after `n_updates` updates.
    pub fn share_of_start(&self, decay: f64, n_updates: u64) -> f64 {
        let n_moves = n_updates / self.every.get();
        if self.start == EmaStart::Keep {
            return self.decay(decay, 0).powf(n_moves as f64);
        }
        let mut share = 1.0;
        for k in 0..n_moves {
            share *= self.decay(decay, k);
            // Of a long run the rest says nothing more.
            if share < f64::EPSILON {
                break;
            }
        }
        share
    }
}

/// One moving average of all parameters.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f64,
    rule: EmaRule,
    n_updates: u64,
    tensors: BTreeMap<String, Tensor>,
}

impl Ema {
    /// An average that starts at the present parameters.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a decay that is not at least 0 and below 1; as Candle.
    pub fn new(decay: f64, params: &Params) -> Result<Self> {
        if !(0.0..1.0).contains(&decay) {
            let expected = "a number from 0 to 1, 1 excluded";
            return Err(Error::OutOfRange { key: "ema", expected, found: decay });
        }
        let rule = EmaRule::default();
        Ok(Self { decay, rule, n_updates: 0, tensors: params.copied_tensors()? })
    }

    /// Moves by another rule than the default one; the number of updates stays.
    pub fn with_rule(self, rule: EmaRule) -> Self {
        Self { rule, ..self }
    }

    /// An average of `params` read back from a checkpoint, copied.
    ///
    /// # Errors
    /// Where a tensor is missing, misshapen or unexpected.
    pub fn resume(
        decay: f64,
        n_updates: u64,
        params: &Params,
        mut tensors: BTreeMap<String, Tensor>,
    ) -> Result<Self> {
        let mut average = Self::new(decay, params)?;
        for (name, like) in &mut average.tensors {
            *like = take_like(&mut tensors, name, like)?;
        }
        refuse_rest(tensors)?;
        Ok(Self { n_updates, ..average })
    }

    /// One update: takes the present parameters into the average, if it is one at which it moves.
    ///
    /// [`crate::optim::Optimizer::step_and_average`] does it in the pass that moves the parameters.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn update(&mut self, params: &Params) -> Result<()> {
        for (name, var) in params.vars() {
            if let Some((average, decay)) = self.follower(name) {
                lerp(average, var.as_tensor(), decay)?;
            }
        }
        self.count_update();
        Ok(())
    }

    /// The average of the parameter `name` and the decay of the next update; `None` if the update does not move averages.
    pub(crate) fn follower(&self, name: &str) -> Option<(&Tensor, f64)> {
        let (next, every) = (self.n_updates + 1, self.rule.every.get());
        if !next.is_multiple_of(every) {
            return None;
        }
        Some((self.tensors.get(name)?, self.rule.decay(self.decay, next / every - 1)))
    }

    /// Counts an update of all tensors.
    pub(crate) fn count_update(&mut self) {
        self.n_updates += 1;
    }

    /// Takes back the count of one update, which moved nothing.
    pub fn uncount_update(&mut self) {
        self.n_updates = self.n_updates.saturating_sub(1);
    }

    /// The decay.
    pub fn decay(&self) -> f64 {
        self.decay
    }

    /// Number of updates so far, those included that moved nothing: when and how far it moves depends on it.
    pub fn n_updates(&self) -> u64 {
        self.n_updates
    }

    /// The averaged tensors by name; they share their memory with the average and follow it.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }
}
