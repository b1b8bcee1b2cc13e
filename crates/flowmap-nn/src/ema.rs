//! Exponential moving averages of the parameters.
//!
//! θ̄ ← d θ̄ + (1 − d) θ,  d = min(decay, (1 + k)/(10 + k)) with warm-up, k the number of updates so far.
//!
//! The warm-up keeps a young average from remembering the random start.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::optim::lerp;
use crate::params::{refuse_rest, take_like};
use crate::{Error, Params, Result};

/// One moving average of all parameters.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f64,
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
        Ok(Self { decay, n_updates: 0, tensors: params.copied_tensors()? })
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

    /// Takes the present parameters into the average.
    ///
    /// [`crate::optim::Optimizer::step_and_average`] does it in the pass that moves the parameters.
    ///
    /// # Errors
    /// As Candle.
    pub fn update(&mut self, params: &Params) -> Result<()> {
        for (name, var) in params.vars() {
            if let Some((average, decay)) = self.follower(name) {
                lerp(average, var.as_tensor(), decay)?;
            }
        }
        self.count_update();
        Ok(())
    }

    /// The average of the parameter `name` and the decay of the next update.
    pub(crate) fn follower(&self, name: &str) -> Option<(&Tensor, f64)> {
        let k = self.n_updates as f64;
        Some((self.tensors.get(name)?, self.decay.min((1.0 + k) / (10.0 + k))))
    }

    /// Counts an update of all tensors.
    pub(crate) fn count_update(&mut self) {
        self.n_updates += 1;
    }

    /// The decay.
    pub fn decay(&self) -> f64 {
        self.decay
    }

    /// Number of updates so far, which the warm-up depends on.
    pub fn n_updates(&self) -> u64 {
        self.n_updates
    }

    /// The averaged tensors by name; they share their memory with the average and follow it.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }
}
