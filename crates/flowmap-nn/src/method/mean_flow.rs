//! Mean Flow.
//!
//! L(θ) = E_{s,t} | v_{s,t}(I_s) − sg[ ṽ_s + (t − s) (∂_s v_{s,t} + ∇v_{s,t} ṽ_s)(I_s) ] |²        (1)
//!
//! Geng, Deng, Bai, Kolter, He 2025, arXiv:2505.13447, eqs. (9)-(11), with ṽ_s = İ_s of the pair itself.
//! There time runs from data to noise, so their (t, r) is our (s, t), and both signs of the derivative turn.
//! With ṽ_s = sg[ b_s(I_s) ], [`MeanFlowVelocity::Model`], the target has no noise of its own.
//! A regression: with İ_s its minimum is a conditional variance, not zero, and the mean gradient vanishes there.
//! At t = s it is flow matching, which the paper gives ¾ of the batch.
//! Cost: one plain forward and one dual forward off the tape; one more plain forward off the tape for b_s.
//! Differs from the paper: the adaptive weight is left to the combination.

use candle_core::Tensor;
use flowmap_core::TimeDistribution;
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Pass, Passes, Trains};
use crate::batch::as_column;
use crate::times::{At, Column};
use crate::{PerSample, Result};

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
    /// İ_s, that of the pair: the paper's choice.
    #[default]
    Data,
    /// sg\[b_s(I_s)\], that of the network itself.
    Model,
}

/// The choices of Mean Flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeanFlow {
    /// Which velocity the target is made of.
    pub velocity: MeanFlowVelocity,
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
        let tangent = Evaluations::dual(1);
        match self.velocity {
            MeanFlowVelocity::Data => CARD.passes(),
            MeanFlowVelocity::Model => Passes::of(CARD.on_tape, tangent.and(Evaluations::plain(1))),
        }
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { frozen, batch, times, .. } = p;
        let i_s = batch.i(&times.s)?;
        let v_s = match self.velocity {
            MeanFlowVelocity::Data => batch.di(&times.s)?,
            MeanFlowVelocity::Model => frozen.velocity(times.s.tensor(), &i_s)?.detach(), // sg[ b_s(I_s) ]
        };
        mean_flow_along(p, i_s, v_s)
    }
}

/// (1) with a given ṽ_s.
pub(super) fn mean_flow_along(p: &Pass<'_>, i_s: Tensor, v_s: Tensor) -> Result<PerSample> {
    let &Pass { model, frozen, batch, times, .. } = p;
    let (s, t) = (times.s.tensor(), times.t.tensor());
    let v_st = model.average_velocity(s, t, &i_s)?;
    let along = Dual::new(i_s, v_s.clone())?;
    let dv_st = frozen.average_velocity_dual(&Dual::variable(s.clone())?, &t.into(), &along)?;
    let dv_st = dv_st.tangent_or_zeros()?; // ∂_s v + ∇v ṽ_s
    let width = as_column(&(t - s)?, v_st.rank())?;
    let target = (v_s + dv_st.broadcast_mul(&width)?)?; // ṽ_s + (t − s)(∂_s v + ∇v ṽ_s)
    Ok(batch.squared_norm(&(v_st - target.detach())?)?.with_tangent(&dv_st)) // (1)
}
