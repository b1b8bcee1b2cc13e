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

use crate::objective::{LsdStop, guided_flow_matching, lsd};
use crate::{AverageVelocity, Batch, Context, FlowMap, PerSample, Result, Times};

/// The TVM loss of each sample.
///
/// # Errors
/// As [`guided_flow_matching`].
pub fn tvm<M, T>(
    model: FlowMap<'_, M>,
    teacher: FlowMap<'_, T>,
    batch: &Batch<'_>,
    times: &Times,
    context: &Context<'_>,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
    T: AverageVelocity + ?Sized,
{
    let terminal = lsd(model, teacher, batch, times, LsdStop::Teacher)?;
    let off_diagonal = off_diagonal(times)?.to_dtype(terminal.tensor().dtype())?; // 1[s ≠ t]
    terminal.times(&off_diagonal)?.add(&guided_flow_matching(model, teacher, batch, times, context)?) // (1)
}

/// One where s ≠ t and zero elsewhere, `(B,)`.
fn off_diagonal(times: &Times) -> Result<Tensor> {
    Ok(times.s.tensor().broadcast_ne(times.t.tensor())?)
}
