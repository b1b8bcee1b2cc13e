//! The device of `--device`.

use anyhow::{Result, bail};
use candle_core::Device;

use crate::cmd::Usage;

/// The device that `name` asks for.
///
/// # Errors
/// A usage error for a name that is none; else which of the two is missing, the feature or the device.
pub fn device(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::Cpu),
        "metal" => {
            bail!("device `metal` is not there: this program was built without Metal; use --device cpu")
        }
        _ => match name.strip_prefix("cuda:").or((name == "cuda").then_some("0")).map(str::parse::<usize>) {
            Some(Ok(_)) => {
                bail!("device `{name}` is not there: this program was built without CUDA; use --device cpu")
            }
            _ => Err(Usage(format!("unknown device `{name}`, expected `cpu`, `cuda:N` or `metal`")).into()),
        },
    }
}
