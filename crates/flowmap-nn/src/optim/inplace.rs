//! Updates in place, one pass over memory each.
//!
//! Candle's composed operations would make a new tensor for every sign in the formula.
//! Where a device has no such pass, the composed operations run.

use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Tensor, Var};

use super::super::{Error, Result};

/// a ← d a + (1 − d) c b^p, elementwise, with p = 1 or 2.
struct Lerp {
    decay: f64,
    scale: f64,
    square: bool,
}

impl InplaceOp2 for Lerp {
    fn name(&self) -> &'static str {
        "lerp"
    }

    fn cpu_fwd(
        &self,
        a: &mut CpuStorage,
        layout_a: &Layout,
        b: &CpuStorage,
        layout_b: &Layout,
    ) -> candle_core::Result<()> {
        let (d, c) = (self.decay, (1.0 - self.decay) * self.scale);
        let (d32, c32) = (d as f32, c as f32);
        match (a, b) {
            (CpuStorage::F32(a), CpuStorage::F32(b)) => {
                let pairs = contiguous_mut(a, layout_a)?.iter_mut().zip(contiguous(b, layout_b)?);
                match self.square {
                    true => pairs.for_each(|(a, b)| *a = d32 * *a + c32 * b * b),
                    false => pairs.for_each(|(a, b)| *a = d32 * *a + c32 * b),
                }
            }
            (CpuStorage::F64(a), CpuStorage::F64(b)) => {
                let pairs = contiguous_mut(a, layout_a)?.iter_mut().zip(contiguous(b, layout_b)?);
                match self.square {
                    true => pairs.for_each(|(a, b)| *a = d * *a + c * b * b),
                    false => pairs.for_each(|(a, b)| *a = d * *a + c * b),
                }
            }
            (a, _) => candle_core::bail!("lerp works on f32 and f64, found {:?}", dtype(a)),
        }
        Ok(())
    }
}

/// θ ← (1 − decay) θ − rate m / (√v / root + eps).
struct AdamStep {
    rate: f64,
    root: f64,
    eps: f64,
    decay: f64,
}

impl InplaceOp3 for AdamStep {
    fn name(&self) -> &'static str {
        "adam-step"
    }

    fn cpu_fwd(
        &self,
        theta: &mut CpuStorage,
        layout: &Layout,
        m: &CpuStorage,
        layout_m: &Layout,
        v: &CpuStorage,
        layout_v: &Layout,
    ) -> candle_core::Result<()> {
        let Self { rate, root, eps, decay } = *self;
        match (theta, m, v) {
            (CpuStorage::F32(theta), CpuStorage::F32(m), CpuStorage::F32(v)) => {
                let (keep, rate) = ((1.0 - decay) as f32, rate as f32);
                let (inverse_root, eps) = (root.recip() as f32, eps as f32);
                let moments = contiguous(m, layout_m)?.iter().zip(contiguous(v, layout_v)?);
                for (theta, (m, v)) in contiguous_mut(theta, layout)?.iter_mut().zip(moments) {
                    *theta = keep * *theta - rate * m / (v.sqrt() * inverse_root + eps);
                }
            }
            (CpuStorage::F64(theta), CpuStorage::F64(m), CpuStorage::F64(v)) => {
                let moments = contiguous(m, layout_m)?.iter().zip(contiguous(v, layout_v)?);
                for (theta, (m, v)) in contiguous_mut(theta, layout)?.iter_mut().zip(moments) {
                    *theta = (1.0 - decay) * *theta - rate * m / (v.sqrt() / root + eps);
                }
            }
            (theta, ..) => candle_core::bail!("adam-step works on f32 and f64, found {:?}", dtype(theta)),
        }
        Ok(())
    }
}

fn dtype(storage: &CpuStorage) -> candle_core::DType {
    candle_core::backend::BackendStorage::dtype(storage)
}

fn contiguous<'a, T>(data: &'a [T], layout: &Layout) -> candle_core::Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => candle_core::bail!(
            "an update in place needs contiguous memory, found strides {:?}",
            layout.stride()
        ),
    }
}

fn contiguous_mut<'a, T>(data: &'a mut [T], layout: &Layout) -> candle_core::Result<&'a mut [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&mut data[start..end]),
        None => candle_core::bail!(
            "an update in place needs contiguous memory, found strides {:?}",
            layout.stride()
        ),
    }
}

/// Refuses types that lose updates: moments and averages need f32 at least.
fn check_dtype(tensor: &Tensor) -> Result<()> {
    match tensor.dtype() {
        candle_core::DType::F32 | candle_core::DType::F64 => Ok(()),
        other => Err(Error::OptimizerDType(other)),
    }
}

/// a ← decay a + (1 − decay) b in the memory of `a`.
pub(crate) fn lerp(a: &Tensor, b: &Tensor, decay: f64) -> Result<()> {
    lerp_by(a, b, Lerp { decay, scale: 1.0, square: false })
}

/// a ← decay a + (1 − decay) scale b.
pub(super) fn lerp_scaled(a: &Tensor, b: &Tensor, decay: f64, scale: f64) -> Result<()> {
    lerp_by(a, b, Lerp { decay, scale, square: false })
}

/// a ← decay a + (1 − decay) (scale b)².
pub(super) fn lerp_squared(a: &Tensor, b: &Tensor, decay: f64, scale: f64) -> Result<()> {
    lerp_by(a, b, Lerp { decay, scale: scale * scale, square: true })
}

fn lerp_by(a: &Tensor, b: &Tensor, op: Lerp) -> Result<()> {
    check_dtype(a)?;
    let b = b.contiguous()?;
    if a.device().is_cpu() {
        return Ok(a.inplace_op2(&b, &op)?);
    }
    let term = if op.square { b.sqr()? } else { b };
    a.slice_set(&((a * op.decay)? + (term * ((1.0 - op.decay) * op.scale))?)?, 0, 0)?;
    Ok(())
}

/// θ ← (1 − decay) θ − rate m / (√v / root + eps).
pub(super) fn adam_step(
    theta: &Var,
    m: &Tensor,
    v: &Tensor,
    rate: f64,
    root: f64,
    eps: f64,
    decay: f64,
) -> Result<()> {
    check_dtype(theta)?;
    if theta.device().is_cpu() {
        return Ok(theta.inplace_op3(m, v, &AdamStep { rate, root, eps, decay })?);
    }
    let step = (m / ((v.sqrt()? / root)? + eps)?)?;
    Ok(theta.set(&((theta.as_detached_tensor() * (1.0 - decay))? - (step * rate)?)?)?)
}
