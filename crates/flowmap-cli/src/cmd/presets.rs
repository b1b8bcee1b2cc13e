//! `flowmap presets`.

use anyhow::Result;
use flowmap_train::{PRESETS, preset};

use crate::args::PresetsArgs;
use crate::table;

/// Lists the presets, or prints the config of one.
///
/// # Errors
/// For a name that no preset has.
pub fn run(args: &PresetsArgs) -> Result<()> {
    if let Some(name) = &args.name {
        return Ok(table::line(preset(name)?.toml.trim_end())?);
    }
    for preset in PRESETS {
        table::line(&format!("{:<18}{}", preset.name, preset.about))?;
    }
    Ok(())
}
