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
use flowmap_train::{Generation, Model, Sampling};

use crate::args::{Cli, Command, SamplingArgs};

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

/// Checks, before any work, that the `file` of an option can be written.
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

/// The model that `--guide` names.
fn guide(path: Option<&Path>, device: &Device) -> Result<Option<Arc<Model>>> {
    let open = |path: &Path| Model::open(path, flowmap_train::Weights::Best, device).context("--guide");
    Ok(path.map(open).transpose()?.map(Arc::new))
}

/// How `args` ask for samples of `model`.
fn generation(args: &SamplingArgs, model: &Model, num: usize, device: &Device) -> Result<Generation> {
    Ok(Generation {
        sampler: args.sampler.unwrap_or_else(|| Sampling::of_model(&model.config)),
        guidance: args.guidance,
        guide: guide(args.guide.as_deref(), device)?,
        interval: args.guidance_interval,
        ..Generation::new(num, args.seed)
    })
}
