//! Solution flow models (SoFlow): the Eulerian law by a step along the pair's own line, no derivative.
//!
//! L(θ) = E_{s,t} | X_{s,t}(I_s) − sg[ X_{u,t}(I_s + (u − s) İ_s) ] |² / ((u − s)(t − s)),  u = s + r (t − s)        (1)
//!
//! Luo, Yuan, Liu 2025, arXiv:2512.15657 (solution consistency loss), in a time that runs from noise to data.
//! With X = x + (t − s) v, (1) is r⁻¹ | v_{s,t}(I_s) − sg[ r İ_s + (1 − r) v_{u,t}(x_u) ] |²: the loss of
//! [`super::AlphaFlow`] with α = r, which is computed here since it is defined at t = s as well.
//! r falls from `first` to `last` over `end` steps, r(k) = first (last/first)^(k/end), and stays there.
//! A norm acts on |residual/(u − s)| of X, as the weight of the paper does: the adaptive norm with p = ½.
//! A regression, as α-Flow: its gradient is the gradient of Mean Flow up to a bias of the order of r.
//! The paper also trains flow matching, on ¾ of the batch.
//! Cost: two plain forwards, one of them off the tape.
//! Differs from the paper: s and t have one logit-normal law; guidance is left out.

use flowmap_core::{MiddleTime, TimeDistribution};
use serde::{Deserialize, Serialize};

use super::alpha_flow::toward_later_average;
use super::{Card, Evaluations, LearnsGuidance, Method, Pass, Trains};
use crate::times::{At, Column, JumpFunction};
use crate::{Error, PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "soflow",
    title: "Solution flow models",
    arxiv: "2512.15657",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::plain(1),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::No,
    when: "one-step models from data, if a network has no derivative",
    recipe: include_str!("../../recipes/soflow.toml"),
    distilling: "",
};

/// The choices of SoFlow: how r falls over the steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SoFlow {
    /// r at the first step.
    pub first: f64,
    /// r at the step `end` and after it.
    pub last: f64,
    /// The step where r has fallen to `last`.
    pub end: u64,
}

impl Default for SoFlow {
    /// From 0.1 to 0.002 as in the paper; over the first 10 000 steps.
    fn default() -> Self {
        Self { first: 0.1, last: 2e-3, end: 10_000 }
    }
}

impl SoFlow {
    /// r at a step.
    pub fn r(&self, step: u64) -> f64 {
        let progress = (step as f64 / self.end.max(1) as f64).min(1.0);
        self.first * (self.last / self.first).powf(progress)
    }
}

impl Method for SoFlow {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn times(&self) -> TimeDistribution {
        TimeDistribution::LogitNormal { mean: 0.4, std: 1.0 }
    }

    fn columns(&self, step: u64) -> Vec<Column> {
        let pair = [Column::i(At::S), Column::di(At::S)].concat();
        Column::and_jumps(pair, [JumpFunction::part_way(At::T, self.r(step))])
    }

    fn validate(&self, _times: &TimeDistribution, _middle: &MiddleTime) -> Result<()> {
        for (key, found) in [("first", self.first), ("last", self.last)] {
            if !(found > 0.0 && found < 1.0) {
                return Err(Error::OutOfRange { key, expected: "a number between 0 and 1", found });
            }
        }
        Ok(())
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        toward_later_average(p, self.r(p.step())) // (1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_falls_by_the_same_factor_in_equal_numbers_of_steps() {
        let choices = SoFlow { end: 100, ..SoFlow::default() };
        assert_eq!(choices.r(0), 0.1);
        assert!((choices.r(50) - (0.1f64 * 2e-3).sqrt()).abs() < 1e-12);
        assert!((choices.r(100) - 2e-3).abs() < 1e-15 && choices.r(1000) == choices.r(100));
    }
}
