//! Consistency trajectory model (CTM): its soft consistency loss on jumps.
//!
//! L(θ) = E_{s,u,t} | X⁻_{t,1}(X_{s,t}(I_s)) − sg[ X⁻_{t,1}(X⁻_{u,t}(x_u)) ] |²        (1)
//!
//! Kim and others 2023, arXiv:2310.02279: both jumps to t are compared at the data, to which X⁻_{t,1} carries them;
//! ⁻ marks parameters that get no gradient, though it flows through the argument of the first X⁻_{t,1}.
//! x_u is a solver step of the teacher from s to u, with u uniform in (s, t); or it is I_u of the same pair, with u
//! near s, since far from it I_u is not on the flow's trajectory through I_s.
//! Precondition: the teacher for the stopped terms is off the tape ([`crate::ParamBuilder::frozen`]).
//! Cost: one plain forward and one through frozen parameters on the tape; two off it, and the solver's.
//! Differs from the paper: one solver step from s to u; the denoising and adversarial terms are other terms' business.

use flowmap_core::MiddleTime;
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Needs, Pass, Trains, Trajectory, consistency};
use crate::times::Column;
use crate::{PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "ctm",
    title: "Consistency trajectory models",
    arxiv: "2310.02279",
    on_tape: Evaluations::plain(2),
    off_tape: Evaluations::plain(2),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::No,
    when: "any jump, compared at the data",
    recipe: include_str!("../../recipes/ctm.toml"),
    distilling: include_str!("../../recipes/ctm.distill.toml"),
};

/// The choices of CTM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ctm {
    /// Where the second point comes from.
    pub trajectory: Trajectory,
}

impl Method for Ctm {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn needs(&self) -> Needs {
        self.trajectory.needs()
    }

    fn middle(&self) -> MiddleTime {
        match self.trajectory {
            // Points of one pair are on one trajectory of the flow only if they are near.
            Trajectory::Data => MiddleTime::Ahead { n_steps: consistency::N_STEPS },
            _ => MiddleTime::Uniform,
        }
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        self.trajectory.columns()
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, frozen, batch, times, .. } = p;
        let (s, u, t) = (times.s.tensor(), times.u.tensor(), times.t.tensor());
        let one = t.ones_like()?;
        let i_s = batch.i(&times.s)?;
        let x_u = self.trajectory.x_u(p, &i_s)?;
        let x_s1 = frozen.jump(t, &one, &model.jump(s, t, &i_s)?)?; // X⁻_{t,1}(X_{s,t}(I_s))
        let x_ut = frozen.jump(u, t, &x_u)?.detach();
        let x_u1 = frozen.jump(t, &one, &x_ut)?.detach(); // sg[ X⁻_{t,1}(X⁻_{u,t}(x_u)) ]
        batch.squared_norm(&(x_s1 - x_u1)?) // (1)
    }
}
