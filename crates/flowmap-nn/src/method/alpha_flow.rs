//! α-Flow: from trajectory flow matching (α = 1) to Mean Flow (α → 0).
//!
//! L(θ) = E_{s,t} α⁻¹ | v_{s,t}(I_s) − sg[ α İ_s + (1 − α) v_{u,t}(x_u) ] |²,
//! u = s + α (t − s),  x_u = I_s + (u − s) İ_s        (1)
//!
//! Zhang and others 2025, arXiv:2510.20771, in a time that runs from noise to data.
//! α = 1 regresses every v_{s,t} on İ_s; α = ½ is a shortcut whose first half is the pair's own straight line;
//! as α → 0 the gradient becomes that of Mean Flow, which takes over below the clamp: the residual of (1) over α tends to
//! Mean Flow's r. A norm ρ makes α ρ(|residual/α|²) of (1), whose gradient tends to that of ρ(|r|²). With the adaptive
//! norm of p = 1 the weight of the residual's square is α/(|residual|² + α² ε), the weight of the paper with c = α² ε.
//! α(k) = 1 − sigmoid( γ ((k − begin)/(end − begin) − ½) ), rounded to 0 or 1 within `clamp` of them.
//! Cost: two plain forwards, one of them off the tape; in the end the cost of Mean Flow.

use flowmap_core::{MiddleTime, TimeDistribution};
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, MeanFlow, Method, Pass, Trains};
use crate::batch::as_column;
use crate::times::{At, Column, JumpFunction};
use crate::{Error, PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "alpha_flow",
    title: "α-Flow",
    arxiv: "2510.20771",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::plain(1),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::No,
    when: "Mean Flow that starts slowly",
    recipe: include_str!("../../recipes/alpha_flow.toml"),
    distilling: "",
};

/// The choices of α-Flow: how α falls from 1 to 0 over the steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlphaFlow {
    /// The step where the transition begins.
    pub begin: u64,
    /// The step at which the transition ends.
    pub end: u64,
    /// γ, how steep it is in between.
    pub gamma: f64,
    /// How near to 0 or 1 an α counts as 0 or 1.
    pub clamp: f64,
}

impl Default for AlphaFlow {
    /// γ = 25 and clamp 0.005 as in the paper; the transition over the first 10 000 steps.
    fn default() -> Self {
        Self { begin: 0, end: 10_000, gamma: 25.0, clamp: 5e-3 }
    }
}

impl AlphaFlow {
    /// α at a step.
    pub fn alpha(&self, step: u64) -> f64 {
        let progress = (step as f64 - self.begin as f64) / (self.end as f64 - self.begin as f64);
        let alpha = 1.0 / (1.0 + (self.gamma * (progress - 0.5)).exp());
        match alpha {
            alpha if alpha < self.clamp => 0.0,
            alpha if alpha > 1.0 - self.clamp => 1.0,
            alpha => alpha,
        }
    }
}

impl Method for AlphaFlow {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn times(&self) -> TimeDistribution {
        TimeDistribution::LogitNormal { mean: 0.4, std: 1.0 }
    }

    fn columns(&self, step: u64) -> Vec<Column> {
        let pair = [Column::i(At::S), Column::di(At::S)].concat();
        match self.alpha(step) {
            0.0 | 1.0 => pair,
            alpha => Column::and_jumps(pair, [JumpFunction::part_way(At::T, alpha)]),
        }
    }

    fn validate(&self, _times: &TimeDistribution, _middle: &MiddleTime) -> Result<()> {
        let range = |key, good, expected, found| {
            if good { Ok(()) } else { Err(Error::OutOfRange { key, expected, found }) }
        };
        range("end", self.end > self.begin, "a step after `begin`", self.end as f64)?;
        range("gamma", self.gamma > 0.0 && self.gamma.is_finite(), "a positive number", self.gamma)?;
        range("clamp", self.clamp > 0.0 && self.clamp < 0.5, "a number between 0 and 0.5", self.clamp)
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let alpha = self.alpha(p.step());
        if alpha == 0.0 {
            return MeanFlow::default().loss(p);
        }
        toward_later_average(p, alpha)
    }
}

/// (1) for a given α.
pub(super) fn toward_later_average(p: &Pass<'_>, alpha: f64) -> Result<PerSample> {
    let &Pass { model, frozen, batch, times, .. } = p;
    let (s, t) = (times.s.tensor(), times.t.tensor());
    let (i_s, di_s) = (batch.i(&times.s)?, batch.di(&times.s)?);
    let v_st = model.average_velocity(s, t, &i_s)?;
    let target = if alpha == 1.0 {
        di_s
    } else {
        let u = times.map(JumpFunction::part_way(At::T, alpha))?;
        let straight = di_s.broadcast_mul(&as_column(&(&u - s)?, i_s.rank())?)?;
        let v_ut = frozen.average_velocity(&u, t, &(i_s + straight)?)?;
        ((di_s * alpha)? + (v_ut * (1.0 - alpha))?)? // α İ_s + (1 − α) v_{u,t}(x_u)
    };
    let losses = batch.squared_norm(&(v_st - target.detach())?)?.scale(alpha.recip())?; // (1)
    Ok(losses.with_part(alpha))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_falls_from_one_to_zero() {
        let choices = AlphaFlow { begin: 100, end: 300, ..AlphaFlow::default() };
        assert_eq!(choices.alpha(0), 1.0);
        assert_eq!(choices.alpha(100), 1.0);
        assert_eq!(choices.alpha(200), 0.5);
        assert_eq!(choices.alpha(300), 0.0);
        let alphas: Vec<f64> = (0..400).map(|step| choices.alpha(step)).collect();
        assert!(alphas.windows(2).all(|pair| pair[0] >= pair[1]));
    }
}
