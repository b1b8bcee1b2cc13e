//! Sums of two branches.
//!
//! o = a x + y,  x̄ = a ō,  ȳ = ō
//!
//! f32 on the CPU, tensors of any one shape, stacked ones included; bounded by the speed of memory.
//! The gradient of y is the gradient of the output itself; for a = 1 the gradient of x is too.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::lanes::dispatch::{Kernel, dispatch};
use crate::memory::slices::{floats, is_wanted};
use crate::memory::uninit::written;

/// Numbers in a task, about.
const CHUNK: usize = 64 * 1024;

/// The operation with its a.
pub struct ScaledSum(pub f32);

struct Sum<'a> {
    a: f32,
    x: &'a [f32],
    y: &'a [f32],
    o: &'a mut [f32],
}

impl Kernel for Sum<'_> {
    #[inline(always)]
    fn run(self) {
        for ((o, x), y) in self.o.iter_mut().zip(self.x).zip(self.y) {
            *o = self.a * x + y;
        }
    }
}

impl CustomOp2 for ScaledSum {
    fn name(&self) -> &'static str {
        "scaled-sum"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if l1.shape() != l2.shape() {
            bail!("a sum does not take {:?} and {:?}", l1.shape(), l2.shape());
        }
        let (x, y) = (floats(s1, l1)?, floats(s2, l2)?);
        let o = written(x.len(), |o| {
            let chunks = x.par_chunks(CHUNK).zip(y.par_chunks(CHUNK));
            o.pieces(x.len().max(1), CHUNK).into_par_iter().zip(chunks).for_each(|(o, (x, y))| {
                dispatch(Sum { a: self.0, x, y, o: o.clear() });
            });
        });
        Ok((CpuStorage::F32(o), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        _o: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let of_x = match self.0 {
            1.0 => gradient.clone(),
            a => (gradient * f64::from(a))?,
        };
        Ok((is_wanted(x).then_some(of_x), is_wanted(y).then(|| gradient.clone())))
    }
}
