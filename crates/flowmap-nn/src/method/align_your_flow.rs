//! Align Your Flow (AYF): map distillation with the gradient stopped at all but the map itself.
//!
//! AYF-EMD:  g = (q_s(I_s) − v⁻_{s,t}) + r (t − s) (∂_s v⁻_{s,t} + ∇v⁻_{s,t} q_s)(I_s)        (1)
//! AYF-LMD:  g = q_t(X⁻_{s,t}) − v⁻_{s,t} − r (t − s) ∂_t v⁻_{s,t}(I_s)        (2)
//! L(θ) = E_{s,t} | v_{s,t}(I_s) − sg[ v⁻_{s,t}(I_s) + g/(|g| + c) ] |²        (3)
//!
//! Sabour, Fidler, Kreis 2025, arXiv:2506.14603, theorems 3.2 and 3.3, in a time that runs from noise to data.
//! With r = 1, (1) is (∂_s + q_s·∇) X_{s,t} and (2) is q_t(X_{s,t}) − ∂_t X_{s,t}: the residuals of EMD and LMD.
//! Their gradient is ∇_θ E[ w sg[−g]·X_{s,t} ]; the gradient of (3) is this one with w = 2/(t − s), as X = x + (t − s) v.
//! v⁻ is the network off the tape, all of it: the present parameters, or their average (`train.target_ema`), in which
//! case v⁻ in the target is the average too. With the model's own v there nothing would pull v back to the target.
//! c = 0.1, in the unit of the batch, normalizes the tangent (0: it is left as it is); r grows from 0 to 0.99 over the first steps.
//! The value of (3) is |g|²/(|g| + c)², which says little; its gradient is what counts.
//! Cost: one plain forward; off the tape one dual forward and one evaluation of the teacher.
//! Differs from the paper: v stands for its F; the autoguided teacher is up to the caller.

use candle_core::Tensor;
use flowmap_core::{MiddleTime, TimeDistribution};
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Needs, Pass, Trains};
use crate::batch::as_column;
use crate::loss::normalized;
use crate::times::{At, Column};
use crate::{Batch, Error, PerSample, Result};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "align_your_flow",
    title: "Align Your Flow",
    arxiv: "2506.14603",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::dual(1).and(Evaluations::teacher(1)),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::No,
    when: "large networks: no reverse pass through a derivative",
    recipe: include_str!("../../recipes/align_your_flow.toml"),
    distilling: "",
};

/// Which law of the flow map gives the tangent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AyfLaw {
    /// The Eulerian equation, (1): the paper's choice.
    #[default]
    Eulerian,
    /// The Lagrangian equation, (2).
    Lagrangian,
}

/// The choices of Align Your Flow, by default those of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlignYourFlow {
    /// Which law gives the tangent.
    pub law: AyfLaw,
    /// Number of steps over which r grows; 0 to start with its end value.
    pub warmup: u64,
    /// The end value of r.
    pub r: f64,
    /// c of the tangent's normalization; 0 for none.
    pub norm_offset: f64,
}

impl Default for AlignYourFlow {
    fn default() -> Self {
        Self { law: AyfLaw::Eulerian, warmup: 10_000, r: 0.99, norm_offset: 0.1 }
    }
}

impl AlignYourFlow {
    /// The method without its two tricks, r = 1 and the tangent as it is: the bare gradients of the two theorems.
    pub const BARE: Self = Self { law: AyfLaw::Eulerian, warmup: 0, r: 1.0, norm_offset: 0.0 };

    /// r at a step.
    fn r_at(&self, step: u64) -> f64 {
        if self.warmup == 0 { self.r } else { self.r * (step as f64 / self.warmup as f64).min(1.0) }
    }
}

impl Method for AlignYourFlow {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn needs(&self) -> Needs {
        Needs::VELOCITY
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        Column::i(At::S)
    }

    fn validate(&self, _times: &TimeDistribution, _middle: &MiddleTime) -> Result<()> {
        if !(0.0..=1.0).contains(&self.r) {
            return Err(Error::OutOfRange { key: "r", expected: "a number from 0 to 1", found: self.r });
        }
        if !(self.norm_offset >= 0.0 && self.norm_offset.is_finite()) {
            let expected = "a number of at least 0";
            return Err(Error::OutOfRange { key: "norm_offset", expected, found: self.norm_offset });
        }
        Ok(())
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, frozen, batch, times, .. } = p;
        let (s, t) = (times.s.tensor(), times.t.tensor());
        let i_s = batch.i(&times.s)?;
        let r_width = as_column(&((t - s)? * self.r_at(p.step()))?, i_s.rank())?;
        let v_st = model.average_velocity(s, t, &i_s)?;
        let (v_minus, g) = match self.law {
            AyfLaw::Eulerian => {
                let q_s = p.q(s, &i_s)?.detach();
                let along = Dual::new(i_s, q_s.clone())?;
                let dv = frozen.average_velocity_dual(&Dual::variable(s.clone())?, &t.into(), &along)?;
                let g = ((q_s - dv.primal())? + dv.tangent_or_zeros()?.broadcast_mul(&r_width)?)?; // (1)
                (dv.into_parts().0, g)
            }
            AyfLaw::Lagrangian => {
                let dv =
                    frozen.average_velocity_dual(&s.into(), &Dual::variable(t.clone())?, &(&i_s).into())?;
                let x_st = (i_s + dv.primal().broadcast_mul(&as_column(&(t - s)?, dv.dims().len())?)?)?;
                let q_t = p.q(t, &x_st.detach())?;
                let g = ((q_t - dv.primal())? - dv.tangent_or_zeros()?.broadcast_mul(&r_width)?)?; // (2)
                (dv.into_parts().0, g)
            }
        };
        toward(batch, &v_st, &v_minus, &g, self.norm_offset)
    }
}

/// | v − sg[ v⁻ + g/(|g| + c) ] |², whose gradient is 2 (v − v⁻ − g/(|g| + c)) · ∂v.
pub(super) fn toward(
    batch: &Batch<'_>,
    v: &Tensor,
    v_minus: &Tensor,
    g: &Tensor,
    norm_offset: f64,
) -> Result<PerSample> {
    let step = if norm_offset > 0.0 { normalized(g, norm_offset, batch.unit)? } else { g.detach() };
    let target = (v_minus.detach() + step)?; // sg[ v⁻ + g/(|g| + c) ]
    Ok(batch.squared_norm(&(v - target)?)?.with_tangent(g)) // (3)
}
