//! Terminal velocity matching (TVM): the velocity at the end of a jump is the flow's.
//!
//! L(θ) = E_{s,t} [ 1[s ≠ t] | ∂_t X_{s,t}(I_s) − sg[ b_t(X_{s,t}(I_s)) ] |² + | v_{t,t}(I_t) − İ_t |² ]        (1)
//!
//! Zhou and others 2025, arXiv:2511.19797, in a time that runs from noise to data: s is where the jump starts.
//! The first term is Lagrangian self-distillation ([`super::lsd`]), the second flow matching at the end time of the
//! same jump. The paper takes b from an average of the parameters (EMA 0.99); here it is the teacher's, whatever that is.
//! Cost: one dual and one plain forward on the tape, one plain forward off it.
//! Differs from the paper: its times ("gap") and its weight 1/w² under guidance are left to the combination.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, FlowMatching, LearnsGuidance, Lsd, LsdStop, Method, Pass, Trains};
use crate::times::{At, Column};
use crate::{PerSample, Result, Times};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "tvm",
    title: "Terminal velocity matching",
    arxiv: "2511.19797",
    on_tape: Evaluations::plain(1).and(Evaluations::dual(1)),
    off_tape: Evaluations::plain(1),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::Yes,
    when: "Lagrangian self-distillation by itself, no second term",
    recipe: include_str!("../../recipes/tvm.toml"),
    distilling: "",
};

/// Terminal velocity matching, which has no choices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tvm {}

impl Method for Tvm {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        [Column::i(At::S), Column::i(At::T), Column::di(At::T)].concat()
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { times, .. } = p;
        let terminal = Lsd { stop: LsdStop::Target }.loss(p)?;
        let off_diagonal = off_diagonal(times)?.to_dtype(terminal.tensor().dtype())?; // 1[s ≠ t]
        terminal.times(&off_diagonal)?.add(&FlowMatching {}.loss(p)?) // (1)
    }
}

/// One where s ≠ t and zero elsewhere, `(B,)`.
fn off_diagonal(times: &Times) -> Result<Tensor> {
    Ok(times.s.tensor().broadcast_ne(times.t.tensor())?)
}
