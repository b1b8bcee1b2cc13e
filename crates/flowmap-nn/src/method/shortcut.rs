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
//! - `clip` bounds every number of the target of (1), `clip_point` every number of the point between the half steps.

use candle_core::Tensor;
use flowmap_core::{MiddleTime, TimeDistribution};
use flowmap_dual::host::filled_like;
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Needs, Pass, Passes, Trains};
use crate::batch::as_column;
use crate::times::{At, Column, JumpFunction};
use crate::{Condition, Error, PerSample, Result, Times};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "shortcut",
    title: "Shortcut models",
    arxiv: "2410.12557",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::plain(2),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::With("smallest = \"velocity\" and no guidance"),
    when: "steps that halve: 1, 2, 4, ..., 128",
    recipe: include_str!("../../recipes/shortcut.toml"),
    distilling: "",
};

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

/// The choices of shortcut models, by default those of the paper.
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

    /// The functions of times that the loss takes.
    fn step_functions(&self) -> Vec<JumpFunction> {
        let mut all = self.halves().to_vec();
        all.extend(self.guide());
        all.extend((self.smallest == SmallestStep::Data).then_some(self.is_smallest()));
        all
    }

    /// One for a step of the smallest width.
    fn is_smallest(&self) -> JumpFunction {
        if_narrow(self.n_steps, 1.0)
    }

    /// w − 1 for a step whose half steps flow matching learns.
    fn guide(&self) -> Option<JumpFunction> {
        let n_steps = match self.smallest {
            SmallestStep::Velocity => self.n_steps,
            SmallestStep::Data => self.n_steps / 2,
        };
        self.guidance.map(|scale| if_narrow(n_steps, scale - 1.0))
    }

    /// u and the ends of the half steps for the network.
    fn halves(&self) -> [JumpFunction; 3] {
        [MIDDLE, first_end(self.n_steps), second_end(self.n_steps)]
    }

    /// ½ v_{s,u}(x) + ½ v_{u,t}(x + (u − s) v_{s,u}(x)), guided if the choices say so.
    fn two_half_steps(&self, p: &Pass<'_>, x: &Tensor) -> Result<Tensor> {
        let &Pass { frozen, times, .. } = p;
        let guide = match self.guide().filter(|guide| n_nonzero(*guide, times) > 0) {
            None => None,
            Some(guide) => {
                let null_label = p.null_label()?;
                let share = as_column(&times.map(guide)?, x.rank())?;
                Some((share, frozen.condition().hidden(null_label)?))
            }
        };
        let velocity = |start: &Tensor, end: &Tensor, x: &Tensor| -> Result<Tensor> {
            let v = frozen.average_velocity(start, end, x)?;
            let Some((share, hidden)) = &guide else { return Ok(v) };
            let v_null = frozen.with_condition(Condition::from(hidden)).average_velocity(start, end, x)?;
            Ok((&v + (&v - v_null)?.broadcast_mul(share)?)?) // (3), as v + (w − 1) (v − v(·|∅))
        };
        let [u, first_end, second_end] = self.halves().map(|time| times.map(time));
        let (s, u) = (times.s.tensor(), u?);
        let v_su = velocity(s, &first_end?, x)?;
        let half = as_column(&(&u - s)?, x.rank())?;
        let x_su = clipped((x + v_su.broadcast_mul(&half)?)?, self.clip_point)?;
        let v_ut = velocity(&u, &second_end?, &x_su)?;
        Ok(((v_su + v_ut)? * 0.5)?)
    }
}

/// Where the first half step ends and the second starts, u.
const MIDDLE: JumpFunction = JumpFunction::new("shortcut.middle", [0.0; 2], |[s, _, t], _| 0.5 * (s + t));

/// The end of the first half step for the network: u, or s for the smallest width, d = 0.
fn first_end(n_steps: u32) -> JumpFunction {
    JumpFunction::new("shortcut.first_end", [n_steps.into(), 0.0], |[s, _, t], [n_steps, _]| {
        if is_wide(s, t, n_steps) { 0.5 * (s + t) } else { s }
    })
}

/// The end of the second half step for the network: t, or u for the smallest width.
fn second_end(n_steps: u32) -> JumpFunction {
    JumpFunction::new("shortcut.second_end", [n_steps.into(), 0.0], |[s, _, t], [n_steps, _]| {
        if is_wide(s, t, n_steps) { t } else { 0.5 * (s + t) }
    })
}

