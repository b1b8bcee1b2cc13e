//! Errors of this crate; other failures are Candle's errors.

/// A CUDA kernel did not compile, or NVRTC is not there to compile it; Candle's error wraps it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error(
    "expected NVRTC to compile the CUDA kernels `{source_name}` for a device of capability {}.{}, found {cause}",
    capability.0, capability.1
)]
pub struct CompilationError {
    /// Name of the source.
    pub source_name: &'static str,
    /// Major and minor number of the capability of the device.
    pub capability: (i32, i32),
    /// What NVRTC said.
    pub cause: String,
}
