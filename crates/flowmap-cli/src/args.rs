//! The command line, as it is typed.

mod sampling;
mod training;
mod values;

use std::path::PathBuf;

use clap::{Args, Command as Parsed, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
pub use sampling::{EvalArgs, SampleArgs, SamplingArgs};
pub use training::{CompareArgs, DistillArgs, RunArgs, TrainArgs};
use values::positive;

/// Train, sample and evaluate generative flow maps.
#[derive(Debug, Parser)]
#[command(
    name = "flowmap",
    version,
    arg_required_else_help = true,
    after_help = "Examples:
  flowmap train                                   train the checkerboard preset, 2.5 minutes on 2 cores
  flowmap sample runs/checkerboard --num 1000     draw 1000 samples in 4 steps
  flowmap eval runs/checkerboard                  evaluate the model with 1, 2, 4, 8, 16 steps"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The command line of this process; a wrong one ends it with the message and the exit code 2.
    pub fn from_process() -> Self {
        let matches = Self::grammar().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// The grammar, in which `-3` after an option is its value and not another option.
    pub fn grammar() -> Parsed {
        Self::command().mut_subcommands(|command| {
            command.mut_args(|arg| match arg.get_long() {
                Some(_) if arg.get_action().takes_values() => arg.allow_negative_numbers(true),
                _ => arg,
            })
        })
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a flow map.
    Train(TrainArgs),
    /// Train a flow map from a teacher, a trained model or the exact velocity.
    Distill(DistillArgs),
    /// Train several methods for the same time, and compare them.
    Compare(CompareArgs),
    /// Draw samples from a model.
    Sample(SampleArgs),
    /// Evaluate a model, or a file of samples.
    Eval(EvalArgs),
    /// List the presets and the methods, or print one.
    Presets(PresetsArgs),
    /// Print the conventions, network and tensors of a model.
    Info(InfoArgs),
    /// Draw the figures and the report of a run again.
    Plot(PlotArgs),
    /// Measure the speed of training and sampling on this machine.
    Bench(BenchArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// The option of every command that computes.
#[derive(Debug, Args)]
pub struct DeviceArg {
    /// The device: `cpu`, `cuda:N`, `metal`, or `auto` for the first of `cuda:0`, `metal`, `cpu` that works.
    #[arg(long = "device", value_name = "DEVICE", default_value = "cpu")]
    pub name: String,
}

/// Options of `presets`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap presets                    presets and methods
  flowmap presets digits > my.toml   the config of a preset
  flowmap presets lsd                what a method costs, and the terms that train it
  flowmap presets --json

Costs are network evaluations a sample: `d` carries a derivative, `q` is an evaluation of the teacher; the
backward pass goes through the evaluations on the tape.")]
pub struct PresetsArgs {
    /// Prints the config of this preset, or the terms of this method.
    pub name: Option<String>,
    /// Prints JSON instead of tables.
    #[arg(long, conflicts_with = "name")]
    pub json: bool,
}

/// Options of `info`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap info runs/checkerboard
  flowmap info runs/checkerboard --format json
  flowmap info --device cuda:0")]
pub struct InfoArgs {
    /// A run directory, a checkpoint directory, or a .safetensors file next to its config.json.
    #[arg(required_unless_present = "device", conflicts_with = "device")]
    pub model: Option<PathBuf>,
    /// Lists the operations that are fused on a device: `auto`, `cpu`, `cuda:N` or `metal`.
    #[arg(long)]
    pub device: Option<String>,
    /// The output format.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// The output format.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Options of `plot`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap plot runs/checkerboard")]
pub struct PlotArgs {
    /// A run directory.
    pub run: PathBuf,
    /// The device.
    #[command(flatten)]
    pub device: DeviceArg,
}

/// Options of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap bench                                     LSD, batch 1024, MLP 4x512, all cores
  flowmap bench --objective psd --batch 4096        another objective, another batch
  flowmap bench --width 128 --threads 1 --json      a smaller network on one thread, for programs

Objectives: flow_matching, lsd, lsd.stop_none, esd, esd.stop_none, psd, mean_flow.

A training step is everything that `flowmap train` does in a step; sampling is everything that `flowmap sample` does
except writing the file. The GEMM limit is the time of the matrix products alone, at the rate of a product that is
measured in turns with the rest.")]
pub struct BenchArgs {
    /// The objective.
    #[arg(long, value_name = "NAME", default_value = "lsd")]
    pub objective: String,
    /// Samples in a training step.
    #[arg(long, value_name = "N", default_value = "1024", value_parser = positive)]
    pub batch: usize,
    /// Width of the network's layers.
    #[arg(long, value_name = "N", default_value = "512", value_parser = positive)]
    pub width: usize,
    /// Number of hidden layers between the first and the last.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub hidden: usize,
    /// Number of threads [default: RAYON_NUM_THREADS, or all cores].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub threads: Option<usize>,
    /// Seconds of each of the four measurements.
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub seconds: f64,
    /// The device.
    #[command(flatten)]
    pub device: DeviceArg,
    /// Prints JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}
