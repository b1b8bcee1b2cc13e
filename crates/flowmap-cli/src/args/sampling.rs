//! The commands that sample: `sample` and `eval`.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;
use flowmap_core::TimeGrid;
use flowmap_train::{Sampling, Weights};

use super::DeviceArg;
use super::values::{ema, guidance, interval, positive, sampler, sampling_steps, seed, times};

/// Options of `sample`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  flowmap sample runs/checkerboard --num 10000 --out samples.npz
  flowmap sample runs/digits --num 64 --steps 2 --out digits.png
  flowmap sample runs/digits --num 10 --class 7 --guidance 1.5 --out sevens
  flowmap sample runs/checkerboard --times 0,0.4,1 --seed 7

The extension of --out chooses the output: .npz (arrays `samples`, `noise`, `labels`), .png (a picture),
or a directory with both.")]
pub struct SampleArgs {
    /// A run directory, a checkpoint directory, or a .safetensors file next to its config.json.
    pub model: PathBuf,
    /// Number of samples.
    #[arg(long, short, default_value_t = 64, value_parser = positive)]
    pub num: usize,
    /// Number of sampling steps, of equal length; one network evaluation each for the sampler flow_map.
    #[arg(long, value_name = "K", default_value = "4", conflicts_with = "times", value_parser = sampling_steps)]
    pub steps: NonZeroU32,
    /// The times of the steps, from noise (0) to data (1), such as 0,0.4,1; in place of --steps.
    #[arg(long, value_name = "T,T,...", allow_hyphen_values = true, value_parser = times)]
    pub times: Option<TimeGrid>,
    /// The class of all samples, by number or name [default: drawn by the shares of the classes in the training data].
    #[arg(long, value_name = "C")]
    pub class: Option<String>,
    /// How samples are drawn.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// The output: FILE.npz, FILE.png, or a directory.
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
  column_w1   largest W1 of a column over its standard deviation, at most 20 000 samples a side
  column_ks   largest Kolmogorov-Smirnov statistic of a column, at most 20 000 samples a side
  correlation largest difference of the correlation of two columns, at most 20 000 samples a side
  c2st        classifier two-sample test by the protocol of sbibm, at most 10 000 samples a side
  map_error   mean squared distance to the exact flow map, for a gaussian_mixture and independent pairs
  class_accuracy  share of images that a network trained on the data recognizes as their class
  frechet     Frechet distance in the features of that network (not the FID of Inception)

For images with labels the network is trained on first use, which takes about a minute, and kept in
$FLOWMAP_CACHE, $XDG_CACHE_HOME/flowmap or ~/.cache/flowmap.")]
pub struct EvalArgs {
    /// A run directory, a checkpoint directory, or a .safetensors file next to its config.json.
    #[arg(required_unless_present = "samples", conflicts_with = "samples")]
    pub model: Option<PathBuf>,
    /// A file of samples to evaluate in place of a model: .npz, .npy or .csv.
    #[arg(long, value_name = "FILE", requires = "reference", conflicts_with = "guidance")]
    pub samples: Option<PathBuf>,
    /// Numbers of sampling steps.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "1,2,4,8,16", value_parser = sampling_steps)]
    pub steps: Vec<NonZeroU32>,
    /// Number of samples.
    #[arg(long, default_value_t = 100_000, value_parser = positive)]
    pub num: usize,
    /// Metrics by name [default: the metrics that suit the data].
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub metrics: Vec<String>,
    /// Data to compare with: the kind of a data set, or a file [default: the data that the model was trained on].
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
    /// The sampler [default: the one that suits the objectives of the model]: flow_map jumps along the times; euler,
    /// midpoint, heun and rk4 integrate the velocity field; consistency jumps to the data and adds fresh noise.
    #[arg(long, value_name = "NAME", value_parser = sampler)]
    pub sampler: Option<Sampling>,
    /// Scale of classifier-free guidance: an input of a model trained for it, two evaluations of others.
    #[arg(long, value_name = "W", value_parser = guidance)]
    pub guidance: Option<f64>,
    /// A weaker model to guide away from, in place of the model without a label (autoguidance).
    #[arg(long, value_name = "MODEL", requires = "guidance")]
    pub guide: Option<PathBuf>,
    /// Guides only jumps that start at times from A to B, such as 0.1,0.8.
    #[arg(long, value_name = "A,B", requires = "guidance", allow_hyphen_values = true, value_parser = interval)]
    pub guidance_interval: Option<[f64; 2]>,
    /// Seed of the noise, and of the reference samples of `eval`.
    #[arg(long, default_value_t = 0, value_parser = seed)]
    pub seed: u64,
    /// Decay of the moving average to use, or `none` for the parameters of the last step [default: the largest decay].
    #[arg(long, value_name = "DECAY", value_parser = ema)]
    pub ema: Option<Weights>,
}
