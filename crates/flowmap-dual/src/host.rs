//! The one door between the host and a device, in both directions.
//!
//! Whoever reads a number waits for all that the device was given to do before, so a training step and a sampling loop
//! read none: what they would like to know stays on the device until somebody looks.
//! Whoever sends one copies it while the device could compute, so a step sends its batch and one table of times.
//! `cargo xtask tidy` refuses both elsewhere, and tests count what goes through here.

use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{DType, Device, Shape, Tensor, WithDType};

use crate::Result;

/// Reads since the process began.
static N_READS: AtomicU64 = AtomicU64::new(0);

/// Sends since the process began.
static N_SENDS: AtomicU64 = AtomicU64::new(0);

/// All numbers of a tensor in f64, in the order of its rows; waits for the device.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use flowmap_dual::host;
///
/// let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// let before = host::n_reads();
/// assert_eq!(host::numbers(&x)?, [1.0, 2.0, 3.0, 4.0]);
/// assert_eq!(host::n_reads(), before + 1);
/// # Ok::<(), flowmap_dual::Error>(())
/// ```
///
/// # Errors
/// As the device.
pub fn numbers(x: &Tensor) -> Result<Vec<f64>> {
    N_READS.fetch_add(1, Ordering::Relaxed);
    Ok(x.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// The number that a tensor of one element holds; waits for the device.
///
/// # Errors
/// Where there is more or less than one; as the device.
pub fn number(x: &Tensor) -> Result<f64> {
    N_READS.fetch_add(1, Ordering::Relaxed);
    Ok(x.detach().reshape(())?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_scalar()?)
}

/// A tensor in f64 on the CPU, contiguous; on the tape like the tensor it is made of. Waits for the device.
///
/// # Errors
/// As the device.
pub fn copy(x: &Tensor) -> Result<Tensor> {
    N_READS.fetch_add(1, Ordering::Relaxed);
    Ok(x.to_dtype(DType::F64)?.to_device(&Device::Cpu)?.contiguous()?)
}

/// How often this process has read so far, whatever the device.
pub fn n_reads() -> u64 {
    N_READS.load(Ordering::Relaxed)
}

/// Numbers as a tensor of another type on a device; the type is changed on the host.
///
/// ```
/// use candle_core::{DType, Device};
/// use flowmap_dual::host;
///
/// let before = host::n_sends();
/// let x = host::send(vec![0.5, 1.5], (2, 1), DType::F32, &Device::Cpu)?;
/// assert_eq!(x.to_vec2::<f32>()?, [[0.5], [1.5]]);
/// assert_eq!(host::n_sends(), before + 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Where the numbers do not fill the shape; as the device.
pub fn send<T: WithDType>(
    numbers: Vec<T>,
    shape: impl Into<Shape>,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    place(&Tensor::from_vec(numbers, shape.into(), &Device::Cpu)?.to_dtype(dtype)?, device)
}

/// A tensor of the host on a device.
///
/// # Errors
/// As the device.
pub fn place(x: &Tensor, device: &Device) -> Result<Tensor> {
    N_SENDS.fetch_add(1, Ordering::Relaxed);
    Ok(x.to_device(device)?)
}

/// How often this process has sent something so far, whatever the device.
pub fn n_sends() -> u64 {
    N_SENDS.load(Ordering::Relaxed)
}

/// `value` in the shape, type and device of `x`, made on the device; comparing with the bare number would send it.
///
/// A view of one number, which takes no memory.
///
/// # Errors
/// As the device.
pub fn filled_like(x: &Tensor, value: f64) -> candle_core::Result<Tensor> {
    Tensor::full(value, (), x.device())?.to_dtype(x.dtype())?.broadcast_as(x.shape())
}
