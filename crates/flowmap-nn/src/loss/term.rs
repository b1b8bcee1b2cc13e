//! One term of a combination: an objective with its weight, its share of the batch, its times and its dropout.

use flowmap_core::{MiddleTime, Noise, Place, TimeDistribution};
use serde::{Deserialize, Serialize};

use super::{Norm, TimeWeight};
use crate::method::{Method, Objective, Passes, Trains};
use crate::times::Column;
use crate::{Derivative, Error, Result};

/// Which passes of a term drop activations, in networks with dropout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropoutPasses {
    /// Evaluations of the model on the diagonal s = t alone, which flow matching has too: arXiv:2505.18825.
    #[default]
    Diagonal,
    /// All evaluations of the model and of its stopped copy, with one mask a row for all of them, value and derivative:
    /// the authors' code of Mean Flow, arXiv:2505.13447. Evaluations at a hidden label and of a teacher have no dropout.
    All,
}

/// One term of a [`Combination`](super::Combination): an objective, its weight, its share of the batch and its times.
///
/// In a file what is left out is as the objective's paper has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Keys")]
pub struct Term {
    /// λ, the weight of each sample's loss.
    pub weight: f64,
    /// Share of the batch's rows, between 0 and 1.
    pub share: f64,
    /// How the pairs (s, t) are drawn; flow matching takes t = s, with a law of pairs
    /// of independent times one time of it.
    pub times: TimeDistribution,
    /// Probability that a pair is moved to the diagonal, t = s: the share of r = t of Mean Flow.
    pub diagonal: f64,
    /// How the middle time u is drawn between s and t; PSD uses it.
    pub middle: MiddleTime,
    /// What becomes of the squared norm of a residual.
    pub norm: Norm,
    /// How much a sample counts, by its times.
    pub time_weight: TimeWeight,
    /// Step at which the jumps have their full width; they grow to it from 0. With 0 they have it at once.
    pub anneal: u64,
    /// Which passes drop activations, where the network has dropout.
    pub dropout: DropoutPasses,
    /// How the derivatives of the method are taken.
    #[serde(skip_serializing_if = "is_dual")]
    pub derivative: Derivative,
    /// Probability that the label of a row is hidden, if that is not the probability of the training.
    ///
    /// The batch comes with its labels hidden: [`Combination`](super::Combination) does nothing with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_dropout: Option<f64>,
    /// The objective; its keys and the keys of the term are in one table.
    #[serde(flatten)]
    pub objective: Objective,
}

/// The keys of a term as a file has them.
#[derive(Deserialize)]
struct Keys {
    #[serde(default = "one")]
    weight: f64,
    #[serde(default = "one")]
    share: f64,
    times: Option<TimeDistribution>,
    #[serde(default)]
    diagonal: f64,
    middle: Option<MiddleTime>,
    #[serde(default)]
    norm: Norm,
    #[serde(default)]
    time_weight: TimeWeight,
    #[serde(default)]
    anneal: u64,
    #[serde(default)]
    dropout: DropoutPasses,
    #[serde(default)]
    derivative: Derivative,
    label_dropout: Option<f64>,
    #[serde(flatten)]
    objective: Objective,
}

fn is_dual(derivative: &Derivative) -> bool {
    *derivative == Derivative::Dual
}

fn one() -> f64 {
    1.0
}

impl From<Keys> for Term {
    fn from(keys: Keys) -> Self {
        let objective = keys.objective;
        Self {
            weight: keys.weight,
            share: keys.share,
            times: keys.times.unwrap_or_else(|| objective.times()),
            diagonal: keys.diagonal,
            middle: keys.middle.unwrap_or_else(|| objective.middle()),
            norm: keys.norm,
            time_weight: keys.time_weight,
            anneal: keys.anneal,
            dropout: keys.dropout,
            derivative: keys.derivative,
            label_dropout: keys.label_dropout,
            objective,
        }
    }
}

impl Term {
    /// An objective on `share` of the batch, with weight one and the times of its paper.
    pub fn new(objective: Objective, share: f64) -> Self {
        Self {
            weight: 1.0,
            share,
            times: objective.times(),
            diagonal: 0.0,
            middle: objective.middle(),
            norm: Norm::default(),
            time_weight: TimeWeight::default(),
            anneal: 0,
            dropout: DropoutPasses::default(),
            derivative: Derivative::default(),
            label_dropout: None,
            objective,
        }
    }

    /// Checks weight, share, times and the choices of the objective.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault, or what is wrong with the times.
    pub fn validate(&self) -> Result<()> {
        let hidden = self.label_dropout.unwrap_or_default();
        for (key, found) in [("share", self.share), ("diagonal", self.diagonal), ("label_dropout", hidden)] {
            if !(0.0..=1.0).contains(&found) {
                return Err(Error::OutOfRange { key, expected: "a number from 0 to 1", found });
            }
        }
        if !self.weight.is_finite() || self.weight < 0.0 {
            let expected = "a finite number of at least 0";
            return Err(Error::OutOfRange { key: "weight", expected, found: self.weight });
        }
        self.times.validate()?;
        self.norm.validate()?;
        self.time_weight.validate()?;
        self.objective.validate(&self.times, &self.middle)?;
        if let TimeWeight::Width { power } = self.time_weight {
            if power < 0.0 && self.diagonal > 0.0 {
                let expected = "0 with a negative `power` of `time_weight`, which would let rows without width count for all";
                return Err(Error::OutOfRange { key: "diagonal", expected, found: self.diagonal });
            }
            if power != 0.0 && self.is_diagonal() {
                let expected = "0 for flow matching, whose rows all have no width";
                return Err(Error::OutOfRange { key: "power", expected, found: power });
            }
        }
        Ok(())
    }

    /// Whether the method evaluates the model at s = t alone, the pass for which the papers of flow maps have dropout on.
    pub(crate) fn is_diagonal(&self) -> bool {
        self.objective.card().trains == Trains::Velocity
    }

    /// The functions of times that the method and the weight take at a step.
    pub(super) fn columns(&self, step: u64) -> Vec<Column> {
        let mut columns = self.objective.columns(step);
        columns.extend(self.time_weight.function().map(Column::Jump));
        columns
    }

    /// Network evaluations of a row.
    pub fn passes(&self) -> Passes {
        self.objective.passes(&self.times)
    }

    /// Draws the times of one sample at a step, from its noise and its place among the rows of the term.
    pub(super) fn draw(&self, place: Place, noise: &mut Noise, step: u64) -> Result<flowmap_core::Times> {
        if self.is_diagonal() {
            let t = match self.times {
                TimeDistribution::Uniform {} => noise.uniform(),
                // Either of two independent times in order: one time of their law.
                pair @ TimeDistribution::LogitNormal { .. } => {
                    let jump = pair.draw(noise);
                    if noise.uniform() < 0.5 { jump.s() } else { jump.t() }
                }
                other => other.draw(noise).s(),
            };
            return Ok(flowmap_core::Times::forward(t, t, t)?);
        }
        let mut jump = self.times.draw_at(place, noise);
        if self.diagonal > 0.0 && noise.uniform() < self.diagonal {
            jump = jump.capped(0.0);
        }
        if step < self.anneal {
            jump = jump.capped(step as f64 / self.anneal as f64); // t ← min(t, s + k/N)
        }
        Ok(self.middle.draw(jump, noise))
    }
}
