//! Lagrangian self-distillation (LSD).
//!
//! L(θ) = E_{s,t} | ∂_t X_{s,t}(I_s) − sg[ b_t(X_{s,t}(I_s)) ] |²        (1)
//!
//! Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825, section 2 (Lagrangian equation).
//! The gradient flows through the derivative in t; with [`LsdStop::Parameters`] also through the argument of b_t, the
//! minimal stop of public speech models; with [`LsdStop::None`] also through b_t itself.
//! Cost: one dual forward and one plain forward, which is off the tape with the first stop.
//! Differs from the paper: the weight w_{s,t} is left to the combination.

use flowmap_core::TimeDistribution;
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Pass, Passes, Trains};
use crate::times::{At, Column};
use crate::{PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "lsd",
    title: "Lagrangian self-distillation",
    arxiv: "2505.18825",
    on_tape: Evaluations::dual(1),
    off_tape: Evaluations::plain(1),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::Yes,
    when: "the first choice without a teacher",
    recipe: include_str!("../../recipes/lsd.toml"),
    distilling: "",
};

/// Where LSD stops the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LsdStop {
    /// At the velocity b_t(X_{s,t}): the paper's choice.
    #[default]
    #[serde(alias = "teacher")]
    Target,
    /// At the parameters of the velocity b_t alone: the gradient flows through its argument X_{s,t}, as in
    /// [`super::Lmd`] with the frozen model for a teacher.
    Parameters,
    /// Nowhere.
    None,
}

/// The choices of LSD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lsd {
    /// Where the gradient stops.
    pub stop: LsdStop,
}

impl Method for Lsd {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        Column::i(At::S)
    }

    fn passes(&self, _times: &TimeDistribution) -> Passes {
        let (jump, velocity) = (Evaluations::dual(1), Evaluations::plain(1));
        match self.stop {
            LsdStop::Target => Passes::of(jump, velocity),
            LsdStop::Parameters | LsdStop::None => Passes::of(jump.and(velocity), Evaluations::NONE),
        }
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, frozen, batch, times, .. } = p;
        let (s, t) = (times.s.tensor(), times.t.tensor());
        let i_s = batch.i(&times.s)?;
        let (x_st, dt_x_st) = model.jump_dt(s, t, &i_s)?;
        let b_t = match self.stop {
            LsdStop::Target => frozen.velocity(t, &x_st.detach())?.detach(), // sg[ b_t(X_{s,t}) ]
            LsdStop::Parameters => frozen.velocity(t, &x_st)?,               // b⁻_t(X_{s,t})
            LsdStop::None => model.velocity(t, &x_st)?,
        };
        Ok(batch.squared_norm(&(&dt_x_st - b_t)?)?.with_tangent(&dt_x_st)) // (1)
    }
}
