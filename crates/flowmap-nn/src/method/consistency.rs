//! Consistency training and distillation in discrete time.
//!
//! L(θ) = E_s | X_{s,t}(I_s) − sg[ X_{u,t}(x_u) ] |²,  u = min(t, s + 1/n_steps),  t = 1        (1)
//!
//! Song, Dhariwal, Chen, Sutskever 2023, arXiv:2303.01469, definitions 1 and 2, eqs. (7) and (10):
//! x_u = I_u of the same pair for training, one solver step of the teacher's equation from I_s for distillation.
//! Every t works, which is the multi-time form; the paper's consistency function is X_{s,1}, with X_{1,1} = id.
//! With exact x_u the residual of (1) is zero at the truth. Consistency training is a regression instead:
//! its gradient equals the gradient of the limit up to a bias of the order of 1/n_steps (theorem 2 of the paper).
//! Cost: one plain forward, one off the tape, and the solver's.
//! Differs from the paper: the loss weight, the metric (Huber in later work) and the schedule of n_steps are the combination's.

use candle_core::Tensor;
use flowmap_core::{MiddleTime, TimeDistribution};
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Needs, OdeSolver, Pass, Trains};
use crate::times::{At, Column};
use crate::{Error, PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "consistency",
    title: "Consistency models",
    arxiv: "2303.01469",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::plain(1),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::No,
    when: "jumps to the data only, on a grid of times",
    recipe: include_str!("../../recipes/consistency.toml"),
    distilling: include_str!("../../recipes/consistency.distill.toml"),
};

/// One over the time between the points, whose number in training goes from 2 to 150.
pub(super) const N_STEPS: u32 = 64;

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
    /// The point at the middle time on the trajectory of I_s, off the tape.
    ///
    /// # Errors
    /// [`Error::NoTeacher`] if a solver has none; as the teacher.
    pub(super) fn x_u(self, p: &Pass<'_>, i_s: &Tensor) -> Result<Tensor> {
        match self.solver() {
            None => p.batch.i(&p.times.u),
            Some(solver) => solver.solve(p, At::U, i_s, 1),
        }
    }

    /// What [`Trajectory::x_u`] needs of a run.
    pub(super) fn needs(self) -> Needs {
        if self == Self::Data { Needs::NOTHING } else { Needs::VELOCITY }
    }

    /// The columns of I_s and [`Trajectory::x_u`].
    pub(super) fn columns(self) -> Vec<Column> {
        match self.solver() {
            None => [Column::i(At::S), Column::i(At::U)].concat(),
            Some(solver) => Column::and_jumps(Column::i(At::S), solver.times(At::U, 1)),
        }
    }

    /// The solver of the teacher's equation, `None` for points of the data.
    fn solver(self) -> Option<OdeSolver> {
        match self {
            Self::Data => None,
            Self::Euler => Some(OdeSolver::Euler),
            Self::Heun => Some(OdeSolver::Heun),
            Self::Rk4 => Some(OdeSolver::Rk4),
        }
    }
}

/// The choices of consistency models.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Consistency {
    /// Where the second point comes from.
    pub trajectory: Trajectory,
    /// One over the time between the two points.
    pub n_steps: u32,
}

impl Default for Consistency {
    /// Training from data; the paper's number of steps goes from 2 to 150.
    fn default() -> Self {
        Self { trajectory: Trajectory::Data, n_steps: N_STEPS }
    }
}

impl Method for Consistency {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn needs(&self) -> Needs {
        self.trajectory.needs()
    }

    fn times(&self) -> TimeDistribution {
        TimeDistribution::FixedEnd {}
    }

    fn middle(&self) -> MiddleTime {
        MiddleTime::Ahead { n_steps: self.n_steps }
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        self.trajectory.columns()
    }

    fn validate(&self, _times: &TimeDistribution, middle: &MiddleTime) -> Result<()> {
        super::at_least_one_step(self.n_steps)?;
        match *middle {
            MiddleTime::Ahead { n_steps } if n_steps != self.n_steps => {
                let expected = "the same number as in `middle`";
                Err(Error::OutOfRange { key: "n_steps", expected, found: self.n_steps.into() })
            }
            _ => Ok(()),
        }
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, frozen, batch, times, .. } = p;
        let (s, u, t) = (times.s.tensor(), times.u.tensor(), times.t.tensor());
        let i_s = batch.i(&times.s)?;
        let x_u = self.trajectory.x_u(p, &i_s)?;
        let x_st = model.jump(s, t, &i_s)?;
        let x_ut = frozen.jump(u, t, &x_u)?.detach(); // sg[ X_{u,t}(x_u) ]
        batch.squared_norm(&(x_st - x_ut)?) // (1)
    }
}
