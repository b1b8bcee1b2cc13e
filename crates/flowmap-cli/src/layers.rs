//! The layers of a config that the command line asks for, and the place of a run.

use std::path::{Path, PathBuf};

use anyhow::Result;
use flowmap_train::{ConfigSource, RunDir};

use crate::args::RunArgs;
use crate::cmd::Usage;

/// The layers below all options: preset < file, or for a resumed run its own config; `neither` stands for both.
pub fn below(
    args: &RunArgs,
    config: Option<&Path>,
    neither: impl FnOnce() -> flowmap_train::Result<ConfigSource>,
) -> Result<Vec<ConfigSource>> {
    if args.resume {
        let Some(out) = &args.out else {
            return Err(Usage("--resume needs --out DIR, the run to go on with".into()).into());
        };
        if args.preset.is_some() || config.is_some() {
            let message = "--resume takes the config of the run; use --set to change it";
            return Err(Usage(message.into()).into());
        }
        return Ok(vec![ConfigSource::file(&RunDir::new(out).config())?]);
    }
    named(args.preset.as_deref(), config, neither)
}

/// The layers of a preset and a file, or what stands for both.
pub fn named(
    preset: Option<&str>,
    config: Option<&Path>,
    neither: impl FnOnce() -> flowmap_train::Result<ConfigSource>,
) -> Result<Vec<ConfigSource>> {
    let mut layers = Vec::new();
    match preset {
        Some(preset) => layers.push(ConfigSource::preset(preset)?),
        None if config.is_none() => layers.push(neither()?),
        None => {}
    }
    if let Some(path) = config {
        layers.push(ConfigSource::file(path)?);
    }
    Ok(layers)
}

/// The layers of the options: `--set` < flags.
pub fn above(args: &RunArgs) -> Result<Vec<ConfigSource>> {
    let mut layers = args.sets.iter().map(|set| ConfigSource::set(set)).collect::<Result<Vec<_>, _>>()?;
    if let Some(steps) = args.steps.and_then(|steps| i64::try_from(steps).ok()) {
        layers.push(ConfigSource::value(format!("--steps {steps}"), "train.steps", steps));
    }
    if args.skip_bad {
        layers.push(ConfigSource::value("--skip-bad".to_owned(), "data.skip_bad", true));
    }
    layers.extend(seed_layer(args.seed)?);
    Ok(layers)
}

/// The layer of `--seed`.
pub fn seed_layer(seed: Option<u64>) -> Result<Option<ConfigSource>> {
    let layer = |seed: u64| match i64::try_from(seed) {
        Ok(seed) => Ok(ConfigSource::value(format!("--seed {seed}"), "seed", seed)),
        Err(_) => Err(Usage(format!("--seed: expected a number below 2^63, found {seed}")).into()),
    };
    seed.map(layer).transpose()
}

/// `parent/name`, or `parent/name-N` if it exists.
pub fn free_dir(parent: &Path, name: &str) -> PathBuf {
    let numbered = (2..).map(|n| parent.join(format!("{name}-{n}")));
    std::iter::once(parent.join(name))
        .chain(numbered)
        .find(|path| !path.exists())
        .unwrap_or_else(|| parent.join(name))
}
