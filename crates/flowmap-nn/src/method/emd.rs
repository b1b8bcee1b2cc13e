//! Eulerian map distillation (EMD) of a known velocity field q.
//!
//! L(θ) = E_{s,t} | ∂_s X_{s,t}(I_s) + ∇X_{s,t}(I_s) q_s(I_s) |²        (1)
//!
//! Boffi, Albergo, Vanden-Eijnden 2024, arXiv:2406.07507 (Eulerian map distillation).
//! (1) is convex in X. [`EmdStop::Advection`] stops the gradient at ∇X q, which spares the reverse pass through the
//! spatial derivative. The form that stops all but X itself is [`super::align_your_flow`].
//! Cost: one dual forward in (s, x) and one evaluation of the teacher;
//! stopping the advection splits the dual forward in two, the second of them off the tape.
//! Differs from the paper: the weight is left to the combination.

use flowmap_core::TimeDistribution;
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Needs, Pass, Passes, Trains};
use crate::times::{At, Column};
use crate::{PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "emd",
    title: "Eulerian map distillation",
    arxiv: "2406.07507",
    on_tape: Evaluations::dual(1),
    off_tape: Evaluations::teacher(1),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::No,
    when: "a velocity field that cannot be differentiated",
    recipe: include_str!("../../recipes/emd.toml"),
    distilling: "",
};

/// Where EMD stops the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmdStop {
    /// Nowhere: the full residual.
    #[default]
    None,
    /// At the advective term, sg\[∇X_{s,t} q_s\].
    Advection,
}

/// The choices of EMD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Emd {
    /// Where the gradient stops.
    pub stop: EmdStop,
}

impl Method for Emd {
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
            EmdStop::None => Passes::of(jump, q),
            EmdStop::Advection => Passes::of(jump, q.and(jump)),
        }
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, frozen, batch, times, .. } = p;
        let (s, t) = (times.s.tensor(), times.t.tensor());
        let i_s = batch.i(&times.s)?;
        let q_s = p.q(s, &i_s)?.detach();
        let residual = match self.stop {
            EmdStop::None => {
                // ∂_s X + ∇X q_s is the derivative of X along (ds, dx) = (1, q_s).
                let along = model.jump_dual(&Dual::variable(s.clone())?, &t.into(), &Dual::new(i_s, q_s)?)?;
                along.tangent_or_zeros()?
            }
            EmdStop::Advection => {
                let (_, ds_x_st) = model.jump_ds(s, t, &i_s)?;
                let (_, advection) = frozen.jvp(s, t, &i_s, &q_s)?;
                (ds_x_st + advection.detach())? // ∂_s X + sg[ ∇X q_s ]
            }
        };
        Ok(batch.squared_norm(&residual)?.with_tangent(&residual)) // (1)
    }
}
