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

use crate::objective::Trajectory;
use crate::{AverageVelocity, Batch, Context, FlowMap, PerSample, Result, Times};

/// The soft consistency loss of each sample.
///
/// # Errors
/// [`crate::Error::NoTeacher`] where the trajectory needs one; as the networks.
pub fn ctm<M, T>(
    model: FlowMap<'_, M>,
    teacher: FlowMap<'_, T>,
    batch: &Batch<'_>,
    times: &Times,
    context: &Context<'_>,
    trajectory: Trajectory,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
    T: AverageVelocity + ?Sized,
{
    let (s, u, t) = (times.s.tensor(), times.u.tensor(), times.t.tensor());
    let one = t.ones_like()?;
    let i_s = batch.i(&times.s)?;
    let x_u = trajectory.x_u(&i_s, batch, times, context, model.condition())?;
    let x_s1 = teacher.jump(t, &one, &model.jump(s, t, &i_s)?)?; // X⁻_{t,1}(X_{s,t}(I_s))
    let x_ut = teacher.jump(u, t, &x_u)?.detach();
    let x_u1 = teacher.jump(t, &one, &x_ut)?.detach(); // sg[ X⁻_{t,1}(X⁻_{u,t}(x_u)) ]
    batch.squared_norm(&(x_s1 - x_u1)?) // (1)
}
