//! Consistency training and distillation in discrete time.
//!
//! L(θ) = E_s | X_{s,t}(I_s) − sg[ X_{u,t}(x_u) ] |²,  u = min(t, s + 1/n_steps),  t = 1        (1)
//!
//! Song, Dhariwal, Chen, Sutskever 2023, arXiv:2303.01469, definitions 1 and 2, eqs. (7) and (10):
//! x_u = I_u of the same pair for training, one solver step of the teacher's equation from I_s for distillation.
//! Every t works, which is the multi-time form; the paper's consistency function is X_{s,1}, with X_{1,1} = id.
//! With exact x_u the residual of (1) is zero at the truth. Consistency training is a regression instead:
//! its gradient is that of the limit up to a bias of the order of 1/n_steps, as the paper's theorem 2 says.
//! Cost: one plain forward, one off the tape, and the solver's.
//! Differs from the paper: the loss weight, the metric (Huber in later work) and the schedule of n_steps are the combination's.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::objective::OdeSolver;
use crate::times::At;
use crate::{AverageVelocity, Batch, Condition, Context, FlowMap, PerSample, Result, Times};

/// Where the second point of a pair on one trajectory comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Trajectory {
    /// I_u of the same noise and data: training without a teacher.
    #[default]
    Data,
    /// A step of Euler's method along the teacher's velocity.
    Euler,
    /// A step of Heun's method along the teacher's velocity.
    Heun,
    /// A step of the classical Runge-Kutta method along the teacher's velocity.
    Rk4,
}

impl Trajectory {
    /// The point at `times.u` on the trajectory of I_s, off the tape.
    ///
    /// # Errors
    /// [`crate::Error::NoTeacher`] where it needs one; as the teacher.
    pub(super) fn x_u(
        self,
        i_s: &Tensor,
        batch: &Batch<'_>,
        times: &Times,
        context: &Context<'_>,
        condition: Condition<'_>,
    ) -> Result<Tensor> {
        match self.solver() {
            None => batch.i(&times.u),
            Some(solver) => solver.solve(context.known()?, times, At::U, i_s, condition, 1),
        }
    }

    /// The solver of the teacher's equation, `None` for points of the data.
    pub(super) fn solver(self) -> Option<OdeSolver> {
        match self {
            Self::Data => None,
            Self::Euler => Some(OdeSolver::Euler),
            Self::Heun => Some(OdeSolver::Heun),
            Self::Rk4 => Some(OdeSolver::Rk4),
        }
    }
}

/// The consistency loss of each sample; u is the middle time of the batch.
///
/// # Errors
/// [`crate::Error::NoTeacher`] where the trajectory needs one; as the networks.
pub fn consistency<M, T>(
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
    let i_s = batch.i(&times.s)?;
    let x_u = trajectory.x_u(&i_s, batch, times, context, model.condition())?;
    let x_st = model.jump(s, t, &i_s)?;
    let x_ut = teacher.jump(u, t, &x_u)?.detach(); // sg[ X_{u,t}(x_u) ]
    batch.squared_norm(&(x_st - x_ut)?) // (1)
}
