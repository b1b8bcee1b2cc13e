//! The one door from a device to the host.
//!
//! Whoever reads a number waits for all that the device was given to do before, so a training step and a sampling loop
//! read none: what they would like to know stays on the device until somebody looks.
//! `cargo xtask tidy` refuses reads elsewhere, and a test counts those that go through here.

use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{DType, Device, Tensor};

use crate::Result;

/// Reads since the process began.
static N_READS: AtomicU64 = AtomicU64::new(0);

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
