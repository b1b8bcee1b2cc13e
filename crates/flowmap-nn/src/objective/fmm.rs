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
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use crate::{AverageVelocity, Batch, FlowMap, PerSample, Result, Times};

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

/// The FMM loss of each sample; `inversion` is λ.
///
/// # Errors
/// As the network.
pub fn fmm<M>(
    model: FlowMap<'_, M>,
    batch: &Batch<'_>,
    times: &Times,
    law: FmmLaw,
    inversion: f64,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
{
    let (s, t) = (times.s.tensor(), times.t.tensor());
    let x = batch.i(&times.t)?; // I_t
    let di_t = batch.di(&times.t)?;
    let (x_st, tangent, residual) = match law {
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
    if inversion == 0.0 {
        return Ok(law);
    }
    law.add(&batch.squared_norm(&(x_st - x)?)?.scale(inversion)?) // (1), (2)
}

/// X_{s,t}(y) and ∇X_{s,t}(y) · direction, both differentiable in y and the direction.
fn jvp<M>(
    model: FlowMap<'_, M>,
    s: &Tensor,
    t: &Tensor,
    y: Tensor,
    direction: Tensor,
) -> Result<(Tensor, Tensor)>
where
    M: AverageVelocity + ?Sized,
{
    let jump = model.jump_dual(&s.into(), &t.into(), &Dual::new(y, direction)?)?;
    let advection = jump.tangent_or_zeros()?;
    Ok((jump.into_parts().0, advection))
}
