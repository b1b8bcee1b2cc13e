//! Eulerian self-distillation (ESD).
//!
//! L(θ) = E_{s,t} | ∂_s X_{s,t}(I_s) + ∇X_{s,t}(I_s) b_s(I_s) |²        (1)
//!
//! Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825, section 2 (Eulerian equation), b_s = v_{s,s}.
//! Where the gradient stops is a choice: [`EsdStop`].
//! Cost: one dual forward in (s, x) and one plain forward; stopping the advection splits the dual forward in two,
//! the second of them off the tape.
//! Differs from the paper: the weight w_{s,t} is left to the combination.

use flowmap_core::TimeDistribution;
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Pass, Passes, Trains};
use crate::times::{At, Column};
use crate::{PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "esd",
    title: "Eulerian self-distillation",
    arxiv: "2505.18825",
    on_tape: Evaluations::dual(1),
    off_tape: Evaluations::plain(1).and(Evaluations::dual(1)),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::Yes,
    when: "in low dimensions; unstable on images",
    recipe: include_str!("../../recipes/esd.toml"),
    distilling: "",
};

/// Where ESD stops the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EsdStop {
    /// At the whole advective term, sg\[∇X_{s,t} b_s\]: the paper's choice.
    #[default]
    Advection,
    /// At the velocity only, ∇X_{s,t} sg\[b_s\].
    Velocity,
    /// Nowhere.
    None,
}

/// The choices of ESD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Esd {
    /// Where the gradient stops.
    pub stop: EsdStop,
}

impl Method for Esd {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        Column::i(At::S)
    }

    fn passes(&self, _times: &TimeDistribution) -> Passes {
        let (jump, velocity) = (Evaluations::dual(1), Evaluations::plain(1));
        match self.stop {
            EsdStop::Advection => Passes::of(jump, velocity.and(jump)),
            EsdStop::Velocity => Passes::of(jump, velocity),
            EsdStop::None => Passes::of(jump.and(velocity), Evaluations::NONE),
        }
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, frozen, batch, times, .. } = p;
        let (s, t) = (times.s.tensor(), times.t.tensor());
        let i_s = batch.i(&times.s)?;
        let b_s = match self.stop {
            EsdStop::Advection | EsdStop::Velocity => frozen.velocity(s, &i_s)?.detach(), // sg[ b_s(I_s) ]
            EsdStop::None => model.velocity(s, &i_s)?,
        };
        let residual = match self.stop {
            EsdStop::Advection => {
                let (_, ds_x_st) = model.jump_ds(s, t, &i_s)?;
                let (_, advection) = frozen.jvp(s, t, &i_s, &b_s)?;
                (ds_x_st + advection.detach())? // ∂_s X + sg[ ∇X b_s ]
            }
            EsdStop::Velocity | EsdStop::None => {
                // ∂_s X + ∇X b_s is the derivative of X along (ds, dx) = (1, b_s).
                let along = model.jump_dual(&Dual::variable(s.clone())?, &t.into(), &Dual::new(i_s, b_s)?)?;
                along.tangent_or_zeros()?
            }
        };
        Ok(batch.squared_norm(&residual)?.with_tangent(&residual)) // (1)
    }
}
