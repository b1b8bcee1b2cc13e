//! Layers as an operation of Candle: its forward and backward pass, on the CPU and on CUDA devices.

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor, bail};

use super::backward::Backward;
use super::{Layers, Tape};
use crate::matmul::gemm::Write;
use crate::memory::slices::{floats, is_wanted, with_floats};
use crate::memory::uninit::try_written;
#[cfg(feature = "cuda")]
use crate::{cuda, shared};

#[cfg(feature = "cuda")]
impl Layers {
    /// The backward pass on a CUDA device.
    fn bwd_on_device(
        &self,
        saved: &[cuda::layer::Saved],
        x: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (gx, found) =
            cuda::layer::backward(&self.layers, saved, x, &gradient.contiguous()?, self.is_stacked())?;
        let mut first = (None, None);
        for (i, (layer, (gw, gb))) in self.layers.iter().zip(found).enumerate() {
            let left = |tensor: &Tensor, gradient: Option<Tensor>| match gradient {
                Some(gradient) => shared::add_tensor(tensor, gradient),
                None => Ok(None),
            };
            match (left(&layer.weight, gw)?, left(&layer.bias, gb)?) {
                both if i == 0 => first = both,
                (None, None) => {}
                _ => bail!("layers that run as one need the sums that they ran forward with"),
            }
        }
        Ok((gx, first.0, first.1))
    }
}

impl CustomOp3 for Layers {
    fn name(&self) -> &'static str {
        "layers"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        _s2: &CpuStorage,
        _l2: &Layout,
        _s3: &CpuStorage,
        _l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, shape) = (floats(s1, l1)?, self.output_shape(l1.shape())?);
        let d_in = self.layers.first().map_or(0, |layer| layer.d_in);
        if d_in == 0 || shape.elem_count() == 0 {
            return Ok((CpuStorage::F32(vec![0.0; shape.elem_count()]), shape));
        }
        let y = try_written(shape.elem_count(), |y| match self.tape {
            Tape::Off => self.forward(x, d_in, y),
            Tape::Recorded => {
                let saved = self.forward_taped(x, d_in, y)?;
                // Set once: an operation runs forward once.
                let _ = self.saved.set(saved);
                Ok(())
            }
        })?;
        Ok((CpuStorage::F32(y), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        s1: &candle_core::CudaStorage,
        l1: &Layout,
        _s2: &candle_core::CudaStorage,
        _l2: &Layout,
        _s3: &candle_core::CudaStorage,
        _l3: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let shape = self.output_shape(l1.shape())?;
        let rows = shape.elem_count() / (self.d_out() * self.parts.count()).max(1);
        let (y, saved) = cuda::layer::forward(&self.layers, self.tape, (s1, l1), rows, self.is_stacked())?;
        // Set once: an operation runs forward once.
        let _ = self.on_device.set(saved);
        Ok((y, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _weight: &Tensor,
        _bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda")]
        if let Some(saved) = self.on_device.get() {
            return self.bwd_on_device(saved, x, gradient);
        }
        let Some(saved) = self.saved.get() else { return Ok((None, None, None)) };
        let gradient = gradient.contiguous()?;
        with_floats(&gradient, |gy| {
            with_floats(x, |values| {
                let backward = Backward { layers: &self.layers, saved, gy, is_stacked: self.is_stacked() };
                let mut found = None;
                let gx = match is_wanted(x) {
                    true if gy.is_empty() => Some(vec![0f32; values.len()]),
                    true => Some(try_written(values.len(), |gx| {
                        found = Some(backward.run(Some(gx))?);
                        Ok::<_, candle_core::Error>(())
                    })?),
                    false => None,
                };
                let (gzs, gbs) = match found {
                    Some(found) => found,
                    None => backward.run(None)?,
                };
                let mut first = (None, None);
                for (i, layer) in self.layers.iter().enumerate() {
                    let x = if i == 0 { values } else { &*saved[i].x };
                    let gz = if gzs[i].is_empty() { gy } else { &*gzs[i] };
                    let gw =
                        layer.gradient_of(&layer.weight, |sum, write| layer.weights(gz, x, sum, write))?;
                    let gb = layer.gradient_of(&layer.bias, |sum, write| match write {
                        Write::Set => sum.copy_from_slice(&gbs[i]),
                        Write::Add => sum.iter_mut().zip(&gbs[i]).for_each(|(sum, g)| *sum += g),
                    })?;
                    match i {
                        0 => first = (gw, gb),
                        _ if gw.is_some() || gb.is_some() => {
                            bail!("layers that run as one need the sums that they ran forward with")
                        }
                        _ => {}
                    }
                }
                let gx = gx.map(|gx| Tensor::from_vec(gx, x.shape(), &Device::Cpu)).transpose()?;
                Ok((gx, first.0, first.1))
            })
        })
    }
}
