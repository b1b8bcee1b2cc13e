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
use flowmap_core::ode::{ButcherTableau, EULER, HEUN, RK4};
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
    /// Heun's method, two evaluations a step.
    #[default]
    Heun,
    /// The classical Runge-Kutta method, four evaluations a step.
    Rk4,
}

impl OdeSolver {
    /// The coefficients of the method.
    fn tableau(self) -> ButcherTableau {
        match self {
            Self::Euler => EULER,
            Self::Heun => HEUN,
            Self::Rk4 => RK4,
        }
    }

    /// The solution at the end `to` that is `x` at s, in `n_steps` equal steps.
    ///
    /// # Errors
    /// As the teacher.
    pub(super) fn solve(self, p: &Pass<'_>, to: At, x: &Tensor, n_steps: u32) -> Result<Tensor> {
        let ButcherTableau { c, a, w, .. } = self.tableau();
        let mut x = x.detach();
        for step in 0..n_steps.max(1) {
            let at = |part: f64| p.times.map(part_way(to, step, part, n_steps));
            let h = as_column(&(at(1.0)? - at(0.0)?)?, x.rank())?;
            let moved = |a: &[f64], k: &[Tensor]| -> Result<Tensor> {
                let Some((sum, factor)) = weighted_sum(a, k)? else { return Ok(x.clone()) };
                Ok((&x + (sum.broadcast_mul(&h)? * factor)?)?)
            };
            let mut k: Vec<Tensor> = Vec::with_capacity(c.len());
            for (c_i, a_i) in c.iter().zip(a) {
                k.push(p.q(&at(*c_i)?, &moved(a_i, &k)?)?.detach());
            }
            x = moved(w, &k)?;
        }
        Ok(x)
    }

    /// The times that [`OdeSolver::solve`] takes on its way.
    pub(super) fn times(self, to: At, n_steps: u32) -> Vec<JumpFunction> {
        // The times of the stages, which ascend, and the end.
        let mut parts = self.tableau().c.to_vec();
        parts.push(1.0);
        parts.dedup();
        let steps = 0..n_steps.max(1);
        steps.flat_map(|step| parts.iter().map(move |part| part_way(to, step, *part, n_steps))).collect()
    }
}

/// Σ_i a_i k_i as a sum and a factor before it, the first a_i that is not zero; `None` if all are zero.
///
/// Equal coefficients are added before they are multiplied: RK4 is 1/6 times (k_1 + k_4) + 2 (k_2 + k_3).
fn weighted_sum(a: &[f64], k: &[Tensor]) -> Result<Option<(Tensor, f64)>> {
    let mut sums: Vec<(f64, Tensor)> = Vec::new();
    for (a_i, k_i) in a.iter().zip(k).filter(|(a_i, _)| **a_i != 0.0) {
        match sums.iter_mut().find(|(of, _)| of == a_i) {
            Some((_, sum)) => *sum = (&*sum + k_i)?,
            None => sums.push((*a_i, k_i.clone())),
        }
    }
    let mut sums = sums.into_iter();
    let Some((factor, mut total)) = sums.next() else { return Ok(None) };
    for (a_i, sum) in sums {
        total = (total + (sum * (a_i / factor))?)?;
    }
    Ok(Some((total, factor)))
}

/// The time after `step` whole steps and the fraction `part` of the next, of `n_steps` steps.
fn part_way(to: At, step: u32, part: f64, n_steps: u32) -> JumpFunction {
    JumpFunction::part_way(to, (f64::from(step) + part) / f64::from(n_steps.max(1)))
}
