//! Eulerian self-distillation (ESD).
//!
//! L(θ) = E_{s,t} | ∂_s X_{s,t}(I_s) + ∇X_{s,t}(I_s) b_s(I_s) |²        (1)
//!
//! Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825, section 2 (Eulerian equation), b_s = v_{s,s}.
//! Where the gradient stops is a choice: [`EsdStop`].
//! Cost: one dual forward in (s, x) and one plain forward; stopping the advection splits the dual forward in two,
//! the second of them off the tape.
//! Differs from the paper: the weight w_{s,t} is left to the combination.

use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use crate::{AverageVelocity, Batch, FlowMap, PerSample, Result, Times};

/// Where ESD stops the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EsdStop {
    /// At the whole advective term, sg\[∇X_{s,t} b_s\]: the paper's choice.
    #[default]
    Advection,
    /// At the velocity only, ∇X_{s,t} sg\[b_s\].
    Velocity,
    /// Nowhere.
    None,
}

/// The ESD loss of each sample.
///
/// # Errors
/// As the network.
pub fn esd<M, T>(
    model: FlowMap<'_, M>,
    teacher: FlowMap<'_, T>,
    batch: &Batch<'_>,
    times: &Times,
    stop: EsdStop,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
    T: AverageVelocity + ?Sized,
{
    let (s, t) = (times.s.tensor(), times.t.tensor());
    let i_s = batch.i(&times.s)?;
    let b_s = match stop {
        EsdStop::Advection | EsdStop::Velocity => teacher.velocity(s, &i_s)?.detach(), // sg[ b_s(I_s) ]
        EsdStop::None => model.velocity(s, &i_s)?,
    };
    let residual = match stop {
        EsdStop::Advection => {
            let (_, ds_x_st) = model.jump_ds(s, t, &i_s)?;
            let (_, advection) = teacher.jvp(s, t, &i_s, &b_s)?;
            (ds_x_st + advection.detach())? // ∂_s X + sg[ ∇X b_s ]
        }
        EsdStop::Velocity | EsdStop::None => {
            // ∂_s X + ∇X b_s is the derivative of X along (ds, dx) = (1, b_s).
            let along = model.jump_dual(&Dual::variable(s.clone())?, &t.into(), &Dual::new(i_s, b_s)?)?;
            along.tangent_or_zeros()?
        }
    };
    Ok(batch.squared_norm(&residual)?.with_tangent(&residual)) // (1)
}
