//! Shortcut models: a step of width d is two steps of width d/2.
//!
//! L(θ) = E_{s,t} | v_{s,t}(I_s) − sg[ ½ v_{s,u}(I_s) + ½ v_{u,t}(I_s + (u − s) v_{s,u}(I_s)) ] |²,  u = (s + t)/2        (1)
//!
//! Frans, Hafner, Levine, Abbeel 2024, arXiv:2410.12557, eq. (5): t − s from {1, ½, ..., 1/n_steps}, n_steps = 128,
//! s on the grid of its width ([`flowmap_core::TimeDistribution::Dyadic`]).
//! The two half steps of the smallest width are taken with the velocity v_{s,s}, which flow matching learns: d = 0.
//! Above the smallest width it is PSD at the midpoint ([`super::psd`]).
//! The paper gives ⅛ of the batch to (1) and the rest to flow matching, and takes the target from an average (EMA).
//! Cost: three plain forwards, two of them off the tape; no derivative. With guidance two more off the tape.
//! Differs from the paper: the network gets the end of the step in place of its width.
//!
//! The authors' code does more, each of which is an option:
//!
//! - [`SmallestStep::Data`]: a step of the smallest width is flow matching, at times on its grid,
//!
//!   L(θ) = E_s | v_{s,s+1/n_steps}(I_s) − İ_s |²        (2)
//!
//!   and (1) starts at the width 2/n_steps, whose half steps (2) learns. Nothing then learns v_{s,s}.
//! - `guidance` w: where the half steps are of the width that flow matching learns, they are taken with
//!   v(·|∅) + w (v(·|c) − v(·|∅)), so that all wider steps learn the guided flow.        (3)
//! - [`flowmap_core::Widths::Counted`] of the times shares the widths out among the rows in place of drawing them, and
//!   `label_dropout = 0` of the term (1) leaves its rows their labels.
//! - `clip` bounds every number of the target of (1), `clip_point` those of the point between the half steps.

use candle_core::Tensor;
use flowmap_core::TimeDistribution;
use flowmap_dual::host::filled_like;
use serde::{Deserialize, Serialize};

use crate::batch::as_column;
use crate::times::JumpFn;
use crate::{AverageVelocity, Batch, Condition, Context, Error, FlowMap, PerSample, Result, Times};

/// The grid of the paper.
const N_STEPS: u32 = 128;
/// How much wider than the smallest width a step must be to have half steps of its own, up to rounding.
const WIDER: f64 = 1.0 + 1e-9;

/// How the smallest step of shortcut models is learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmallestStep {
    /// From two half steps with the velocity v_{s,s}: the paper's choice.
    #[default]
    Velocity,
    /// From the data, by flow matching (2): the choice of the authors' code.
    Data,
}

/// Choices of [`shortcut`], by default those of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shortcut {
    /// One over the smallest width, a power of two.
    pub n_steps: u32,
    /// How steps of the smallest width are learned.
    pub smallest: SmallestStep,
    /// Bound on the absolute value of every number of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Bound on the absolute value of every number of the point between two half steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_point: Option<f64>,
    /// w, the scale of guidance of the smallest half steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
}

impl Default for Shortcut {
    fn default() -> Self {
        Self::PAPER
    }
}

impl Shortcut {
    /// The choices of the paper.
    pub const PAPER: Self = Self {
        n_steps: N_STEPS,
        smallest: SmallestStep::Velocity,
        clip: None,
        clip_point: None,
        guidance: None,
    };

    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault; for a number of steps that is no power of two.
    pub fn validate(&self) -> Result<()> {
        TimeDistribution::dyadic(self.n_steps).validate()?;
        for (key, found) in
            [("clip", self.clip), ("clip_point", self.clip_point), ("guidance", self.guidance)]
        {
            let found = found.unwrap_or(1.0);
            if !(found > 0.0 && found.is_finite()) {
                return Err(Error::OutOfRange { key, expected: "a positive number", found });
            }
        }
        Ok(())
    }

    /// What it takes of the times beside themselves.
    pub(super) fn step_fns(&self) -> Vec<StepFn> {
        let mut all = StepFn::halves(self.n_steps).to_vec();
        all.extend(self.guide());
        all.extend((self.smallest == SmallestStep::Data).then_some(self.is_smallest()));
        all
    }

    /// One for a step of the smallest width.
    fn is_smallest(&self) -> StepFn {
        StepFn::IsNarrow { n_steps: self.n_steps, value: 1.0 }
    }

    /// w − 1 for a step whose half steps flow matching learns.
    fn guide(&self) -> Option<StepFn> {
        let n_steps = match self.smallest {
            SmallestStep::Velocity => self.n_steps,
            SmallestStep::Data => self.n_steps / 2,
        };
        self.guidance.map(|scale| StepFn::IsNarrow { n_steps, value: scale - 1.0 })
    }
}

/// A function of the times of a step from s to t.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum StepFn {
    /// Where the first half step ends and the second starts, u.
    Middle,
    /// The end of the first half step for the network: u, or s for the smallest width, d = 0.
    FirstEnd {
        /// One over the smallest width.
        n_steps: u32,
    },
    /// The end of the second half step for the network: t, or u for the smallest width.
    SecondEnd {
        /// One over the smallest width.
        n_steps: u32,
    },
    /// A number for steps that are no wider than a width, zero for others.
    IsNarrow {
        /// One over the width.
        n_steps: u32,
        /// The number.
        value: f64,
    },
}

