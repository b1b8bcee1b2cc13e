//! Progressive self-distillation (PSD), by the semigroup law.
//!
//! L(θ) = E_{s,u,t} | v_{s,t}(I_s) − sg[ γ v_{s,u}(I_s) + (1 − γ) v_{u,t}(X_{s,u}(I_s)) ] |²,  γ = (u − s)/(t − s)        (1)
//! L(θ) = E_{s,u,t} | X_{s,t}(I_s) − sg[ X_{u,t}(X_{s,u}(I_s)) ] |²        (2)
//!
//! Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825, section 2 (semigroup).
//! (2) is (1) times (t − s)². The paper trains (1), with u the midpoint (PSD-M) or uniform (PSD-U);
//! its γ stands for our 1 − γ. Shortcut models are PSD-M on a dyadic grid.
//! Cost: three plain forwards, no derivative.

use serde::{Deserialize, Serialize};

use crate::batch::as_column;
use crate::{AverageVelocity, Batch, FlowMap, PerSample, Result, Times};

/// Whether PSD compares velocities (1) or maps (2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PsdForm {
    /// Average velocities, eq. (1).
    #[default]
    Velocity,
    /// Flow maps, eq. (2).
    Map,
}

/// Where PSD stops the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PsdStop {
    /// At the composed two steps: the paper's choice.
    #[default]
    Teacher,
    /// Nowhere.
    None,
}

/// The PSD loss of each sample.
///
/// # Errors
/// As the network.
pub fn psd<M, T>(
    model: FlowMap<'_, M>,
    teacher: FlowMap<'_, T>,
    batch: &Batch<'_>,
    times: &Times,
    form: PsdForm,
    stop: PsdStop,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
    T: AverageVelocity + ?Sized,
{
    let (s, t) = (times.s.tensor(), times.t.tensor());
    let i_s = batch.i(&times.s)?;
    let v_st = model.average_velocity(s, t, &i_s)?;
    let v_two = match stop {
        PsdStop::Teacher => two_steps(teacher, &i_s, times)?.detach(), // sg[ γ v_{s,u} + (1 − γ) v_{u,t}(X_{s,u}) ]
        PsdStop::None => two_steps(model, &i_s, times)?,
    };
    let residual = (v_st - v_two)?;
    batch.squared_norm(&match form {
        PsdForm::Velocity => residual, // (1)
        PsdForm::Map => residual.broadcast_mul(&as_column(&(t - s)?, i_s.rank())?)?, // (2)
    })
}

/// γ v_{s,u}(x) + (1 − γ) v_{u,t}(X_{s,u}(x)): the average velocity of two jumps.
fn two_steps<M>(model: FlowMap<'_, M>, x: &candle_core::Tensor, times: &Times) -> Result<candle_core::Tensor>
where
    M: AverageVelocity + ?Sized,
{
    let (s, u, t) = (times.s.tensor(), times.u.tensor(), times.t.tensor());
    let column = |time: &candle_core::Tensor| as_column(time, x.rank());
    let gamma = times.gamma()?;
    let v_su = model.average_velocity(s, u, x)?;
    let x_su = (x + v_su.broadcast_mul(&column(&(u - s)?)?)?)?;
    let v_ut = model.average_velocity(u, t, &x_su)?;
    Ok((v_su.broadcast_mul(&column(&gamma)?)? + v_ut.broadcast_mul(&column(&(1.0 - gamma)?)?)?)?)
}
