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
use flowmap_dual::host::filled_like;

use crate::batch::as_column;
use crate::times::JumpFn;
use crate::{AverageVelocity, Batch, FlowMap, PerSample, Result, Times};

/// How much wider than the smallest width a step must be to have half steps of its own, up to rounding.
const WIDER: f64 = 1.0 + 1e-9;

/// A time of the two half steps of a jump from s to t.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HalfStep {
    /// Where the first ends and the second starts, u.
    Middle,
    /// The end of the first for the network: u, or s for the smallest width, d = 0.
    FirstEnd {
        /// One over the smallest width.
        n_steps: u32,
    },
    /// The end of the second for the network: t, or u for the smallest width.
    SecondEnd {
        /// One over the smallest width.
        n_steps: u32,
    },
}

impl HalfStep {
    /// Those of [`shortcut`].
    pub(super) fn all(n_steps: u32) -> [Self; 3] {
        [Self::Middle, Self::FirstEnd { n_steps }, Self::SecondEnd { n_steps }]
    }

    /// The time for a jump from `s` to `t`.
    pub(crate) fn at(self, s: f64, t: f64) -> f64 {
        let middle = 0.5 * (s + t);
        let is_wide = |n_steps: u32| (t - s) * f64::from(n_steps) > WIDER;
        match self {
            Self::Middle => middle,
            Self::FirstEnd { n_steps } => {
                if is_wide(n_steps) {
                    middle
                } else {
                    s
                }
            }
            Self::SecondEnd { n_steps } => {
                if is_wide(n_steps) {
                    t
                } else {
                    middle
                }
            }
        }
    }
}

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
        Some(clip) => target.maximum(&filled_like(&target, -clip)?)?.minimum(&filled_like(&target, clip)?)?,
        None => target,
    };
    PerSample::squared_norm(&(v_st - target.detach())?) // (1)
}

/// ½ v_{s,u}(x) + ½ v_{u,t}(x + (u − s) v_{s,u}(x)).
fn two_half_steps<M>(model: FlowMap<'_, M>, x: &Tensor, times: &Times, n_steps: u32) -> Result<Tensor>
where
    M: AverageVelocity + ?Sized,
{
    let [u, first_end, second_end] = HalfStep::all(n_steps).map(|time| times.map(JumpFn::HalfStep(time)));
    let (s, u) = (times.s.tensor(), u?);
    let v_su = model.average_velocity(s, &first_end?, x)?;
    let half = as_column(&(&u - s)?, x.rank())?;
    let x_su = (x + v_su.broadcast_mul(&half)?)?;
    let v_ut = model.average_velocity(&u, &second_end?, &x_su)?;
    Ok(((v_su + v_ut)? * 0.5)?)
}