impl StepFn {
    /// The times of the half steps.
    fn halves(n_steps: u32) -> [Self; 3] {
        [Self::Middle, Self::FirstEnd { n_steps }, Self::SecondEnd { n_steps }]
    }

    /// Its value for a step from `s` to `t`.
    pub(crate) fn at(self, s: f64, t: f64) -> f64 {
        let middle = 0.5 * (s + t);
        let is_wide = |n_steps: u32| (t - s) * f64::from(n_steps) > WIDER;
        match self {
            Self::Middle => middle,
            Self::FirstEnd { n_steps } if is_wide(n_steps) => middle,
            Self::FirstEnd { .. } => s,
            Self::SecondEnd { n_steps } if is_wide(n_steps) => t,
            Self::SecondEnd { .. } => middle,
            Self::IsNarrow { n_steps, .. } if is_wide(n_steps) => 0.0,
            Self::IsNarrow { value, .. } => value,
        }
    }

    /// For how many steps it is not zero.
    fn n_nonzero(self, times: &Times) -> usize {
        let steps = times.s.host().iter().zip(times.t.host());
        steps.filter(|(s, t)| self.at(**s, **t) != 0.0).count()
    }
}

/// The shortcut loss of each sample.
///
/// The middle time is the midpoint whatever `times.u` says.
///
/// # Errors
/// [`Error::Labels`] for guidance without labels or without the context's label for "none"; as the network.
pub fn shortcut<M, T>(
    model: FlowMap<'_, M>,
    teacher: FlowMap<'_, T>,
    batch: &Batch<'_>,
    times: &Times,
    context: &Context<'_>,
    choices: &Shortcut,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
    T: AverageVelocity + ?Sized,
{
    let i_s = batch.i(&times.s)?;
    let v_st = model.average_velocity(times.s.tensor(), times.t.tensor(), &i_s)?;
    let n_smallest = match choices.smallest {
        SmallestStep::Velocity => 0,
        SmallestStep::Data => choices.is_smallest().n_nonzero(times),
    };
    let target = if n_smallest == times.s.host().len() {
        batch.di(&times.s)? // (2)
    } else {
        let two = two_half_steps(teacher, &i_s, times, context, choices)?;
        let two = clipped(two, choices.clip)?; // (1)
        match n_smallest {
            0 => two,
            _ => {
                let is_smallest = times.map(JumpFn::Step(choices.is_smallest()))?;
                let is_smallest = is_smallest.ne(&filled_like(&is_smallest, 0.0)?)?;
                let is_smallest = as_column(&is_smallest, i_s.rank())?.broadcast_as(i_s.shape())?;
                is_smallest.where_cond(&batch.di(&times.s)?, &two)?
            }
        }
    };
    batch.squared_norm(&(v_st - target.detach())?)
}

/// ½ v_{s,u}(x) + ½ v_{u,t}(x + (u − s) v_{s,u}(x)), guided where the choices say so.
fn two_half_steps<T>(
    teacher: FlowMap<'_, T>,
    x: &Tensor,
    times: &Times,
    context: &Context<'_>,
    choices: &Shortcut,
) -> Result<Tensor>
where
    T: AverageVelocity + ?Sized,
{
    let guide = choices.guide().filter(|guide| guide.n_nonzero(times) > 0);
    let guide = match guide {
        None => None,
        Some(guide) => {
            let null_label = context.null_label.ok_or(Error::Labels { n_classes: 0, found: "without" })?;
            let share = as_column(&times.map(JumpFn::Step(guide))?, x.rank())?;
            Some((share, teacher.condition().hidden(null_label)?))
        }
    };
    let velocity = |start: &Tensor, end: &Tensor, x: &Tensor| -> Result<Tensor> {
        let v = teacher.average_velocity(start, end, x)?;
        let Some((share, hidden)) = &guide else { return Ok(v) };
        let v_null = teacher.with_condition(Condition::from(hidden)).average_velocity(start, end, x)?;
        Ok((&v + (&v - v_null)?.broadcast_mul(share)?)?) // (3), as v + (w − 1) (v − v(·|∅))
    };
    let [u, first_end, second_end] =
        StepFn::halves(choices.n_steps).map(|time| times.map(JumpFn::Step(time)));
    let (s, u) = (times.s.tensor(), u?);
    let v_su = velocity(s, &first_end?, x)?;
    let half = as_column(&(&u - s)?, x.rank())?;
    let x_su = clipped((x + v_su.broadcast_mul(&half)?)?, choices.clip_point)?;
    let v_ut = velocity(&u, &second_end?, &x_su)?;
    Ok(((v_su + v_ut)? * 0.5)?)
}

/// Every number within the bound, where there is one.
fn clipped(x: Tensor, bound: Option<f64>) -> Result<Tensor> {
    Ok(match bound {
        Some(bound) => x.maximum(&filled_like(&x, -bound)?)?.minimum(&filled_like(&x, bound)?)?,
        None => x,
    })
}
