//! Attention as operations of Candle: their forward and backward passes.

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Device, Layout, Result, Shape, Tensor};

use super::layout::{Part, Place, Scattered, Sink};
use super::one_head::{Sizes, Tape};
use super::{
    Attention, SelfAttention, backward, floats, floats_of, forward, operand, operands, packed_operands,
};
use crate::memory::slices::is_wanted;

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
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
        let data = [floats(s1)?, floats(s2)?, floats(s3)?];
        let (inputs, sizes) = operands(data, [l1, l2, l3])?;
        let Sizes { batch, heads, n, e, is_dual, .. } = sizes;
        let (y, statistics) = forward(&sizes, &inputs, Place::contiguous(batch, heads, n, e, is_dual));
        // Set once: an operation runs forward once.
        let _ = self.statistics.set(statistics);
        let shape: Shape = if is_dual { (2, batch, heads, n, e).into() } else { (batch, heads, n, e).into() };
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (gradient, y) = (gradient.contiguous()?, y.contiguous()?);
        let storages = [q, k, v, &y, &gradient].map(Tensor::storage_and_layout);
        let [(sq, lq), (sk, lk), (sv, lv), (sy, ly), (sg, lg)] = &storages;
        let data = [floats_of(sq)?, floats_of(sk)?, floats_of(sv)?];
        let (inputs, sizes) = operands(data, [lq, lk, lv])?;
        let (output, gradient) = (operand(floats_of(sy)?, ly)?.0, operand(floats_of(sg)?, lg)?.0);
        // An input that leads to no parameter needs no gradient.
        let tensors = [q, k, v];
        let needed = tensors.map(is_wanted);
        if sizes.is_empty() {
            // Nothing depends on anything.
            let zeros = |i: usize| needed[i].then(|| tensors[i].zeros_like()).transpose();
            return Ok((zeros(0)?, zeros(1)?, zeros(2)?));
        }
        let buffers = tensors.map(|t| Scattered::new(t.elem_count()));
        let sinks: [Option<Sink<'_>>; 3] = std::array::from_fn(|i| {
            let (rows, width) = (if i == 0 { sizes.n } else { sizes.m }, inputs[i].width);
            let is_stacked = inputs[i].place.tangent.is_some();
            let place = Place::contiguous(sizes.batch, sizes.heads, rows, width, is_stacked);
            needed[i].then_some(Sink { buffer: &buffers[i], place, width })
        });
        backward(&sizes, &Tape { inputs, output, gradient }, &sinks, self.statistics.get())?;
        let [gq, gk, gv] = buffers;
        let gradient = |i: usize, buffer: Scattered| {
            needed[i]
                .then(|| Tensor::from_vec(buffer.into_vec(), tensors[i].shape(), &Device::Cpu))
                .transpose()
        };
        Ok((gradient(0, gq)?, gradient(1, gk)?, gradient(2, gv)?))
    }
}

impl CustomOp1 for SelfAttention {
    fn name(&self) -> &'static str {
        "self-attention"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (inputs, sizes) = packed_operands(floats(storage)?, layout, self.heads)?;
        let Sizes { batch, heads, n, d, is_dual, .. } = sizes;
        let place = Place::packed((batch, n), (heads, d), (0, 1), is_dual);
        let (y, statistics) = forward(&sizes, &inputs, place);
        // Set once: an operation runs forward once.
        let _ = self.statistics.set(statistics);
        let shape: Shape =
            if is_dual { (2, batch, n, heads * d).into() } else { (batch, n, heads * d).into() };
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        if !is_wanted(x) {
            return Ok(None);
        }
        let (gradient, y) = (gradient.contiguous()?, y.contiguous()?);
        let storages = [x, &y, &gradient].map(Tensor::storage_and_layout);
        let [(sx, lx), (sy, ly), (sg, lg)] = &storages;
        let (inputs, sizes) = packed_operands(floats_of(sx)?, lx, self.heads)?;
        let Sizes { batch, heads, n, d, is_dual, .. } = sizes;
        let place = |start: usize| Place { start, ..Place::packed((batch, n), (heads, d), (0, 1), is_dual) };
        let output = Part { data: floats_of(sy)?, place: place(ly.start_offset()), width: d };
        let gradient = Part { data: floats_of(sg)?, place: place(lg.start_offset()), width: d };
        if sizes.is_empty() {
            return x.zeros_like().map(Some);
        }
        let buffer = Scattered::new(x.elem_count());
        let sink = |part: usize| {
            let place = Place::packed((batch, n), (heads, d), (part, 3), is_dual);
            Some(Sink { buffer: &buffer, place, width: d })
        };
        let tape = Tape { inputs, output, gradient };
        backward(&sizes, &tape, &[sink(0), sink(1), sink(2)], self.statistics.get())?;
        Tensor::from_vec(buffer.into_vec(), x.shape(), &Device::Cpu).map(Some)
    }
}
