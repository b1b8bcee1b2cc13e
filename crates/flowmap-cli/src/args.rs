//! The command line, as it is typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Train, sample and judge generative flow maps.
#[derive(Debug, Parser)]
#[command(
    name = "flowmap",
    version,
    arg_required_else_help = true,
    after_help = "Examples:
  flowmap train                                   train the checkerboard preset, about 3 minutes on 2 cores
  flowmap sample runs/checkerboard --num 1000     draw 1000 samples in 4 steps
  flowmap eval runs/checkerboard                  judge it with 1, 2, 4, 8, 16 steps"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a flow map.
    Train(TrainArgs),
    /// Draw samples from a model.
    Sample(SampleArgs),
    /// Judge a model, or a file of samples.
    Eval(EvalArgs),
    /// List the presets, or print one.
    Presets(PresetsArgs),
    /// Say what a model is.
    Info(InfoArgs),
    /// Draw the figures and the report of a run again.
    Plot(PlotArgs),
    /// Measure what this machine can do.
    Bench(BenchArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Options of `train`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap train                                          the checkerboard preset
  flowmap train --preset digits --out runs/digits        another preset, another place
  flowmap train my.toml --set train.lr=1e-3 --steps 500  a config of your own, changed here and there
  flowmap train --out runs/digits --resume               go on after an interruption
  flowmap train --dry-run > my.toml                      a complete config to start from

Values are taken from the preset, then CONFIG, then --set, then the other options; later ones win.")]
pub struct TrainArgs {
    /// A config file; without it and without --preset, the preset `checkerboard`.
    pub config: Option<PathBuf>,
    /// A preset, see `flowmap presets`.
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// Sets one key, such as `train.lr=1e-3` or `objective.1.stop=none`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// The directory of the run; `runs/NAME` without it.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Seed of everything random.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Number of optimizer steps.
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Goes on from the last checkpoint of --out, with its config.
    #[arg(long)]
    pub resume: bool,
    /// Prints the resolved config and stops.
    #[arg(long)]
    pub dry_run: bool,
    /// Where to compute: `cpu`, `cuda:N` or `metal`.
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

/// Options of `sample`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap sample runs/checkerboard --num 10000 --out samples.npz
  flowmap sample runs/digits --num 64 --steps 2 --out digits.png
  flowmap sample runs/digits --num 10 --class 7 --guidance 1.5 --out sevens
  flowmap sample runs/checkerboard --times 0,0.4,1 --seed 7

The extension of --out says what is written: .npz (arrays `samples`, `noise`, `labels`), .png (a picture),
or a directory with both.")]
pub struct SampleArgs {
    /// A run directory, a checkpoint directory, or a .safetensors file with config.json beside it.
    pub model: PathBuf,
    /// Number of samples.
    #[arg(long, short, default_value_t = 64, value_parser = positive)]
    pub num: usize,
    /// Number of steps of equal length.
    #[arg(long, value_name = "K", default_value = "4", conflicts_with = "times", value_parser = positive)]
    pub steps: usize,
    /// The times of the steps instead, in order, such as 0,0.4,1.
    #[arg(long, value_name = "T,T,...")]
    pub times: Option<String>,
    /// The sampler: flow_map, euler, midpoint, heun or rk4; all but the first integrate the velocity field.
    #[arg(long, default_value = "flow_map")]
    pub sampler: String,
    /// The class of all samples; without it, all classes in turn.
    #[arg(long, value_name = "C")]
    pub class: Option<u32>,
    /// Scale of classifier-free guidance: an input of a model trained for it, two evaluations of others.
    #[arg(long, value_name = "W")]
    pub guidance: Option<f64>,
    /// Seed of the noise.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Decay of the moving average to use, or `none` for the parameters of the last step; the largest without it.
    #[arg(long, value_name = "DECAY")]
    pub ema: Option<String>,
    /// Where to write: FILE.npz, FILE.png, or a directory.
    #[arg(long, short, default_value = "samples.npz")]
    pub out: PathBuf,
    /// Where to compute: `cpu`, `cuda:N` or `metal`.
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

/// Options of `eval`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap eval runs/checkerboard
  flowmap eval runs/checkerboard --steps 1,4 --num 1000000 --metrics kl_exact,sliced_w2 --json result.json
  flowmap eval --samples samples.npz --reference checkerboard

Metrics:
  kl_exact    KL(data || model), 64x64 bins with exact cell masses, pseudo-count 1
  kl_paper    KL(data || model) as arXiv:2505.18825 computes it, 64 000 samples, 50x50 bins
  sliced_w2   sliced W2, 128 directions, at most 20 000 samples a side
  w2          exact W2, at most 1 024 samples a side
  energy      energy distance, at most 10 000 samples a side
  mmd2        unbiased MMD^2, five Gaussian kernels, at most 4 000 samples a side
  map_error   mean squared distance to the exact flow map, for a gaussian_mixture")]
pub struct EvalArgs {
    /// A run directory, a checkpoint directory, or a .safetensors file with config.json beside it.
    #[arg(required_unless_present = "samples", conflicts_with = "samples")]
    pub model: Option<PathBuf>,
    /// A file of samples to judge instead of a model: .npz, .npy or .csv.
    #[arg(long, value_name = "FILE", requires = "reference")]
    pub samples: Option<PathBuf>,
    /// Numbers of sampling steps.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "1,2,4,8,16", value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: Vec<u32>,
    /// Number of samples.
    #[arg(long, default_value_t = 100_000, value_parser = positive)]
    pub num: usize,
    /// Metrics by name; without it, those that suit the data.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub metrics: Vec<String>,
    /// Data to judge against: the kind of a data set, or a file; without it, what the model was trained on.
    #[arg(long, value_name = "DATA")]
    pub reference: Option<String>,
    /// Scale of classifier-free guidance, as for `sample`; none without it.
    #[arg(long, value_name = "W", conflicts_with = "samples")]
    pub guidance: Option<f64>,
    /// Seed of the noise and of the reference samples.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Decay of the moving average to use, or `none` for the parameters of the last step; the largest without it.
    #[arg(long, value_name = "DECAY")]
    pub ema: Option<String>,
    /// Writes all numbers to this file as JSON; `-` prints them instead of the table.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where to compute: `cpu`, `cuda:N` or `metal`.
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

/// Options of `presets`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap presets
  flowmap presets digits > my.toml")]
pub struct PresetsArgs {
    /// Prints this preset's config.
    pub name: Option<String>,
}

/// Options of `info`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap info runs/checkerboard
  flowmap info runs/checkerboard --format json")]
pub struct InfoArgs {
    /// A run directory, a checkpoint directory, or a .safetensors file with config.json beside it.
    pub model: PathBuf,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// How to print.
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
    /// Where to compute: `cpu`, `cuda:N` or `metal`.
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

/// Options of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap bench                                     LSD, batch 1024, MLP 4x512, all cores
  flowmap bench --objective psd --batch 4096        another objective, another batch
  flowmap bench --width 128 --threads 1 --json      a smaller network on one thread, for programs

Objectives: flow_matching, lsd, lsd.stop_none, esd, esd.stop_none, psd, mean_flow.

A training step is all that `flowmap train` does in one, sampling all that `flowmap sample` does but for the file.
The GEMM limit is the time that the matrix products alone take, at the rate of one measured in turns with the rest.")]
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
    /// Number of threads; without it, RAYON_NUM_THREADS or all cores.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub threads: Option<usize>,
    /// Seconds that each of the four measurements takes.
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub seconds: f64,
    /// Where to compute: `cpu`, `cuda:N` or `metal`.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Prints JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// A whole number of at least one.
fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1".into()),
        Ok(n) => Ok(n),
        Err(_) => Err("expected a whole number of at least 1".into()),
    }
}
