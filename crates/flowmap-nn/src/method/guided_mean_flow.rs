//! Mean Flow with classifier-free guidance in its target.
//!
//! ṽ_s = ω İ_s + κ v_{s,s}(I_s | c) + (1 − ω − κ) v_{s,s}(I_s | ∅)        (1)
//! L(θ) = E_{s,t} | v_{s,t}(I_s | c) − sg[ ṽ_s + (t − s) (∂_s v_{s,t} + ∇v_{s,t} ṽ_s)(I_s | c) ] |²        (2)
//!
//! Geng, Deng, Bai, Kolter, He 2025, arXiv:2505.13447, section 4.2, and the mixed target of its appendix.
//! The network learns the guided field, so that one evaluation samples with guidance; its scale is w = ω/(1 − κ).
//! A network that takes w as an input learns every scale: then ω = w (1 − κ) row by row, and v(·|∅) is taken at w = 1.
//! If the label is hidden (∅) or s is outside of `interval`, ṽ_s = İ_s.
//! Cost: Mean Flow, and two plain forwards off the tape.

use flowmap_core::{MiddleTime, TimeDistribution};
use flowmap_dual::host::filled_like;
use serde::{Deserialize, Serialize};

use super::mean_flow::mean_flow_along;
use super::{Card, Evaluations, LearnsGuidance, Method, Needs, Pass, Trains};
use crate::batch::as_column;
use crate::times::{At, Column, TimeFunction};
use crate::{Error, PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "guided_mean_flow",
    title: "Mean Flow with guidance",
    arxiv: "2505.13447",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::plain(2).and(Evaluations::dual(1)),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::Yes,
    when: "one-step conditional models of one scale",
    recipe: include_str!("../../recipes/guided_mean_flow.toml"),
    distilling: "",
};

/// ω and κ of the mixed target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuidedMeanFlow {
    /// ω, the share of the pair's velocity.
    pub omega: f64,
    /// κ, the share of the network's own conditional velocity.
    pub kappa: f64,
    /// The first and the last time s with guidance.
    pub interval: [f64; 2],
}

impl Default for GuidedMeanFlow {
    /// ω = 1, κ = ½ at all times: guidance of scale 2.
    fn default() -> Self {
        Self { omega: 1.0, kappa: 0.5, interval: [0.0, 1.0] }
    }
}

/// One from the first time of an interval to the last and zero elsewhere.
fn within(interval: [f64; 2]) -> TimeFunction {
    TimeFunction::new("guided_mean_flow.within", interval, |s, [first, last], _| {
        f64::from((first..=last).contains(&s))
    })
}

impl Method for GuidedMeanFlow {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn needs(&self) -> Needs {
        Needs { labels: true, ..Needs::NOTHING }
    }

    fn times(&self) -> TimeDistribution {
        TimeDistribution::LogitNormal { mean: 0.4, std: 1.0 }
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        let within = Column::Of(At::S, within(self.interval));
        [&Column::i(At::S)[..], &Column::di(At::S), &[within]].concat()
    }

    fn validate(&self, _times: &TimeDistribution, _middle: &MiddleTime) -> Result<()> {
        let range = |key, good, expected, found| {
            if good { Ok(()) } else { Err(Error::OutOfRange { key, expected, found }) }
        };
        range("omega", self.omega > 0.0 && self.omega.is_finite(), "a positive number", self.omega)?;
        range("kappa", (0.0..1.0).contains(&self.kappa), "a number from 0 to 1, 1 excluded", self.kappa)?;
        let [first, last] = self.interval;
        range("interval", (0.0..=1.0).contains(&first), "times from 0 to 1", first)?;
        range("interval", (first..=1.0).contains(&last), "times in order, from 0 to 1", last)
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, frozen, batch, times, .. } = p;
        let (Some(labels), Some(null_label)) = (model.condition().labels, p.context.null_label) else {
            return Err(Error::Labels { n_classes: 0, found: "without" });
        };
        let hidden = model.condition().hidden(null_label)?;
        let s = times.s.tensor();
        let (i_s, di_s) = (batch.i(&times.s)?, batch.di(&times.s)?);
        let v_class = frozen.velocity(s, &i_s)?;
        let v_null = frozen.with_condition(&hidden).velocity(s, &i_s)?;
        let Self { omega, kappa, interval } = *self;
        let mixed = match model.condition().guidance {
            None => (((&di_s * omega)? + (v_class * kappa)?)? + (v_null * (1.0 - omega - kappa))?)?, // (1)
            Some(w) => {
                let omega = (as_column(w, i_s.rank())? * (1.0 - kappa))?; // ω = w (1 − κ)
                let rest = ((1.0 - kappa) - &omega)?;
                ((di_s.broadcast_mul(&omega)? + (v_class * kappa)?)? + v_null.broadcast_mul(&rest)?)?
            }
        };
        let is_within = times.s.map(within(interval), batch.interpolant)?;
        let is_within = is_within.ne(&filled_like(&is_within, 0.0)?)?;
        let has_label = labels.ne(&filled_like(labels, null_label.into())?)?;
        let is_guided = as_column(&(has_label * is_within)?, i_s.rank())?;
        let v_s = is_guided.broadcast_as(di_s.shape())?.where_cond(&mixed, &di_s)?.detach();
        mean_flow_along(p, i_s, v_s.clone(), v_s) // (2)
    }
}
