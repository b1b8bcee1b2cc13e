//! The commands, one file each.

mod eval;
mod info;
mod plot;
mod presets;
mod sample;
mod train;

use std::io;

use anyhow::Result;
use clap::CommandFactory;

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
        Command::Sample(args) => sample::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Presets(args) => presets::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Plot(args) => plot::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "flowmap", &mut io::stdout());
            Ok(())
        }
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
            Err(_) => Err(Usage(format!("--ema: expected a decay such as 0.999, or `none`, found `{decay}`")).into()),
        },
    }
}
