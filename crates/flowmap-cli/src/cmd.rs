//! The commands, one file each.

mod bench;
mod compare;
mod distill;
mod eval;
mod info;
mod plot;
mod presets;
mod sample;
mod train;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use flowmap_train::{Model, Sampling};

use crate::args::{Cli, Command};

/// Wrong usage that the parser cannot see: exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Runs the command.
///
/// # Errors
/// What the command found wrong.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Train(args) => train::run(&args),
        Command::Distill(args) => distill::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Sample(args) => sample::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Presets(args) => presets::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Plot(args) => plot::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Completions { shell } => {
            // Into memory first: the generator panics where its output is closed early.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::grammar(), "flowmap", &mut script);
            Ok(io::stdout().write_all(&script)?)
        }
    }
}

/// Checks, before any work, that `file` can be written where `option` puts it.
fn check_place(option: &str, file: &Path) -> Result<()> {
    let parent = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        bail!("{option} {}: expected a directory {}, found none", file.display(), parent.display());
    }
    if file.is_dir() {
        bail!("{option} {}: expected a file, found a directory", file.display());
    }
    Ok(())
}

/// Refuses a scale of `--guidance` that is no number.
fn check_guidance(scale: Option<f64>) -> Result<()> {
    match scale.filter(|scale| !scale.is_finite()) {
        Some(scale) => Err(Usage(format!("--guidance: expected a finite number, found {scale}")).into()),
        None => Ok(()),
    }
}

/// The model that `--guide` names.
fn guide(path: Option<&Path>, device: &Device) -> Result<Option<Arc<Model>>> {
    let open = |path: &Path| Model::open(path, flowmap_train::Weights::Best, device).context("--guide");
    Ok(path.map(open).transpose()?.map(Arc::new))
}

/// The times of `--guidance-interval`.
fn interval(text: Option<&str>) -> Result<Option<[f64; 2]>> {
    let Some(text) = text else { return Ok(None) };
    let ends = text.split_once(',').and_then(|(a, b)| Some([a.trim().parse().ok()?, b.trim().parse().ok()?]));
    match ends.filter(|[a, b]: &[f64; 2]| (0.0..=1.0).contains(a) && (*a..=1.0).contains(b)) {
        Some(interval) => Ok(Some(interval)),
        None => {
            let expected = "expected two times A,B with 0 <= A <= B <= 1";
            Err(Usage(format!("--guidance-interval: {expected}, found `{text}`")).into())
        }
    }
}

/// The sampler that `--sampler` asks for, or the one for what the model was trained for.
fn sampler(name: Option<&str>, model: &Model) -> Result<Sampling> {
    match name {
        None => Ok(Sampling::of_model(&model.config)),
        Some(name) => Ok(name.parse().map_err(|e| Usage(format!("--sampler: {e}")))?),
    }
}

/// The weights that `--ema` asks for.
fn weights(ema: Option<&str>) -> Result<flowmap_train::Weights> {
    use flowmap_train::Weights;
    match ema {
        None => Ok(Weights::Best),
        Some("none") => Ok(Weights::Live),
        Some(decay) => match decay.parse() {
            Ok(decay) => Ok(Weights::Ema(decay)),
            Err(_) => {
                Err(Usage(format!("--ema: expected a decay such as 0.999, or `none`, found `{decay}`"))
                    .into())
            }
        },
    }
}
