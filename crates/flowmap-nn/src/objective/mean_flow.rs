//! Mean Flow.
//!
//! L(θ) = E_{s,t} | v_{s,t}(I_s) − sg[ ṽ_s + (t − s) (∂_s v_{s,t} + ∇v_{s,t} ṽ_s)(I_s) ] |²        (1)
//!
//! Geng, Deng, Bai, Kolter, He 2025, arXiv:2505.13447, eqs. (9)-(11), with ṽ_s = İ_s of the pair itself.
//! There time runs from data to noise, so their (t, r) is our (s, t), and both signs of the derivative turn.
//! With ṽ_s = sg[ b_s(I_s) ], [`MeanFlowVelocity::Model`], the target has no noise of its own.
//! A regression: with İ_s its minimum is a conditional variance, not zero, and the mean gradient vanishes there.
//! At t = s it is flow matching, which the paper gives ¾ of the batch.
//! Cost: one plain forward and one dual forward off the tape; one more plain forward off the tape for b_s.
//! Differs from the paper: the adaptive weight is left to the combination.

use candle_core::Tensor;
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use crate::batch::as_column;
use crate::{AverageVelocity, Batch, FlowMap, PerSample, Result, Times};

/// Which velocity the target of Mean Flow is made of, and its derivative taken along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeanFlowVelocity {
    /// İ_s, that of the pair: the paper's choice.
    #[default]
    Data,
    /// sg\[b_s(I_s)\], that of the network itself.
    Model,
}

/// The Mean Flow loss of each sample.
///
/// # Errors
/// As the network.
pub fn mean_flow<M, T>(
    model: FlowMap<'_, M>,
    teacher: FlowMap<'_, T>,
    batch: &Batch<'_>,
    times: &Times,
    velocity: MeanFlowVelocity,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
    T: AverageVelocity + ?Sized,
{
    let i_s = batch.i(&times.s)?;
    let v_s = match velocity {
        MeanFlowVelocity::Data => batch.di(&times.s)?,
        MeanFlowVelocity::Model => teacher.velocity(times.s.tensor(), &i_s)?.detach(), // sg[ b_s(I_s) ]
    };
    mean_flow_along(model, teacher, batch, i_s, v_s, times)
}

/// (1) with a given ṽ_s.
pub(super) fn mean_flow_along<M, T>(
    model: FlowMap<'_, M>,
    teacher: FlowMap<'_, T>,
    batch: &Batch<'_>,
    i_s: Tensor,
    v_s: Tensor,
    times: &Times,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
    T: AverageVelocity + ?Sized,
{
    let (s, t) = (times.s.tensor(), times.t.tensor());
    let v_st = model.average_velocity(s, t, &i_s)?;
    let along = Dual::new(i_s, v_s.clone())?;
    let dv_st = teacher.average_velocity_dual(&Dual::variable(s.clone())?, &t.into(), &along)?;
    let dv_st = dv_st.tangent_or_zeros()?; // ∂_s v + ∇v ṽ_s
    let width = as_column(&(t - s)?, v_st.rank())?;
    let target = (v_s + dv_st.broadcast_mul(&width)?)?; // ṽ_s + (t − s)(∂_s v + ∇v ṽ_s)
    Ok(batch.squared_norm(&(v_st - target.detach())?)?.with_tangent(&dv_st)) // (1)
}
