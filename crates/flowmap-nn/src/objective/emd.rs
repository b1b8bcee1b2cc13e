//! Eulerian map distillation (EMD) of a known velocity field q.
//!
//! L(θ) = E_{s,t} | ∂_s X_{s,t}(I_s) + ∇X_{s,t}(I_s) q_s(I_s) |²        (1)
//!
//! Boffi, Albergo, Vanden-Eijnden 2024, arXiv:2406.07507 (Eulerian map distillation).
//! (1) is convex in X. [`EmdStop::Advection`] stops the gradient at ∇X q, which spares the reverse pass through the
//! spatial derivative. The form that stops all but X itself is [`super::align_your_flow`].
//! Cost: one dual forward in (s, x) and one evaluation of the teacher;
//! stopping the advection splits the dual forward in two, the second of them off the tape.
//! Differs from the paper: the weight is left to the combination.

use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use crate::{AverageVelocity, Batch, FlowMap, PerSample, Result, Teacher, Times};

/// Where EMD stops the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmdStop {
    /// Nowhere: the full residual.
    #[default]
    None,
    /// At the advective term, sg\[∇X_{s,t} q_s\].
    Advection,
}

/// The EMD loss of each sample; `teacher` is the model off the tape, `q` the known flow.
///
/// # Errors
/// As the network and the teacher.
pub fn emd<M, T>(
    model: FlowMap<'_, M>,
    teacher: FlowMap<'_, T>,
    q: &Teacher,
    batch: &Batch<'_>,
    times: &Times,
    stop: EmdStop,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
    T: AverageVelocity + ?Sized,
{
    let (s, t) = (times.s.tensor(), times.t.tensor());
    let i_s = batch.i(&times.s)?;
    let q_s = q.velocity(s, &i_s, model.condition())?.detach();
    let residual = match stop {
        EmdStop::None => {
            // ∂_s X + ∇X q_s is the derivative of X along (ds, dx) = (1, q_s).
            let along = model.jump_dual(&Dual::variable(s.clone())?, &t.into(), &Dual::new(i_s, q_s)?)?;
            along.tangent_or_zeros()?
        }
        EmdStop::Advection => {
            let (_, ds_x_st) = model.jump_ds(s, t, &i_s)?;
            let (_, advection) = teacher.jvp(s, t, &i_s, &q_s)?;
            (ds_x_st + advection.detach())? // ∂_s X + sg[ ∇X q_s ]
        }
    };
    Ok(batch.squared_norm(&residual)?.with_tangent(&residual)) // (1)
}
