//! Mean Flow.
//!
//! L(θ) = E_{s,t} | v_{s,t}(I_s) − sg[ ṽ_s + (t − s) (∂_s v_{s,t} + ∇v_{s,t} ṽ_s)(I_s) ] |²        (1)
//!
//! Geng, Deng, Bai, Kolter, He 2025, arXiv:2505.13447, eqs. (9)-(11), with ṽ_s = İ_s of the pair itself.
//! There time runs from data to noise, so their (t, r) is our (s, t), and both signs of the derivative turn.
//! With ṽ_s = sg[ b_s(I_s) ], [`MeanFlowVelocity::Model`], the target has no noise of its own.
//! The derivative may be taken along a blend,
//!
//! w_s = β İ_s + (1 − β) sg[ b_s(I_s) ] in place of ṽ_s in ∇v ṽ_s        (2)
//!
//! Lu, Wang 2026, arXiv:2605.09235: there İ_s is a control variate and nothing else, so that a smaller β has less noise;
//! β = 0 is the gradient of [`super::ImprovedMeanFlow`]. The mean of (2) given I_s is b_s where the network knows b_s,
//! so that the minimizer is the same for every β.
//! A regression: with İ_s its minimum is a conditional variance, not zero, and the mean gradient vanishes there.
//! At t = s it is flow matching, which the paper gives ¾ of the batch.
//! Cost: one plain forward and one dual forward off the tape; one more plain forward off the tape for b_s.
//! Differs from the paper: the adaptive weight is left to the combination.

use candle_core::Tensor;
use flowmap_core::{MiddleTime, TimeDistribution};
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Pass, Passes, Trains};
use crate::batch::as_column;
use crate::times::{At, Column};
use crate::{Error, PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "mean_flow",
    title: "Mean Flow",
    arxiv: "2505.13447",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::dual(1),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::With("velocity = \"model\""),
    when: "one-step image models, with the adaptive norm",
    recipe: include_str!("../../recipes/mean_flow.toml"),
    distilling: "",
};

/// Which velocity the target of Mean Flow is made of, and its derivative taken along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeanFlowVelocity {
    /// İ_s, the velocity of the pair: the paper's choice.
    #[default]
    Data,
    /// sg\[b_s(I_s)\], the velocity of the network itself.
    Model,
}

/// The choices of Mean Flow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeanFlow {
    /// Which velocity the target is made of.
    pub velocity: MeanFlowVelocity,
    /// β, the share of İ_s in the direction (2) of the derivative.
    pub beta: f64,
}

impl Default for MeanFlow {
    /// The paper's: İ_s in the target and as the direction of the derivative.
    fn default() -> Self {
        Self { velocity: MeanFlowVelocity::Data, beta: 1.0 }
    }
}

impl Method for MeanFlow {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn times(&self) -> TimeDistribution {
        TimeDistribution::LogitNormal { mean: 0.4, std: 1.0 }
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        match self.velocity {
            MeanFlowVelocity::Data => [Column::i(At::S), Column::di(At::S)].concat(),
            MeanFlowVelocity::Model => Column::i(At::S),
        }
    }

    fn learns_guidance(&self) -> bool {
        self.velocity == MeanFlowVelocity::Model
    }

    fn passes(&self, _times: &TimeDistribution) -> Passes {
        let takes_b_s = self.velocity == MeanFlowVelocity::Model || self.beta != 1.0;
        let b_s = if takes_b_s { Evaluations::plain(1) } else { Evaluations::NONE };
        Passes::of(CARD.on_tape, CARD.off_tape.and(b_s))
    }

    fn validate(&self, _times: &TimeDistribution, _middle: &MiddleTime) -> Result<()> {
        let found = self.beta;
        match self.velocity {
            MeanFlowVelocity::Data if (0.0..=1.0).contains(&found) => Ok(()),
            MeanFlowVelocity::Data => {
                Err(Error::OutOfRange { key: "beta", expected: "a number from 0 to 1", found })
            }
            MeanFlowVelocity::Model if found == 1.0 => Ok(()),
            MeanFlowVelocity::Model => {
                let expected = "1, since with velocity = \"model\" the derivative has one direction";
                Err(Error::OutOfRange { key: "beta", expected, found })
            }
        }
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { frozen, batch, times, .. } = p;
        let i_s = batch.i(&times.s)?;
        let b_s = || -> Result<Tensor> { Ok(frozen.velocity(times.s.tensor(), &i_s)?.detach()) }; // sg[ b_s(I_s) ]
        let v_s = match self.velocity {
            MeanFlowVelocity::Data => batch.di(&times.s)?,
            MeanFlowVelocity::Model => b_s()?,
        };
        let w_s = match self.beta {
            1.0 => v_s.clone(),
            beta => ((&v_s * beta)? + (b_s()? * (1.0 - beta))?)?, // (2)
        };
        mean_flow_along(p, i_s, v_s, w_s)
    }
}

/// (1) with a given ṽ_s, and the derivative along a given w_s.
pub(super) fn mean_flow_along(p: &Pass<'_>, i_s: Tensor, v_s: Tensor, w_s: Tensor) -> Result<PerSample> {
    let &Pass { model, frozen, batch, times, .. } = p;
    let (s, t) = (times.s.tensor(), times.t.tensor());
    let v_st = model.average_velocity(s, t, &i_s)?;
    let along = Dual::new(i_s, w_s)?;
    let dv_st = frozen.average_velocity_dual(&Dual::variable(s.clone())?, &t.into(), &along)?;
    let dv_st = dv_st.tangent_or_zeros()?; // ∂_s v + ∇v w_s
    let width = as_column(&(t - s)?, v_st.rank())?;
    let target = (v_s + dv_st.broadcast_mul(&width)?)?; // ṽ_s + (t − s)(∂_s v + ∇v w_s)
    Ok(batch.squared_norm(&(v_st - target.detach())?)?.with_tangent(&dv_st)) // (1)
}
