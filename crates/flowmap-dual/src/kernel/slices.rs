//! The numbers of Candle's tensors, for kernels.

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// The numbers of a contiguous f32 tensor.
pub(super) fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let CpuStorage::F32(values) = storage else { bail!("a fused operation takes f32 only") };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("a fused operation takes contiguous tensors only"),
    }
}

/// Calls `f` with the numbers of a tensor.
pub(super) fn with_floats<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(floats(storage, layout)?),
        _ => bail!("a fused operation runs on the CPU only"),
    }
}

/// Whether a gradient of `tensor` leads anywhere.
pub(super) fn is_wanted(tensor: &Tensor) -> bool {
    tensor.track_op() || tensor.is_variable()
}
