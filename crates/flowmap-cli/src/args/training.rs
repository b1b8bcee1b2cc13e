//! The commands that train: `train`, `distill` and `compare`.

use std::path::PathBuf;

use clap::Args;

use super::DeviceArg;
use super::values::{seconds, seed, training_steps};

/// Options of `train`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap train                                          the checkerboard preset
  flowmap train --preset digits --out runs/digits        another preset, another directory
  flowmap train my.toml --set train.lr=1e-3 --steps 500  a config of your own, with two keys changed
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
    /// The teacher: a run directory, a checkpoint directory, a .safetensors file next to its config.json,
    /// or `exact` for the exact velocity of the data.
    pub teacher: String,
    /// A config file for the student.
    pub config: Option<PathBuf>,
    /// The objective, with its recipe (see `flowmap presets`) [default: the objectives of the config, or lmd].
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
    /// The directory of the run [default: runs/NAME].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Seed of the parameters, data, noise and times [default: of the config].
    #[arg(long, value_parser = seed)]
    pub seed: Option<u64>,
    /// Number of optimizer steps [default: of the config].
    #[arg(long, value_name = "N", value_parser = training_steps)]
    pub steps: Option<u64>,
    /// Goes on from the last checkpoint in --out, with the config of that run.
    #[arg(long)]
    pub resume: bool,
    /// Skips bad records of data files and prints their number; without it the first one is an error.
    #[arg(long)]
    pub skip_bad: bool,
    /// Prints the config with all defaults, and parameters, memory and operations of a step; trains nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The device.
    #[command(flatten)]
    pub device: DeviceArg,
}

/// Options of `compare`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap compare                                             every applicable method, 60 s each, on the checkerboard
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
    /// Training time of each method, such as 60s, 2m or 90 (seconds).
    #[arg(long, default_value = "60s", value_parser = seconds)]
    pub time: f64,
    /// Number of optimizer steps of each method, instead of a time.
    #[arg(long, value_name = "N", conflicts_with = "time", value_parser = training_steps)]
    pub steps: Option<u64>,
    /// Methods by name [default: all that apply].
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub methods: Vec<String>,
    /// The directory, which must be empty or not exist [default: runs/compare-NAME].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Seed of the parameters, data, noise and times [default: of the config].
    #[arg(long, value_parser = seed)]
    pub seed: Option<u64>,
    /// Prints the recipe of each method; trains nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Also writes all numbers to this file, as JSON; `-` prints them instead of the table.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The device.
    #[command(flatten)]
    pub device: DeviceArg,
}
