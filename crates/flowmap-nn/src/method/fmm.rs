//! Flow map matching (FMM): the two-time map learned directly, without a velocity field.
//!
//! With x = I_t and y = X_{t,s}(x):
//! Lagrangian:  L(θ) = E_{s,t} [ | ∂_t X_{s,t}(y) − İ_t |² + λ | X_{s,t}(y) − x |² ]        (1)
//! Eulerian:    L(θ) = E_{s,t} [ | ∇X_{s,t}(y) ∂_t X_{t,s}(x) + İ_t |² + λ | X_{s,t}(y) − x |² ]        (2)
//!
//! Boffi, Albergo, Vanden-Eijnden 2024, arXiv:2406.07507 (flow map matching), λ = 1 there.
//! (2) holds because X_{s,t}(X_{t,s}(x)) = x does not change with t: ∂_t X_{s,t}(y) + ∇X_{s,t}(y) ∂_t X_{t,s}(x) = 0.
//! The first terms are regressions: their minimum is the conditional variance of İ_t. The second is the inversion
//! term, zero where X_{t,s} is the inverse of X_{s,t}; all gradients flow.
//! The paper draws s and t from the whole square; here s <= t, and the jump back is the other half of it.
//! Cost: one plain and one dual forward (1), or two dual forwards in a row (2), all on the tape.

use candle_core::Tensor;
use flowmap_core::{MiddleTime, TimeDistribution};
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Pass, Trains};
use crate::times::{At, Column};
use crate::{Error, FlowMap, PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "fmm",
    title: "Flow map matching",
    arxiv: "2406.07507",
    on_tape: Evaluations::plain(1).and(Evaluations::dual(1)),
    off_tape: Evaluations::NONE,
    trains: Trains::Jumps,
    guidance: LearnsGuidance::No,
    when: "the map and its inverse, without a velocity",
    recipe: include_str!("../../recipes/fmm.toml"),
    distilling: "",
};

/// Which law of the flow map FMM fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FmmLaw {
    /// The Lagrangian equation, (1): the paper's choice.
    #[default]
    Lagrangian,
    /// The Eulerian equation, (2).
    Eulerian,
}

/// The choices of flow map matching.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fmm {
    /// Which law is fitted.
    pub law: FmmLaw,
    /// λ, the weight of the inversion term.
    pub inversion: f64,
}

impl Default for Fmm {
    /// The Lagrangian law with λ = 1, as in the paper.
    fn default() -> Self {
        Self { law: FmmLaw::Lagrangian, inversion: 1.0 }
    }
}

impl Method for Fmm {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        [Column::i(At::T), Column::di(At::T)].concat()
    }

    fn validate(&self, _times: &TimeDistribution, _middle: &MiddleTime) -> Result<()> {
        if self.inversion >= 0.0 && self.inversion.is_finite() {
            return Ok(());
        }
        let expected = "a number of at least 0";
        Err(Error::OutOfRange { key: "inversion", expected, found: self.inversion })
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, batch, times, .. } = p;
        let (s, t) = (times.s.tensor(), times.t.tensor());
        let x = batch.i(&times.t)?; // I_t
        let di_t = batch.di(&times.t)?;
        let (x_st, tangent, residual) = match self.law {
            FmmLaw::Lagrangian => {
                let y = model.jump(t, s, &x)?; // X_{t,s}(I_t)
                let (x_st, dt_x_st) = model.jump_dt(s, t, &y)?;
                let residual = (&dt_x_st - di_t)?;
                (x_st, dt_x_st, residual)
            }
            FmmLaw::Eulerian => {
                // The first time of the backward jump is t.
                let (y, dt_x_ts) = model.jump_ds(t, s, &x)?;
                let (x_st, advection) = jvp(model, s, t, y, dt_x_ts)?;
                let residual = (&advection + di_t)?;
                (x_st, advection, residual)
            }
        };
        let law = batch.squared_norm(&residual)?.with_tangent(&tangent);
        if self.inversion == 0.0 {
            return Ok(law);
        }
        law.add(&batch.squared_norm(&(x_st - x)?)?.scale(self.inversion)?) // (1), (2)
    }
}

/// X_{s,t}(y) and ∇X_{s,t}(y) · direction, both differentiable in y and the direction.
fn jvp(model: FlowMap<'_>, s: &Tensor, t: &Tensor, y: Tensor, direction: Tensor) -> Result<(Tensor, Tensor)> {
    let jump = model.jump_dual(&s.into(), &t.into(), &Dual::new(y, direction)?)?;
    let advection = jump.tangent_or_zeros()?;
    Ok((jump.into_parts().0, advection))
}
