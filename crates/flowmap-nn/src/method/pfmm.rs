//! Progressive flow map matching (PFMM): K jumps of a trained map in one.
//!
//! L(θ) = E_{s,t} | X_{s,t}(I_s) − (Q_{t_{K−1},t} ∘ … ∘ Q_{s,t_1})(I_s) |²        (1)
//!
//! Boffi, Albergo, Vanden-Eijnden 2024, arXiv:2406.07507 (progressive flow map matching), Q the teacher's flow map.
//! With K = 2 the middle time is the u of the batch; more steps are equally long.
//! Cost: one plain forward, K of the teacher; no derivative. Needs a teacher whose flow map is known.

use flowmap_core::{MiddleTime, TimeDistribution};
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Needs, Pass, Trains};
use crate::times::{At, Column, JumpFunction};
use crate::{PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "pfmm",
    title: "Progressive flow map matching",
    arxiv: "2406.07507",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::teacher(2),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::No,
    when: "a trained map of short jumps, to lengthen them",
    recipe: include_str!("../../recipes/pfmm.toml"),
    distilling: "",
};

/// The choices of PFMM.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pfmm {
    /// K, the number of the teacher's jumps.
    pub n_steps: u32,
}

impl Default for Pfmm {
    /// K = 2.
    fn default() -> Self {
        Self { n_steps: 2 }
    }
}

impl Method for Pfmm {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn needs(&self) -> Needs {
        Needs::MAP
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        Column::and_jumps(Column::i(At::S), (1..self.n_steps).map(|step| part_way(step, self.n_steps)))
    }

    fn validate(&self, _times: &TimeDistribution, _middle: &MiddleTime) -> Result<()> {
        super::at_least_one_step(self.n_steps)
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, batch, times, .. } = p;
        let q = p.teacher()?;
        let n_steps = self.n_steps;
        let i_s = batch.i(&times.s)?;
        let x_st = model.jump(times.s.tensor(), times.t.tensor(), &i_s)?;
        let mut x = i_s;
        let mut from = times.s.tensor().clone();
        for step in 1..=n_steps {
            let to = match (step, n_steps) {
                (1, 2) => times.u.tensor().clone(),
                (step, n) if step == n => times.t.tensor().clone(),
                (step, n) => times.map(part_way(step, n))?,
            };
            x = q.jump(&from, &to, &x, model.condition())?;
            from = to;
        }
        batch.squared_norm(&(x_st - x.detach())?) // (1)
    }
}

/// The end of jump number `step` of `n` equal ones.
fn part_way(step: u32, n: u32) -> JumpFunction {
    JumpFunction::part_way(At::T, f64::from(step) / f64::from(n))
}
