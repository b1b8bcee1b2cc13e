//! Flow matching on the diagonal s = t.
//!
//! L(θ) = E_t | v_{t,t}(I_t) − İ_t |²        (1)
//!
//! Lipman and others 2022, arXiv:2210.02747; Albergo, Vanden-Eijnden 2022, arXiv:2209.15571;
//! L_b of Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825.
//! Its minimizer is b_t(x) = E[İ_t | I_t = x]; its minimum is the mean conditional variance, not zero.
//! If the network is given scales of guidance, the guided velocity İ^w_t takes the place of İ_t: `guided_flow_matching.rs`.
//! Cost: one plain forward; one more off the tape with guidance.

use serde::{Deserialize, Serialize};

use super::guided_flow_matching::guided_velocity;
use super::{Card, Evaluations, LearnsGuidance, Method, Pass, Trains};
use crate::times::{At, Column};
use crate::{PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "flow_matching",
    title: "Flow matching",
    arxiv: "2210.02747",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::NONE,
    trains: Trains::Velocity,
    guidance: LearnsGuidance::Yes,
    when: "with every self-distillation, for the diagonal s = t",
    recipe: include_str!("../../recipes/flow_matching.toml"),
    distilling: "",
};

/// Flow matching, which has no choices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowMatching {}

impl Method for FlowMatching {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        [Column::i(At::T), Column::di(At::T)].concat()
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, batch, times, .. } = p;
        let i_t = batch.i(&times.t)?;
        let v_tt = model.velocity(times.t.tensor(), &i_t)?;
        let di_t = match model.condition().guidance {
            None => batch.di(&times.t)?,
            Some(w) => guided_velocity(p, w, &times.t, &i_t)?,
        };
        batch.squared_norm(&(v_tt - di_t)?) // (1)
    }
}
