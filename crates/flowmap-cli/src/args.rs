//! The command line, as it is typed.

mod values;

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Command as Parsed, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use flowmap_core::TimeGrid;
use flowmap_train::{Sampling, Weights};
use values::{
    ema, guidance, interval, positive, sampler, sampling_steps, seconds, seed, times, training_steps,
};

/// Train, sample and judge generative flow maps.
#[derive(Debug, Parser)]
#[command(
    name = "flowmap",
    version,
    arg_required_else_help = true,
    after_help = "Examples:
  flowmap train                                   train the checkerboard preset, 2.5 minutes on 2 cores
  flowmap sample runs/checkerboard --num 1000     draw 1000 samples in 4 steps
  flowmap eval runs/checkerboard                  judge it with 1, 2, 4, 8, 16 steps"
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
    /// Train a flow map on a teacher.
    Distill(DistillArgs),
    /// Train every method for the same time, and compare them.
    Compare(CompareArgs),
    /// Draw samples from a model.
    Sample(SampleArgs),
    /// Judge a model, or a file of samples.
    Eval(EvalArgs),
    /// List the presets and the methods, or print one.
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
    /// Options common to `train` and `distill`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Options of `distill`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap distill runs/checkerboard                               a student like its teacher, by LMD
  flowmap distill runs/checkerboard --objective emd --steps 5000  by another objective
  flowmap distill runs/big small.toml --objective lmd             a student of your own
  flowmap distill runs/digits --set teacher.guidance=2.0          a student of the guided flow
  flowmap distill exact                                           the preset distill-mixture
  flowmap distill exact --preset gaussian-mixture --objective map_distillation

