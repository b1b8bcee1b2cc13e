//! Steps of the teacher's equation ẋ = q_t(x), for targets of distillation.
//!
//! | solver | x(t + h) − x(t) | order |
//! |---|---|---|
//! | Euler | h q_t(x) | 1 |
//! | Heun | (h/2) (k_1 + k_2), k_1 = q_t(x), k_2 = q_{t+h}(x + h k_1) | 2 |
//! | RK4 | (h/6) (k_1 + 2 k_2 + 2 k_3 + k_4), the classical one | 4 |
//!
//! Every sample has its own s, t and step (t − s)/n. Nothing is recorded for a backward pass.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::Pass;
use crate::Result;
use crate::batch::as_column;
use crate::times::{At, JumpFunction};

/// A solver of fixed steps for the teacher's equation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OdeSolver {
    /// Explicit Euler, one evaluation a step.
    Euler,
    /// Heun's, two evaluations a step.
    #[default]
    Heun,
    /// The classical one of Runge and Kutta, four evaluations a step.
    Rk4,
}

impl OdeSolver {
    /// The solution at the end `to` that is `x` at s, in `n_steps` equal steps.
    ///
    /// # Errors
    /// As the teacher.
    pub(super) fn solve(self, p: &Pass<'_>, to: At, x: &Tensor, n_steps: u32) -> Result<Tensor> {
        let mut x = x.detach();
        for step in 0..n_steps.max(1) {
            let at = |part: f64| p.times.map(part_way(to, step, part, n_steps));
            let (start, end) = (at(0.0)?, at(1.0)?);
            let h = as_column(&(&end - &start)?, x.rank())?;
            let k = |time: &Tensor, x: &Tensor| -> Result<Tensor> { Ok(p.q(time, x)?.detach()) };
            let moved =
                |k: &Tensor, part: f64| -> Result<Tensor> { Ok((&x + (k.broadcast_mul(&h)? * part)?)?) };
            let k_1 = k(&start, &x)?;
            x = match self {
                Self::Euler => moved(&k_1, 1.0)?,
                Self::Heun => {
                    let k_2 = k(&end, &moved(&k_1, 1.0)?)?;
                    moved(&(k_1 + k_2)?, 0.5)?
                }
                Self::Rk4 => {
                    let middle = at(0.5)?;
                    let k_2 = k(&middle, &moved(&k_1, 0.5)?)?;
                    let k_3 = k(&middle, &moved(&k_2, 0.5)?)?;
                    let k_4 = k(&end, &moved(&k_3, 1.0)?)?;
                    moved(&((k_1 + k_4)? + ((k_2 + k_3)? * 2.0)?)?, 1.0 / 6.0)?
                }
            };
        }
        Ok(x)
    }

    /// The times that [`OdeSolver::solve`] takes on its way.
    pub(super) fn times(self, to: At, n_steps: u32) -> Vec<JumpFunction> {
        let parts: &[f64] = match self {
            Self::Euler | Self::Heun => &[0.0, 1.0],
            Self::Rk4 => &[0.0, 0.5, 1.0],
        };
        let steps = 0..n_steps.max(1);
        steps.flat_map(|step| parts.iter().map(move |part| part_way(to, step, *part, n_steps))).collect()
    }
}

/// The time a part of a step after the steps before it, of `n_steps` in all.
fn part_way(to: At, step: u32, part: f64, n_steps: u32) -> JumpFunction {
    JumpFunction::part_way(to, (f64::from(step) + part) / f64::from(n_steps.max(1)))
}