/// `value` for steps that are no wider than 1/n_steps, zero for others.
fn if_narrow(n_steps: u32, value: f64) -> JumpFunction {
    JumpFunction::new("shortcut.if_narrow", [n_steps.into(), value], |[s, _, t], [n_steps, value]| {
        if is_wide(s, t, n_steps) { 0.0 } else { value }
    })
}

fn is_wide(s: f64, t: f64, n_steps: f64) -> bool {
    (t - s) * n_steps > WIDER
}

/// For how many jumps a function is not zero.
fn n_nonzero(f: JumpFunction, times: &Times) -> usize {
    let steps = times.s.host().iter().zip(times.t.host());
    steps.filter(|(s, t)| f.at([**s, **s, **t]) != 0.0).count()
}

impl Method for Shortcut {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn needs(&self) -> Needs {
        Needs { labels: self.guidance.is_some(), ..Needs::NOTHING }
    }

    fn times(&self) -> TimeDistribution {
        TimeDistribution::dyadic(self.n_steps)
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        let own = self.step_functions();
        match self.smallest {
            SmallestStep::Velocity => Column::and_jumps(Column::i(At::S), own),
            SmallestStep::Data => Column::and_jumps([Column::i(At::S), Column::di(At::S)].concat(), own),
        }
    }

    fn validate(&self, times: &TimeDistribution, _middle: &MiddleTime) -> Result<()> {
        TimeDistribution::dyadic(self.n_steps).validate()?;
        for (key, found) in
            [("clip", self.clip), ("clip_point", self.clip_point), ("guidance", self.guidance)]
        {
            let found = found.unwrap_or(1.0);
            if !(found > 0.0 && found.is_finite()) {
                return Err(Error::OutOfRange { key, expected: "a positive number", found });
            }
        }
        match *times {
            // What flow matching learns need not be learned from two half steps.
            TimeDistribution::Dyadic { n_steps, .. }
                if self.smallest == SmallestStep::Data && n_steps == self.n_steps / 2 =>
            {
                Ok(())
            }
            TimeDistribution::Dyadic { n_steps, .. } | TimeDistribution::Grid { n_steps }
                if n_steps != self.n_steps =>
            {
                let expected = "the same number as in `times`";
                Err(Error::OutOfRange { key: "n_steps", expected, found: self.n_steps.into() })
            }
            _ => Ok(()),
        }
    }

    fn passes(&self, times: &TimeDistribution) -> Passes {
        let passes = CARD.passes();
        match (self.smallest, times) {
            // Every row has its target from the data.
            (SmallestStep::Data, TimeDistribution::Grid { .. }) => Passes { off_tape: 0.0, ..passes },
            _ if self.guidance.is_some() => Passes { off_tape: 2.0 * passes.off_tape, ..passes },
            _ => passes,
        }
    }

    fn learns_guidance(&self) -> bool {
        self.smallest == SmallestStep::Velocity && self.guidance.is_none()
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, batch, times, .. } = p;
        let i_s = batch.i(&times.s)?;
        let v_st = model.average_velocity(times.s.tensor(), times.t.tensor(), &i_s)?;
        let n_smallest = match self.smallest {
            SmallestStep::Velocity => 0,
            SmallestStep::Data => n_nonzero(self.is_smallest(), times),
        };
        let target = if n_smallest == times.s.host().len() {
            batch.di(&times.s)? // (2)
        } else {
            let two = self.two_half_steps(p, &i_s)?;
            let two = clipped(two, self.clip)?; // (1)
            match n_smallest {
                0 => two,
                _ => {
                    let is_smallest = times.map(self.is_smallest())?;
                    let is_smallest = is_smallest.ne(&filled_like(&is_smallest, 0.0)?)?;
                    let is_smallest = as_column(&is_smallest, i_s.rank())?.broadcast_as(i_s.shape())?;
                    is_smallest.where_cond(&batch.di(&times.s)?, &two)?
                }
            }
        };
        batch.squared_norm(&(v_st - target.detach())?)
    }
}

/// Every number within the bound, if there is one.
fn clipped(x: Tensor, bound: Option<f64>) -> Result<Tensor> {
    Ok(match bound {
        Some(bound) => x.maximum(&filled_like(&x, -bound)?)?.minimum(&filled_like(&x, bound)?)?,
        None => x,
    })
}