Without CONFIG and --preset, the student has the data, network and settings of the teacher's run.
Objectives: lmd, emd, align_your_flow, pfmm, map_distillation, consistency, scm, ctm.
Values are taken from the teacher's run, preset or CONFIG, then TEACHER and --objective, then --set, then the other
options; later ones win.")]
pub struct DistillArgs {
    /// The teacher: a run directory, a checkpoint directory, a .safetensors file with config.json beside it,
    /// or `exact` for the exact velocity of the data.
    pub teacher: String,
    /// A config file for the student.
    pub config: Option<PathBuf>,
    /// The objective, with its recipe (see `flowmap presets`); without it that of the config, or lmd.
    #[arg(long, value_name = "NAME")]
    pub objective: Option<String>,
    /// Options common to `train` and `distill`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Options common to `train` and `distill`.
#[derive(Debug, Args)]
pub struct RunArgs {
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
    #[arg(long, value_parser = seed)]
    pub seed: Option<u64>,
    /// Number of optimizer steps.
    #[arg(long, value_name = "N", value_parser = training_steps)]
    pub steps: Option<u64>,
    /// Goes on from the last checkpoint of --out, with its config.
    #[arg(long)]
    pub resume: bool,
    /// Leaves out bad records of the data files, and says how many, instead of ending at the first.
    #[arg(long)]
    pub skip_bad: bool,
    /// Prints the resolved config and stops.
    #[arg(long)]
    pub dry_run: bool,
    /// The device.
    #[command(flatten)]
    pub device: DeviceArg,
}

/// Options of `compare`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap compare                                             every method that applies, 60 s each, on the checkerboard
  flowmap compare --methods lsd,psd,mean_flow --time 2m       some of them, for longer
  flowmap compare --preset gaussian-mixture                   with the methods that distill, from the exact velocity
  flowmap compare my.toml --set train.batch=512 --out runs/c  on data of your own
  flowmap compare --dry-run                                   the recipe of each method

All methods share data, network, optimizer, batch and learning rate; the terms of each are its recipe.
The directory has one run for each method, and comparison.png, comparison.md and comparison.json.
`flowmap presets` lists the methods.")]
pub struct CompareArgs {
    /// A config file; without it and without --preset, the preset `checkerboard`.
    pub config: Option<PathBuf>,
    /// A preset, see `flowmap presets`.
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// Sets one key that all methods share, such as `train.lr=1e-3`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Time of training of each method, such as 60s, 2m or 90.
    #[arg(long, default_value = "60s", value_parser = seconds)]
    pub time: f64,
    /// Number of optimizer steps of each method, instead of a time.
    #[arg(long, value_name = "N", conflicts_with = "time", value_parser = training_steps)]
    pub steps: Option<u64>,
    /// Methods by name; without it, all that apply.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub methods: Vec<String>,
    /// The directory, which must be empty or not there; `runs/compare-NAME` without it.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Seed of everything random.
    #[arg(long, value_parser = seed)]
    pub seed: Option<u64>,
    /// Prints the recipe of each method and stops.
    #[arg(long)]
    pub dry_run: bool,
    /// Writes all numbers to this file too, as JSON; `-` prints them instead of the table.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The device.
    #[command(flatten)]
    pub device: DeviceArg,
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
    #[arg(long, value_name = "K", default_value = "4", conflicts_with = "times", value_parser = sampling_steps)]
    pub steps: NonZeroU32,
    /// The times of the steps instead, in order, such as 0,0.4,1.
    #[arg(long, value_name = "T,T,...", allow_hyphen_values = true, value_parser = times)]
    pub times: Option<TimeGrid>,
    /// The class of all samples, by its number or its name; without it, classes are drawn by their shares in the training
    /// data.
    #[arg(long, value_name = "C")]
    pub class: Option<String>,
    /// How samples are drawn.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Where to write: FILE.npz, FILE.png, or a directory.
    #[arg(long, short, default_value = "samples.npz")]
    pub out: PathBuf,
    /// The device.
    #[command(flatten)]
    pub device: DeviceArg,
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
  energy      unbiased energy distance, at most 10 000 samples a side
  mmd2        unbiased MMD^2, five Gaussian kernels, at most 4 000 samples a side
  map_error   mean squared distance to the exact flow map, for a gaussian_mixture and independent pairs
  class_accuracy  share of images whose class is seen by a network trained on the data
  frechet     Frechet distance in the features of that network (no FID)

For images with labels the network is trained when it is first needed, which takes about a minute, and kept in
$FLOWMAP_CACHE, $XDG_CACHE_HOME/flowmap or ~/.cache/flowmap.")]
pub struct EvalArgs {
    /// A run directory, a checkpoint directory, or a .safetensors file with config.json beside it.
    #[arg(required_unless_present = "samples", conflicts_with = "samples")]
    pub model: Option<PathBuf>,
    /// A file of samples to judge instead of a model: .npz, .npy or .csv.
    #[arg(long, value_name = "FILE", requires = "reference", conflicts_with = "guidance")]
    pub samples: Option<PathBuf>,
    /// Numbers of sampling steps.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "1,2,4,8,16", value_parser = sampling_steps)]
    pub steps: Vec<NonZeroU32>,
    /// Number of samples.
    #[arg(long, default_value_t = 100_000, value_parser = positive)]
    pub num: usize,
    /// Metrics by name; without it, those that suit the data.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub metrics: Vec<String>,
    /// Data to judge against: the kind of a data set, or a file; without it, what the model was trained on.
    #[arg(long, value_name = "DATA")]
    pub reference: Option<String>,
    /// How samples are drawn.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Writes all numbers to this file as JSON; `-` prints them instead of the table.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The device.
    #[command(flatten)]
    pub device: DeviceArg,
}

/// How `sample` and `eval` draw samples.
#[derive(Debug, Args)]
pub struct SamplingArgs {
    /// The sampler; without it, the one that suits the objectives of the model: flow_map jumps along the times; euler,
    /// midpoint, heun and rk4 integrate the velocity field; consistency jumps to the data and adds fresh noise.
    #[arg(long, value_name = "NAME", value_parser = sampler)]
    pub sampler: Option<Sampling>,
    /// Scale of classifier-free guidance: an input of a model trained for it, two evaluations of others.
    #[arg(long, value_name = "W", value_parser = guidance)]
    pub guidance: Option<f64>,
    /// A weaker model to guide away from, instead of the model without a label (autoguidance).
    #[arg(long, value_name = "MODEL", requires = "guidance")]
    pub guide: Option<PathBuf>,
    /// Guides only jumps that start at times from A to B, such as 0.1,0.8.
    #[arg(long, value_name = "A,B", requires = "guidance", allow_hyphen_values = true, value_parser = interval)]
    pub guidance_interval: Option<[f64; 2]>,
    /// Seed of the noise, and of the reference samples of `eval`.
    #[arg(long, default_value_t = 0, value_parser = seed)]
    pub seed: u64,
    /// Decay of the moving average to use, or `none` for the parameters of the last step; without it, the largest decay.
    #[arg(long, value_name = "DECAY", value_parser = ema)]
    pub ema: Option<Weights>,
}

/// The option of every command that computes.
#[derive(Debug, Args)]
pub struct DeviceArg {
    /// Where to compute: `cpu`, `cuda:N`, `metal`, or `auto` for the first of `cuda:0`, `metal`, `cpu` that works.
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

Costs are network evaluations a sample: `d` carries a derivative, `q` is one of the teacher; the backward pass goes
through those on the tape.")]
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
    /// A run directory, a checkpoint directory, or a .safetensors file with config.json beside it.
    #[arg(required_unless_present = "device", conflicts_with = "device")]
    pub model: Option<PathBuf>,
    /// Lists which operations have a kernel of their own on a device: `auto`, `cpu`, `cuda:N` or `metal`.
    #[arg(long)]
    pub device: Option<String>,
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
    /// The device.
    #[command(flatten)]
    pub device: DeviceArg,
    /// Prints JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}
