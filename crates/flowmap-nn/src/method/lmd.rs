//! Lagrangian map distillation (LMD) of a known velocity field q.
//!
//! L(θ) = E_{s,t} | ∂_t X_{s,t}(I_s) − q_t(X_{s,t}(I_s)) |²        (1)
//!
//! Boffi, Albergo, Vanden-Eijnden 2024, arXiv:2406.07507 (Lagrangian map distillation).
//! The gradient also flows through the argument of q; [`LmdStop::Teacher`] stops it there, which is the form of
//! self-distillation and asks nothing of the field but its values.
//! Cost: one dual forward and one evaluation of the teacher, on the tape unless it is stopped.
//! Differs from the paper: the weight is left to the combination.

use flowmap_core::TimeDistribution;
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Needs, Pass, Passes, Trains};
use crate::times::{At, Column};
use crate::{PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "lmd",
    title: "Lagrangian map distillation",
    arxiv: "2406.07507",
    on_tape: Evaluations::dual(1).and(Evaluations::teacher(1)),
    off_tape: Evaluations::NONE,
    trains: Trains::Jumps,
    guidance: LearnsGuidance::No,
    when: "the first choice with a velocity field",
    recipe: include_str!("../../recipes/lmd.toml"),
    distilling: "",
};

/// Where LMD stops the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LmdStop {
    /// Nowhere: the paper's choice.
    #[default]
    None,
    /// At the velocity, sg\[q_t(X_{s,t})\].
    Teacher,
}

/// The choices of LMD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lmd {
    /// Where the gradient stops.
    pub stop: LmdStop,
}

impl Method for Lmd {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn needs(&self) -> Needs {
        Needs::VELOCITY
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        Column::i(At::S)
    }

    fn passes(&self, _times: &TimeDistribution) -> Passes {
        let (jump, q) = (Evaluations::dual(1), Evaluations::teacher(1));
        match self.stop {
            LmdStop::None => Passes::of(jump.and(q), Evaluations::NONE),
            LmdStop::Teacher => Passes::of(jump, q),
        }
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, batch, times, .. } = p;
        let (s, t) = (times.s.tensor(), times.t.tensor());
        let (x_st, dt_x_st) = model.jump_dt(s, t, &batch.i(&times.s)?)?;
        let q_t = match self.stop {
            LmdStop::None => p.q(t, &x_st)?,
            LmdStop::Teacher => p.q(t, &x_st.detach())?.detach(), // sg[ q_t(X_{s,t}) ]
        };
        Ok(batch.squared_norm(&(&dt_x_st - q_t)?)?.with_tangent(&dt_x_st)) // (1)
    }
}
