//! Map distillation: the flow map against a numerical solution of the teacher's equation.
//!
//! L(θ) = E_{s,t} | X_{s,t}(I_s) − Φ_{s,t}(I_s) |²,  Φ_{s,t} ≈ the solution of ẋ = q_τ(x) from s to t        (1)
//!
//! The regression on solver trajectories of Luhman, Luhman 2021, arXiv:2101.02388, for every pair (s, t).
//! Slow and sure: the target has the error of the solver and no other, and no derivative of the network is taken.
//! Cost: one plain forward; `n_steps` times the stages of the solver evaluations of the teacher.

use flowmap_core::{MiddleTime, TimeDistribution};
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Needs, OdeSolver, Pass, Trains};
use crate::times::{At, Column};
use crate::{PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "map_distillation",
    title: "Map distillation",
    arxiv: "2101.02388",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::teacher(16),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::No,
    when: "a cheap velocity field, or a first pre-training",
    recipe: include_str!("../../recipes/map_distillation.toml"),
    distilling: "",
};

/// The choices of map distillation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MapDistillation {
    /// The solver.
    pub solver: OdeSolver,
    /// The number of the solver's steps.
    pub n_steps: u32,
}

impl Default for MapDistillation {
    /// Eight steps of Heun's method.
    fn default() -> Self {
        Self { solver: OdeSolver::Heun, n_steps: 8 }
    }
}

impl Method for MapDistillation {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn needs(&self) -> Needs {
        Needs::VELOCITY
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        Column::and_jumps(Column::i(At::S), self.solver.times(At::T, self.n_steps))
    }

    fn validate(&self, _times: &TimeDistribution, _middle: &MiddleTime) -> Result<()> {
        super::at_least_one_step(self.n_steps)
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, batch, times, .. } = p;
        let i_s = batch.i(&times.s)?;
        let x_st = model.jump(times.s.tensor(), times.t.tensor(), &i_s)?;
        let phi_st = self.solver.solve(p, At::T, &i_s, self.n_steps)?;
        batch.squared_norm(&(x_st - phi_st.detach())?) // (1)
    }
}
