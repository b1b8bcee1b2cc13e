//! Progressive self-distillation (PSD), by the semigroup law.
//!
//! L(θ) = E_{s,u,t} | v_{s,t}(I_s) − sg[ γ v_{s,u}(I_s) + (1 − γ) v_{u,t}(X_{s,u}(I_s)) ] |²,  γ = (u − s)/(t − s)        (1)
//! L(θ) = E_{s,u,t} | X_{s,t}(I_s) − sg[ X_{u,t}(X_{s,u}(I_s)) ] |²        (2)
//!
//! Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825, section 2 (semigroup).
//! (2) is (1) times (t − s)². The paper trains (1), with u the midpoint (PSD-M) or uniform (PSD-U);
//! its γ stands for our 1 − γ. Shortcut models are PSD-M on a dyadic grid.
//! Cost: three plain forwards, no derivative.

use candle_core::Tensor;
use flowmap_core::TimeDistribution;
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Pass, Passes, Trains};
use crate::batch::as_column;
use crate::times::{At, Column, JumpFunction};
use crate::{FlowMap, PerSample, Result, Times};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "psd",
    title: "Progressive self-distillation",
    arxiv: "2505.18825",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::plain(2),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::Yes,
    when: "if a network has no derivative",
    recipe: include_str!("../../recipes/psd.toml"),
    distilling: "",
};

/// Whether PSD compares velocities (1) or maps (2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PsdForm {
    /// Average velocities, eq. (1).
    #[default]
    Velocity,
    /// Flow maps, eq. (2).
    Map,
}

/// Where PSD stops the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PsdStop {
    /// At the composed two steps: the paper's choice.
    #[default]
    #[serde(alias = "teacher")]
    Target,
    /// At the parameters of the composed two steps: the gradient flows through the point X_{s,u} between them alone.
    Parameters,
    /// Nowhere.
    None,
}

/// The choices of PSD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Psd {
    /// What is compared.
    pub form: PsdForm,
    /// Where the gradient stops.
    pub stop: PsdStop,
}

impl Method for Psd {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        Column::and_jumps(Column::i(At::S), [JumpFunction::GAMMA])
    }

    fn passes(&self, _times: &TimeDistribution) -> Passes {
        match self.stop {
            PsdStop::Target => CARD.passes(),
            PsdStop::Parameters => Passes::of(Evaluations::plain(3), Evaluations::plain(1)),
            PsdStop::None => Passes::of(Evaluations::plain(3), Evaluations::NONE),
        }
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, frozen, batch, times, .. } = p;
        let (s, t) = (times.s.tensor(), times.t.tensor());
        let i_s = batch.i(&times.s)?;
        let v_st = model.average_velocity(s, t, &i_s)?;
        let v_two = match self.stop {
            PsdStop::Target => two_steps(frozen, None, &i_s, times)?.detach(), // sg[ γ v_{s,u} + (1 − γ) v_{u,t}(X_{s,u}) ]
            PsdStop::Parameters => two_steps(frozen, Some(model), &i_s, times)?, // γ v⁻_{s,u} + (1 − γ) v⁻_{u,t}(X_{s,u})
            PsdStop::None => two_steps(model, None, &i_s, times)?,
        };
        let residual = (v_st - v_two)?;
        batch.squared_norm(&match self.form {
            PsdForm::Velocity => residual, // (1)
            PsdForm::Map => residual.broadcast_mul(&as_column(&(t - s)?, i_s.rank())?)?, // (2)
        })
    }
}

/// γ v_{s,u}(x) + (1 − γ) v_{u,t}(X_{s,u}(x)): the average velocity of two jumps;
/// `first` is the model that jumps to X_{s,u}, if that is another one.
fn two_steps(v: FlowMap<'_>, first: Option<FlowMap<'_>>, x: &Tensor, times: &Times) -> Result<Tensor> {
    let (s, u, t) = (times.s.tensor(), times.u.tensor(), times.t.tensor());
    let column = |time: &Tensor| as_column(time, x.rank());
    let gamma = times.gamma()?;
    let v_su = v.average_velocity(s, u, x)?;
    let to_u = match first {
        Some(first) => first.average_velocity(s, u, x)?,
        None => v_su.clone(),
    };
    let x_su = (x + to_u.broadcast_mul(&column(&(u - s)?)?)?)?;
    let v_ut = v.average_velocity(u, t, &x_su)?;
    Ok((v_su.broadcast_mul(&column(&gamma)?)? + v_ut.broadcast_mul(&column(&(1.0 - gamma)?)?)?)?)
}
