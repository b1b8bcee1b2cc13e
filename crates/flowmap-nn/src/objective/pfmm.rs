//! Progressive flow map matching (PFMM): K jumps of a trained map in one.
//!
//! L(θ) = E_{s,t} | X_{s,t}(I_s) − (Q_{t_{K−1},t} ∘ … ∘ Q_{s,t_1})(I_s) |²        (1)
//!
//! Boffi, Albergo, Vanden-Eijnden 2024, arXiv:2406.07507 (progressive flow map matching), Q the teacher's flow map.
//! With K = 2 the middle time is that of the batch; with more steps they are equally long.
//! Cost: one plain forward, K of the teacher; no derivative. Needs a teacher whose flow map is known.

use crate::times::{At, JumpFn};
use crate::{AverageVelocity, Batch, FlowMap, PerSample, Result, Teacher, Times};

/// The PFMM loss of each sample, with `n_steps` jumps of the teacher.
///
/// # Errors
/// [`crate::Error::NoTeacher`] where the teacher is but a velocity field; as the networks.
pub fn pfmm<M>(
    model: FlowMap<'_, M>,
    q: &Teacher,
    batch: &Batch<'_>,
    times: &Times,
    n_steps: u32,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
{
    let i_s = batch.i(&times.s)?;
    let x_st = model.jump(times.s.tensor(), times.t.tensor(), &i_s)?;
    let mut x = i_s;
    let mut from = times.s.tensor().clone();
    for step in 1..=n_steps {
        let to = match (step, n_steps) {
            (1, 2) => times.u.tensor().clone(),
            (step, n) if step == n => times.t.tensor().clone(),
            (step, n) => times.map(part_way(step, n))?,
        };
        x = q.jump(&from, &to, &x, model.condition())?;
        from = to;
    }
    batch.squared_norm(&(x_st - x.detach())?) // (1)
}

/// The end of jump number `step` of `n` equal ones.
pub(super) fn part_way(step: u32, n: u32) -> JumpFn {
    JumpFn::Part { to: At::T, part: f64::from(step) / f64::from(n) }
}
