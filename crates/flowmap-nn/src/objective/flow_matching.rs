//! Flow matching on the diagonal s = t.
//!
//! L(θ) = E_t | v_{t,t}(I_t) − İ_t |²        (1)
//!
//! Lipman and others 2022, arXiv:2210.02747; Albergo, Vanden-Eijnden 2022, arXiv:2209.15571;
//! L_b of Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825.
//! Its minimizer is b_t(x) = E[İ_t | I_t = x]; its minimum is the mean conditional variance, not zero.
//! Cost: one plain forward.

use crate::{AverageVelocity, Batch, FlowMap, PerSample, Result, Times};

/// The flow matching loss of each sample at time `times.t`.
///
/// # Errors
/// As the network.
pub fn flow_matching<M>(model: FlowMap<'_, M>, batch: &Batch<'_>, times: &Times) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
{
    let v_tt = model.velocity(times.t.tensor(), &batch.i(&times.t)?)?;
    batch.squared_norm(&(v_tt - batch.di(&times.t)?)?) // (1)
}
