//! Which operations have a fused kernel on which device.

use std::fmt;

use candle_core::Device;

/// How an operation runs in f32 on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// By a separate kernel, with a backward pass written by hand.
    Fused,
    /// By Candle's operations.
    Composed,
}

impl fmt::Display for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fused => "fused",
            Self::Composed => "composed",
        })
    }
}

/// Where an operation has a fused kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// On the CPU and on CUDA devices.
    Both,
    /// On the CPU.
    Cpu,
    /// On CUDA devices; on the CPU a plain loop over the numbers does the same.
    Cuda,
}

/// Every operation that has a fused kernel somewhere.
const OPERATIONS: [(&str, Where); 16] = [
    ("linear", Where::Both),
    ("linear_activation", Where::Both),
    ("layers", Where::Both),
    ("layer_norm_with", Where::Both),
    ("rms_norm_with", Where::Both),
    ("group_norm_with", Where::Both),
    ("with_magnitude", Where::Cpu),
    ("add_gated", Where::Cpu),
    ("sin_cos", Where::Cpu),
    ("attention", Where::Cpu),
    ("self_attention", Where::Cpu),
    ("conv2d", Where::Cpu),
    ("upsample_nearest2d", Where::Cpu),
    ("avg_pool2d", Where::Cpu),
    ("optimizer_step", Where::Both),
    ("noise", Where::Cuda),
];

/// The operations of this crate by name and how each runs on `device` in f32; other types run composed.
///
/// ```
/// use candle_core::Device;
/// use flowmap_dual::{Execution, fused_operations};
///
/// let operations = fused_operations(&Device::Cpu);
/// assert!(operations.contains(&("linear_activation", Execution::Fused)));
/// ```
pub fn fused_operations(device: &Device) -> Vec<(&'static str, Execution)> {
    let is_fused = |place: Where| match device {
        Device::Cpu => place != Where::Cuda,
        Device::Cuda(_) => place != Where::Cpu,
        Device::Metal(_) => false,
    };
    let execution =
        |(name, place)| (name, if is_fused(place) { Execution::Fused } else { Execution::Composed });
    OPERATIONS.into_iter().map(execution).collect()
}
