//! Improved Mean Flow (iMF): Mean Flow as a regression on the velocity of the pair.
//!
//! V_{s,t}(x) = v_{s,t}(x) − (t − s) sg[ ∂_s v_{s,t} + ∇v_{s,t} b_s ](x)        (1)
//! L(θ) = E_{s,t} | V_{s,t}(I_s) − İ_s |²        (2)
//!
//! Geng and others 2025, arXiv:2512.02012 (the "v-loss"), in a time that runs from noise to data.
//! The prediction (1) depends on I_s alone, since its tangent is the network's own velocity b_s = v_{s,s} and not İ_s:
//! (2) is then a regression whose minimizer fulfills V_{s,t} = E[İ_s | I_s] = b_s, which is Mean Flow's identity.
//! Cost: one plain forward; one plain and one dual forward off the tape.
//! Differs from the paper: b_s is the network on the diagonal, not an auxiliary head; guidance is left out.

use flowmap_core::TimeDistribution;
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Pass, Trains};
use crate::batch::as_column;
use crate::times::{At, Column};
use crate::{PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "improved_mean_flow",
    title: "Improved Mean Flow",
    arxiv: "2512.02012",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::plain(1).and(Evaluations::dual(1)),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::No,
    when: "Mean Flow with less noise in its target",
    recipe: include_str!("../../recipes/improved_mean_flow.toml"),
    distilling: "",
};

/// Improved Mean Flow, which has no choices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImprovedMeanFlow {}

impl Method for ImprovedMeanFlow {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn times(&self) -> TimeDistribution {
        TimeDistribution::LogitNormal { mean: 0.4, std: 1.0 }
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        [Column::i(At::S), Column::di(At::S)].concat()
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, frozen, batch, times, .. } = p;
        let (s, t) = (times.s.tensor(), times.t.tensor());
        let i_s = batch.i(&times.s)?;
        let b_s = frozen.velocity(s, &i_s)?.detach();
        let v_st = model.average_velocity(s, t, &i_s)?;
        let along = Dual::new(i_s, b_s)?;
        let dv_st = frozen.average_velocity_dual(&Dual::variable(s.clone())?, &t.into(), &along)?;
        let dv_st = dv_st.tangent_or_zeros()?.detach(); // sg[ ∂_s v + ∇v b_s ]
        let width = as_column(&(t - s)?, v_st.rank())?;
        let v = (v_st - dv_st.broadcast_mul(&width)?)?; // (1)
        Ok(batch.squared_norm(&(v - batch.di(&times.s)?)?)?.with_tangent(&dv_st)) // (2)
    }
}
