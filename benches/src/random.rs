//! Numbers to compute with: normal, the same in every run.

use anyhow::Result;
use candle_core::{DType, Device, Shape, Tensor};
use flowmap_core::{NoiseStream, Stream};

/// Normal numbers of standard deviation `std`, f32 on the CPU; the same `key` gives the same ones.
///
/// # Errors
/// Candle's error, if an operation fails.
pub fn normal<S: Into<Shape>>(key: u64, shape: S, std: f64) -> Result<Tensor> {
    let shape = shape.into();
    let mut values = vec![0f32; shape.elem_count()];
    NoiseStream::new(key, Stream::Base).at(0).fill_normal_f32(&mut values);
    Ok((Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(DType::F32)? * std)?)
}

/// A matrix `(out, in)` of a linear layer, or kernels `(out, in, h, w)`: variance 1/fan_in.
///
/// # Errors
/// Candle's error, if an operation fails.
pub fn weight<S: Into<Shape>>(key: u64, shape: S) -> Result<Tensor> {
    let shape = shape.into();
    let fan_in: usize = shape.dims().iter().skip(1).product();
    normal(key, shape, (fan_in.max(1) as f64).sqrt().recip())
}
