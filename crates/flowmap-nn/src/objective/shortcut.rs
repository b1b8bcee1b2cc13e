//! Shortcut models: a step of width d is two steps of width d/2.
//!
//! L(θ) = E_{s,t} | v_{s,t}(I_s) − sg[ ½ v_{s,u}(I_s) + ½ v_{u,t}(I_s + (u − s) v_{s,u}(I_s)) ] |²,  u = (s + t)/2        (1)
//!
//! Frans, Hafner, Levine, Abbeel 2024, arXiv:2410.12557, eq. (5): t − s from {1, ½, ..., 1/n_steps}, n_steps = 128,
//! s on the grid of its width ([`flowmap_core::TimeDistribution::Dyadic`]).
//! The two half steps of the smallest width are taken with the velocity v_{s,s}, which flow matching learns: d = 0.
//! Above the smallest width it is PSD at the midpoint ([`super::psd`]).
//! The paper gives ⅛ of the batch to (1) and the rest to flow matching, and takes the target from an average (EMA).
//! Cost: three plain forwards, two of them off the tape; no derivative.
//! Differs from the paper: the network gets the end of the step in place of its width.
//! The clipping of the target to ±4 of the authors' code is the option `clip`.

use candle_core::Tensor;

use crate::batch::{TimeColumn, as_column};
use crate::{AverageVelocity, Batch, FlowMap, PerSample, Result, Times};

/// How much wider than the smallest width a step must be to have half steps of its own, up to rounding.
const WIDER: f64 = 1.0 + 1e-9;

/// The shortcut loss of each sample; `clip` bounds every number of the target by its absolute value.
///
/// The middle time is the midpoint whatever `times.u` says.
///
/// # Errors
/// As the network.
pub fn shortcut<M, T>(
    model: FlowMap<'_, M>,
    teacher: FlowMap<'_, T>,
    batch: &Batch<'_>,
    times: &Times,
    n_steps: u32,
    clip: Option<f64>,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
    T: AverageVelocity + ?Sized,
{
    let i_s = batch.i(&times.s)?;
    let v_st = model.average_velocity(times.s.tensor(), times.t.tensor(), &i_s)?;
    let target = two_half_steps(teacher, &i_s, times, n_steps)?;
    let target = match clip {
        Some(clip) => target.clamp(-clip, clip)?,
        None => target,
    };
    PerSample::squared_norm(&(v_st - target.detach())?) // (1)
}

/// ½ v_{s,u}(x) + ½ v_{u,t}(x + (u − s) v_{s,u}(x)).
fn two_half_steps<M>(model: FlowMap<'_, M>, x: &Tensor, times: &Times, n_steps: u32) -> Result<Tensor>
where
    M: AverageVelocity + ?Sized,
{
    let (s, t) = (&times.s, &times.t);
    let like = |host: Vec<f64>| TimeColumn::new(host, s.tensor().dtype(), s.tensor().device());
    let pair = |f: &dyn Fn(f64, f64) -> f64| s.host().iter().zip(t.host()).map(|(s, t)| f(*s, *t)).collect();
    let u = like(pair(&|s, t| 0.5 * (s + t)))?;
    // Where a half step ends for the network: at its end, or at its start for the smallest width, d = 0.
    let is_wide = |s: f64, t: f64| (t - s) * f64::from(n_steps) > WIDER;
    let first_end = like(pair(&|s, t| if is_wide(s, t) { 0.5 * (s + t) } else { s }))?;
    let second_end = like(pair(&|s, t| if is_wide(s, t) { t } else { 0.5 * (s + t) }))?;

    let v_su = model.average_velocity(s.tensor(), first_end.tensor(), x)?;
    let half = as_column(&(u.tensor() - s.tensor())?, x.rank())?;
    let x_su = (x + v_su.broadcast_mul(&half)?)?;
    let v_ut = model.average_velocity(u.tensor(), second_end.tensor(), &x_su)?;
    Ok(((v_su + v_ut)? * 0.5)?)
}
