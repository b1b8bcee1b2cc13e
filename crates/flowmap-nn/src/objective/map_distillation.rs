//! Map distillation: the flow map against a numerical solution of the teacher's equation.
//!
//! L(θ) = E_{s,t} | X_{s,t}(I_s) − Φ_{s,t}(I_s) |²,  Φ_{s,t} ≈ the solution of ẋ = q_τ(x) from s to t        (1)
//!
//! The regression on solver trajectories of Luhman, Luhman 2021, arXiv:2101.02388, for every pair (s, t).
//! Slow and sure: the target has the error of the solver and no other, and no derivative of the network is taken.
//! Cost: one plain forward; `n_steps` times the stages of the solver evaluations of the teacher.

use crate::objective::OdeSolver;
use crate::times::At;
use crate::{AverageVelocity, Batch, FlowMap, PerSample, Result, Teacher, Times};

/// The map distillation loss of each sample, with `n_steps` steps of `solver`.
///
/// # Errors
/// As the network and the teacher.
pub fn map_distillation<M>(
    model: FlowMap<'_, M>,
    q: &Teacher,
    batch: &Batch<'_>,
    times: &Times,
    solver: OdeSolver,
    n_steps: u32,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
{
    let i_s = batch.i(&times.s)?;
    let x_st = model.jump(times.s.tensor(), times.t.tensor(), &i_s)?;
    let phi_st = solver.solve(q, times, At::T, &i_s, model.condition(), n_steps)?;
    batch.squared_norm(&(x_st - phi_st.detach())?) // (1)
}
