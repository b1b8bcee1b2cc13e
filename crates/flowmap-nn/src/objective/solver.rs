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

use crate::batch::{TimeColumn, as_column};
use crate::{Condition, Result, Teacher};

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
    /// The solution at `t` that is `x` at `s`, in `n_steps` equal steps.
    ///
    /// # Errors
    /// As the teacher.
    pub fn solve(
        self,
        q: &Teacher,
        s: &TimeColumn,
        t: &TimeColumn,
        x: &Tensor,
        condition: Condition<'_>,
        n_steps: u32,
    ) -> Result<Tensor> {
        let n = f64::from(n_steps.max(1));
        let mut x = x.detach();
        for step in 0..n_steps.max(1) {
            let at = |part: f64| TimeColumn::between(s, t, (f64::from(step) + part) / n);
            let (start, middle, end) = (at(0.0)?, at(0.5)?, at(1.0)?);
            let h = as_column(&(end.tensor() - start.tensor())?, x.rank())?;
            let k = |time: &TimeColumn, x: &Tensor| -> Result<Tensor> {
                Ok(q.velocity(time.tensor(), x, condition)?.detach())
            };
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
                    let k_2 = k(&middle, &moved(&k_1, 0.5)?)?;
                    let k_3 = k(&middle, &moved(&k_2, 0.5)?)?;
                    let k_4 = k(&end, &moved(&k_3, 1.0)?)?;
                    moved(&((k_1 + k_4)? + ((k_2 + k_3)? * 2.0)?)?, 1.0 / 6.0)?
                }
            };
        }
        Ok(x)
    }
}
