//! The device of `--device`.

use anyhow::{Result, anyhow};
use candle_core::{Device, DeviceLocation, Error};
use flowmap_dual::cuda;

use crate::cmd::Usage;
use crate::progress::say;

/// What `--device` can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The first that works: `cuda:0`, `metal`, `cpu`.
    Auto,
    Cpu,
    Cuda(usize),
    Metal,
}

/// The device that `name` asks for.
///
/// # Errors
/// A usage error for an unknown name; otherwise whether the feature or the device is missing.
pub fn device(name: &str) -> Result<Device> {
    let wanted = Wanted::named(name).ok_or_else(|| {
        Usage(format!("unknown device `{name}`, expected `auto`, `cpu`, `cuda:N` or `metal`"))
    })?;
    match wanted {
        Wanted::Auto => {
            let device = open(0).or_else(|_| Device::new_metal(0)).unwrap_or(Device::Cpu);
            say(&format!("device: {}", name_of(&device)));
            Ok(device)
        }
        Wanted::Cpu => Ok(Device::Cpu),
        Wanted::Cuda(n) => open(n).map_err(|e| absent(name, "CUDA", "cuda", e)),
        Wanted::Metal => Device::new_metal(0).map_err(|e| absent(name, "Metal", "metal", e)),
    }
}

/// A CUDA device.
fn open(n: usize) -> candle_core::Result<Device> {
    cuda::open(n).map_err(|error| match error {
        flowmap_dual::Error::Candle(error) => error,
        error => Error::wrap(error),
    })
}

/// The name of a device, as `--device` takes it.
pub fn name_of(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".to_owned(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { .. } => "metal".to_owned(),
    }
}

impl Wanted {
    fn named(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            "metal" => Some(Self::Metal),
            _ => name.strip_prefix("cuda:")?.parse().ok().map(Self::Cuda),
        }
    }
}

/// Why a device is not there: what the program lacks, or what the machine lacks.
fn absent(name: &str, system: &str, feature: &str, error: Error) -> anyhow::Error {
    match error {
        Error::NotCompiledWithCudaSupport | Error::NotCompiledWithMetalSupport => anyhow!(
            "device `{name}` is not there: this program was built without {system}; \
             build it with `--features {feature}`, or use --device cpu"
        ),
        error => anyhow::Error::from(error).context(format!(
            "device `{name}` is not there: this program was built with {system}, \
             but the machine has no such device, or no driver for it; use --device cpu"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_are_read() {
        let cases = [
            ("auto", Some(Wanted::Auto)),
            ("cpu", Some(Wanted::Cpu)),
            ("cuda", Some(Wanted::Cuda(0))),
            ("cuda:3", Some(Wanted::Cuda(3))),
            ("metal", Some(Wanted::Metal)),
            ("cuda:", None),
            ("cuda:-1", None),
            ("gpu", None),
        ];
        for (name, wanted) in cases {
            assert_eq!(Wanted::named(name), wanted, "{name}");
        }
    }

    #[test]
    fn missing_feature_and_missing_device_are_told_apart() {
        let message = |error| format!("{:#}", absent("cuda:0", "CUDA", "cuda", error));
        let built_without = message(Error::NotCompiledWithCudaSupport);
        assert!(
            built_without.contains("built without CUDA; build it with `--features cuda`"),
            "{built_without}"
        );
        let no_device = message(Error::Msg("CUDA_ERROR_NO_DEVICE".into()));
        assert!(no_device.contains("built with CUDA, but") && no_device.contains("NO_DEVICE"), "{no_device}");
    }
}
