//! Explicit Runge-Kutta methods on the velocity field dx/dt = b_t(x).
//!
//! k_i = b_{s + c_i h}(x + h Σ_{j<i} a_ij k_j),  x ← x + h Σ_i w_i k_i,  h = t − s
//!
//! Hairer, Nørsett, Wanner, Solving Ordinary Differential Equations I, section II.1, eq. (1.8).
//! The method is a table of flowmap-core; this file is the engine.
//! Cost: one evaluation per stage.

use candle_core::Tensor;
use flowmap_core::ode::ButcherTableau;
use flowmap_nn::FlowMap;

use super::{Sampler, time_column};
use crate::Result;

/// A Runge-Kutta method as a sampler.
#[derive(Clone, Copy, Debug)]
pub struct RungeKutta(pub ButcherTableau);

impl Sampler for RungeKutta {
    fn step(&self, model: FlowMap<'_>, s: f64, t: f64, x: &Tensor) -> Result<Tensor> {
        let ButcherTableau { c, a, w, .. } = self.0;
        let h = t - s;
        let mut k: Vec<Tensor> = Vec::with_capacity(c.len());
        for (c_i, a_i) in c.iter().zip(a) {
            let x_i = advance(x, h, a_i, &k)?;
            let t_i = s + c_i * h;
            k.push(model.starting_at(t_i).velocity(&time_column(t_i, x)?, &x_i)?);
        }
        advance(x, h, w, &k)
    }

    fn evaluations_per_step(&self) -> usize {
        self.0.c.len()
    }
}

/// x + h Σ_j a_j k_j.
fn advance(x: &Tensor, h: f64, a: &[f64], k: &[Tensor]) -> Result<Tensor> {
    let mut x = x.clone();
    for (a_j, k_j) in a.iter().zip(k).filter(|(a_j, _)| **a_j != 0.0) {
        x = (x + (k_j * (h * a_j))?)?;
    }
    Ok(x)
}
