//! The velocity of an exact flow as a differentiable operation on tensors.
//!
//! Forward: b_t(x) row by row, in f64. Backward: ∇b_t(x)ᵀ g, exact as well.
//! Cost: one evaluation of the exact field a row, on the CPU, threaded over the rows.

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Shape, Tensor};
use flowmap_core::exact::ExactFlow;
use flowmap_dual::host;
use rayon::prelude::*;

use crate::{Condition, Result, VelocityField};

/// The velocity field of an exact flow of flowmap-core, for [`crate::Teacher::Field`].
///
/// Samples of any shape with as many numbers as the flow has dimensions; the condition is ignored.
#[derive(Clone, Debug)]
pub struct ExactField<F> {
    flow: std::sync::Arc<F>,
}

impl<F: ExactFlow + Send + Sync> ExactField<F> {
    /// The field of `flow`.
    pub fn new(flow: F) -> Self {
        Self { flow: std::sync::Arc::new(flow) }
    }

    /// The flow.
    pub fn flow(&self) -> &F {
        &self.flow
    }

    /// f(t, x) of every row in f64; `x` and the result are `(B, D)`.
    fn rows(
        t: &[f64],
        x: &[f64],
        dim: usize,
        f: impl Fn(usize, f64, &[f64]) -> flowmap_core::Result<Vec<f64>> + Sync,
    ) -> candle_core::Result<Vec<f64>> {
        let row = |(i, x): (usize, &[f64])| f(i, t[i], x);
        let rows: flowmap_core::Result<Vec<Vec<f64>>> =
            x.par_chunks_exact(dim.max(1)).enumerate().map(row).collect();
        Ok(rows.map_err(candle_core::Error::wrap)?.concat())
    }
}

impl<F: ExactFlow + Send + Sync + 'static> VelocityField for ExactField<F> {
    fn velocity(&self, t: &Tensor, x: &Tensor, _condition: Condition<'_>) -> Result<Tensor> {
        let (dtype, device) = (x.dtype(), x.device().clone());
        let flat = host::copy(&x.reshape((x.dim(0)?, self.flow.dim()))?)?;
        let velocity = flat.apply_op2(&host::copy(&t.detach())?, VelocityOp(self.flow.clone()))?;
        Ok(host::place(&velocity.reshape(x.shape())?, &device)?.to_dtype(dtype)?)
    }
}

/// (x, t) → b_t(x) on contiguous f64 of the CPU.
struct VelocityOp<F>(std::sync::Arc<F>);

/// The numbers of a contiguous f64 storage.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f64]> {
    let all = storage.as_slice::<f64>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&all[start..end]),
        None => Err(candle_core::Error::RequiresContiguous { op: "exact velocity" }.bt()),
    }
}

impl<F: ExactFlow + Send + Sync> CustomOp2 for VelocityOp<F> {
    fn name(&self) -> &'static str {
        "exact velocity"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        t: &CpuStorage,
        t_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, t) = (values(x, x_layout)?, values(t, t_layout)?);
        let velocity = ExactField::<F>::rows(t, x, self.0.dim(), |_, t, x| self.0.velocity(t, x))?;
        Ok((CpuStorage::F64(velocity), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        t: &Tensor,
        _velocity: &Tensor,
        g: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let numbers = |x: &Tensor| host::numbers(x).map_err(candle_core::Error::wrap);
        let (t, x_host, g_host) = (numbers(t)?, numbers(x)?, numbers(g)?);
        let dim = self.0.dim();
        let vjp = |i: usize, t: f64, x: &[f64]| self.0.velocity_vjp(t, x, &g_host[i * dim..(i + 1) * dim]);
        let gradient = ExactField::<F>::rows(&t, &x_host, dim, vjp)?;
        Ok((Some(Tensor::from_vec(gradient, x.shape(), &Device::Cpu)?), None))
    }
}
