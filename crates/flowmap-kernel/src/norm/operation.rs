//! Normalization as an operation of Candle: its forward and backward pass, on the CPU and on CUDA devices.

#[cfg(feature = "cuda")]
use candle_core::bail;
use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor};

use super::{Geometry, Norm, group_norm, layer_norm};
use crate::memory::slices::{Pair, Parts, floats, is_wanted, with_floats};

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let inputs = self.inputs(floats(s1, l1)?, floats(s2, l2)?, floats(s3, l3)?)?;
        let (y, stats) = match self.geometry {
            Geometry::Rows(rows) => layer_norm::forward(rows, inputs),
            Geometry::Groups(groups) => group_norm::forward(groups, inputs),
        };
        // Set once: an operation runs forward once.
        let _ = self.stats.set(stats);
        let mut dims = l1.shape().dims().to_vec();
        if inputs.x.tangent.is_none() && inputs.output == Parts::Stacked {
            dims.insert(0, 2);
        }
        Ok((CpuStorage::F32(y), dims.into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        s1: &candle_core::CudaStorage,
        l1: &Layout,
        s2: &candle_core::CudaStorage,
        l2: &Layout,
        s3: &candle_core::CudaStorage,
        l3: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let lens = self.geometry.lens();
        for ((layout, parts), len) in [l1, l2, l3].into_iter().zip(self.parts).zip([lens.0, lens.1, lens.1]) {
            let found = layout.shape().elem_count();
            if found != parts.count() * len {
                bail!("expected {} x {len} numbers, found {found}", parts.count());
            }
        }
        let (y, stats) = crate::cuda::norm::forward(self.plan(), [(s1, l1), (s2, l2), (s3, l3)])?;
        // Set once: an operation runs forward once.
        let _ = self.on_device.set(stats);
        let mut dims = l1.shape().dims().to_vec();
        if self.parts[0] == Parts::Plain && self.output() == Parts::Stacked {
            dims.insert(0, 2);
        }
        Ok((y, dims.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        shift: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        #[cfg(feature = "cuda")]
        if let Some(stats) = self.on_device.get() {
            let [x, gain, shift] =
                crate::cuda::norm::backward(self.plan(), stats, [x, gain, shift], &gradient)?;
            return Ok((x, gain, shift));
        }
        let (len, _) = self.geometry.lens();
        let stats = self.stats.get().map_or(&[][..], Vec::as_slice);
        let gradients = with_floats(x, |x| {
            with_floats(gain, |gain| {
                with_floats(shift, |shift| {
                    let inputs = self.inputs(x, gain, shift)?;
                    with_floats(&gradient, |gy| {
                        let gy = Pair::new(gy, inputs.output, len)?;
                        Ok(match self.geometry {
                            Geometry::Rows(rows) => layer_norm::backward(rows, inputs, stats, gy),
                            Geometry::Groups(groups) => group_norm::backward(groups, inputs, stats, gy),
                        })
                    })
                })
            })
        })?;
        let tensor = |values: Vec<f32>, input: &Tensor| {
            is_wanted(input).then(|| Tensor::from_vec(values, input.shape(), &Device::Cpu)).transpose()
        };
        Ok((tensor(gradients.x, x)?, tensor(gradients.gain, gain)?, tensor(gradients.shift, shift)?))
    }
}
