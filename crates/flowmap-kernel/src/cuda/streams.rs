//! The keyed noise streams on a CUDA device: the kernels of `noise.cu`.

use candle_core::cuda::{CudaDevice, CudaStorage};
use candle_core::{Layout, Result, Tensor};

use super::launcher::{Cuda, blank, write};
use super::launches::{Draws, noise_normals, noise_uniforms};
use super::layer::tensor;

/// Standard normals times `sigma` in f32, `(rows, dim)`.
pub fn normals(device: &CudaDevice, draws: &Draws, sigma: f32) -> Result<Tensor> {
    let dims = [draws.rows as usize, draws.dim as usize];
    let n = dims[0] * dims[1];
    let stream = device.cuda_stream();
    let mut out = CudaStorage::wrap_cuda_slice(blank::<f32>(device, n)?, device.clone());
    {
        let (out, _guard) = write::<f32>(&mut out, &Layout::contiguous(n), &stream)?;
        noise_normals(&mut Cuda::new(device), draws, sigma, out)?;
    }
    Ok(tensor(out, &dims))
}

/// Uniforms on [0, 1) in f64, `(rows, dim)`.
pub fn uniforms(device: &CudaDevice, draws: &Draws) -> Result<Tensor> {
    let dims = [draws.rows as usize, draws.dim as usize];
    let n = dims[0] * dims[1];
    let stream = device.cuda_stream();
    let mut out = CudaStorage::wrap_cuda_slice(blank::<f64>(device, n)?, device.clone());
    {
        let (out, _guard) = write::<f64>(&mut out, &Layout::contiguous(n), &stream)?;
        noise_uniforms(&mut Cuda::new(device), draws, out)?;
    }
    Ok(tensor(out, &dims))
}
