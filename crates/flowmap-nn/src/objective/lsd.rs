//! Lagrangian self-distillation (LSD).
//!
//! L(θ) = E_{s,t} | ∂_t X_{s,t}(I_s) − sg[ b_t(X_{s,t}(I_s)) ] |²        (1)
//!
//! Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825, section 2 (Lagrangian equation).
//! The gradient flows through the derivative in t; with [`LsdStop::None`] also through b_t and its argument.
//! Cost: one dual forward and one plain forward.
//! Differs from the paper: the weight w_{s,t} is left to the combination.

use serde::{Deserialize, Serialize};

use crate::{AverageVelocity, Batch, FlowMap, PerSample, Result, Times};

/// Where LSD stops the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LsdStop {
    /// At the velocity b_t(X_{s,t}): the paper's choice.
    #[default]
    Teacher,
    /// Nowhere.
    None,
}

/// The LSD loss of each sample.
///
/// # Errors
/// As the network.
pub fn lsd<M, T>(
    model: FlowMap<'_, M>,
    teacher: FlowMap<'_, T>,
    batch: &Batch<'_>,
    times: &Times,
    stop: LsdStop,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
    T: AverageVelocity + ?Sized,
{
    let (s, t) = (times.s.tensor(), times.t.tensor());
    let i_s = batch.i(&times.s)?;
    let (x_st, dt_x_st) = model.jump_dt(s, t, &i_s)?;
    let b_t = match stop {
        LsdStop::Teacher => teacher.velocity(t, &x_st.detach())?.detach(), // sg[ b_t(X_{s,t}) ]
        LsdStop::None => model.velocity(t, &x_st)?,
    };
    Ok(batch.squared_norm(&(&dt_x_st - b_t)?)?.with_tangent(&dt_x_st)) // (1)
}
