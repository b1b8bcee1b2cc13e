//! SplitMeanFlow: the average velocity of an interval is the mean of the velocities of its two parts, by their lengths.
//!
//! L(θ) = E_{s,u,t} | v_{s,t}(I_s) − sg[ γ v_{s,u}(I_s) + (1 − γ) v_{u,t}(X_{s,u}(I_s)) ] |²,  γ = (u − s)/(t − s)        (1)
//!
//! Guo and others 2025, arXiv:2507.16884 (interval splitting consistency), in a time that runs from noise to data.
//! (1) is [`super::Psd`] in velocities with u uniform in (s, t): the same law, found again and named.
//! The paper also trains flow matching.
//! Cost: three plain forwards, two of them off the tape; no derivative.

use flowmap_core::MiddleTime;
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Pass, Psd, Trains};
use crate::times::Column;
use crate::{PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "split_mean_flow",
    title: "SplitMeanFlow",
    arxiv: "2507.16884",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::plain(2),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::Yes,
    when: "the name of PSD with a uniform middle time",
    recipe: include_str!("../../recipes/split_mean_flow.toml"),
    distilling: "",
};

/// SplitMeanFlow, which has no choices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitMeanFlow {}

impl Method for SplitMeanFlow {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn middle(&self) -> MiddleTime {
        MiddleTime::Uniform
    }

    fn columns(&self, step: u64) -> Vec<Column> {
        Psd::default().columns(step)
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        Psd::default().loss(p) // (1)
    }
}
