//! Lagrangian map distillation (LMD) of a known velocity field q.
//!
//! L(θ) = E_{s,t} | ∂_t X_{s,t}(I_s) − q_t(X_{s,t}(I_s)) |²        (1)
//!
//! Boffi, Albergo, Vanden-Eijnden 2024, arXiv:2406.07507 (Lagrangian map distillation).
//! The gradient also flows through the argument of q; [`LmdStop::Teacher`] stops it there, which is the form of
//! self-distillation and asks nothing of the field but its values.
//! Cost: one dual forward and one evaluation of the teacher, on the tape unless it is stopped.
//! Differs from the paper: the weight is left to the combination.

use serde::{Deserialize, Serialize};

use crate::{AverageVelocity, Batch, FlowMap, PerSample, Result, Teacher, Times};

/// Where LMD stops the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LmdStop {
    /// Nowhere: the paper's choice.
    #[default]
    None,
    /// At the velocity, sg\[q_t(X_{s,t})\].
    Teacher,
}

/// The LMD loss of each sample.
///
/// # Errors
/// As the network and the teacher.
pub fn lmd<M>(
    model: FlowMap<'_, M>,
    q: &Teacher,
    batch: &Batch<'_>,
    times: &Times,
    stop: LmdStop,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
{
    let (s, t) = (times.s.tensor(), times.t.tensor());
    let (x_st, dt_x_st) = model.jump_dt(s, t, &batch.i(&times.s)?)?;
    let q_t = match stop {
        LmdStop::None => q.velocity(t, &x_st, model.condition())?,
        LmdStop::Teacher => q.velocity(t, &x_st.detach(), model.condition())?.detach(), // sg[ q_t(X_{s,t}) ]
    };
    Ok(batch.squared_norm(&(&dt_x_st - q_t)?)?.with_tangent(&dt_x_st)) // (1)
}
