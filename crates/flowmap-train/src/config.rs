//! The config of a run: everything that decides its numbers.

mod conflicts;
mod layers;
mod refusal;

use std::num::NonZeroU64;
use std::path::Path;

use flowmap_core::{Coupling, InterpolantKind};
use flowmap_data::{Augmentation, DataConfig, DataSet};
use flowmap_nn::loss::{Combination, Term};
use flowmap_nn::net::{ActivationMemory, NetworkConfig, Precision};
use flowmap_nn::optim::{OptimizerConfig, Schedule};
use flowmap_nn::{EmaRule, EmaStart, ParamBuilder};
use serde::{Deserialize, Serialize};

pub use layers::{ConfigSource, resolve};

use crate::error::range;
use crate::{Error, GuidanceConfig, Result, TeacherConfig, Weights};

/// The config of a run, every default filled in.
///
/// In a file each part is a table of its own; `flowmap train --dry-run` prints it whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the run and of its directory.
    pub name: String,
    /// Seed of everything random in the run.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// The interpolant between noise and data.
    #[serde(default)]
    pub interpolant: InterpolantKind,
    /// Whether the network is given the labels of the data.
    #[serde(default)]
    pub conditional: bool,
    /// Standard deviation of the base, which the network scales its inputs by too; the data's if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigma_data: Option<f64>,
    /// How noise and data are paired.
    #[serde(default)]
    pub coupling: Coupling,
    /// The flow to distill from, for objectives that do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<TeacherConfig>,
    /// The scales of guidance that the network takes as an input; none for a network without that input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<GuidanceConfig>,
    /// The data set.
    pub data: DataConfig,
    /// What is done to the images of a training batch.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// The network.
    pub network: NetworkConfig,
    /// The objectives with their shares of the batch.
    pub objective: Vec<Term>,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// The learning rate over the run.
    #[serde(default)]
    pub schedule: Schedule,
    /// The loop.
    #[serde(default)]
    pub train: TrainConfig,
    /// The judgment at the end.
    #[serde(default)]
    pub eval: EvalConfig,
}

fn default_seed() -> u64 {
    42
}

/// The training loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Number of optimizer steps.
    pub steps: u64,
    /// Samples in a step.
    pub batch: usize,
    /// Most samples that go through the network at once; the gradients of the parts of a batch add up. 0 to let the device decide.
    pub micro_batch: usize,
    /// What becomes of the activations inside the blocks of the network until the backward pass.
    pub activations: ActivationMemory,
    /// What the network computes in; its parameters, times and losses are in f32 in any case.
    pub precision: Precision,
    /// Base learning rate, which the schedule multiplies.
    pub lr: f64,
    /// Gradients are scaled down to this global norm; 0 for no clipping.
    pub clip_norm: f64,
    /// Decays of the moving averages of the parameters.
    pub ema: Vec<f64>,
    /// Steps from one at which the moving averages move to the next.
    pub ema_every: u64,
    /// What becomes of the random start in the moving averages.
    pub ema_start: EmaStart,
    /// Decay of the moving average that stopped terms are taken from, one of `ema`; 0 for the parameters themselves.
    pub target_ema: f64,
    /// Probability that the label of a sample is hidden, for classifier-free guidance.
    pub label_dropout: f64,
    /// Steps between lines of metrics.jsonl.
    pub log_every: u64,
    /// Steps between checkpoints; one is always written at the end.
    pub checkpoint_every: u64,
    /// How many checkpoints are kept.
    pub keep_checkpoints: usize,
    /// Steps in a row without a finite loss and gradient after which the run ends; until then they are skipped.
    pub max_bad_steps: u32,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 10_000,
            batch: 1024,
            micro_batch: 0,
            activations: ActivationMemory::Keep,
            precision: Precision::F32,
            lr: 1e-3,
            clip_norm: 1.0,
            ema: vec![0.999],
            ema_every: 1,
            ema_start: EmaStart::Forget,
            target_ema: 0.0,
            label_dropout: 0.0,
            log_every: 50,
            checkpoint_every: 5_000,
            keep_checkpoints: 2,
            max_bad_steps: 20,
        }
    }
}

impl TrainConfig {
    /// The builder of a network that is trained like this.
    pub(crate) fn prepared(&self, builder: ParamBuilder) -> ParamBuilder {
        builder.with_activations(self.activations).with_precision(self.precision)
    }

    /// Probability that the label of a row of this term is hidden.
    pub(crate) fn label_dropout_of(&self, term: &Term) -> f64 {
        term.label_dropout.unwrap_or(self.label_dropout)
    }

    /// How the moving averages follow the parameters.
    pub(crate) fn ema_rule(&self) -> EmaRule {
        EmaRule { every: NonZeroU64::new(self.ema_every).unwrap_or(NonZeroU64::MIN), start: self.ema_start }
    }
}

/// Whether no value is there twice.
fn all_differ<T: PartialEq>(values: &[T]) -> bool {
    values.iter().enumerate().all(|(k, value)| !values[..k].contains(value))
}

/// How a run is judged at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Numbers of sampling steps N.
    pub steps: Vec<u32>,
    /// Number of samples.
    pub num: usize,
    /// Metrics by name; empty for those that suit the data.
    pub metrics: Vec<String>,
    /// Scale of classifier-free guidance, as of `flowmap sample --guidance`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
    /// Which weights are judged.
    pub weights: EvalWeights,
}

/// Which weights of a run are judged at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvalWeights {
    /// The moving average of the largest decay, or the parameters if there is none.
    #[default]
    Average,
    /// The parameters of the last step.
    Parameters,
}

impl From<EvalWeights> for Weights {
    fn from(weights: EvalWeights) -> Self {
        match weights {
            EvalWeights::Average => Self::Best,
            EvalWeights::Parameters => Self::Live,
        }
    }
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            steps: vec![1, 2, 4, 8, 16],
            num: 100_000,
            metrics: Vec::new(),
            guidance: None,
            weights: EvalWeights::Average,
        }
    }
}

impl Config {
    /// Checks everything that needs no file and no device.
    ///
    /// # Errors
    /// The first key whose value is out of its range.
    pub fn validate(&self) -> Result<()> {
        let train = &self.train;
        let a_name = !self.name.is_empty() && !self.name.contains(['/', '\\']) && !self.name.starts_with('.');
        range("name", a_name, "a name for a directory", format!("{:?}", self.name))?;
        range("train.steps", train.steps > 0, "at least 1", train.steps)?;
        range("train.batch", train.batch > 0, "at least 1", train.batch)?;
        let has_blocks = !matches!(self.network, NetworkConfig::Mlp(_));
        let activations_fit = has_blocks || train.activations == ActivationMemory::Keep;
        let expected = "\"keep\" for a network without blocks";
        range("train.activations", activations_fit, expected, "\"recompute\"")?;
        let lr_fits = train.lr > 0.0 && train.lr.is_finite();
        range("train.lr", lr_fits, "a positive number", train.lr)?;
        let clip_fits = train.clip_norm >= 0.0 && train.clip_norm.is_finite();
        range("train.clip_norm", clip_fits, "a number of at least 0", train.clip_norm)?;
        let decays_fit = train.ema.iter().all(|d| (0.0..1.0).contains(d));
        range("train.ema", decays_fit, "numbers from 0 to 1, 1 excluded", format!("{:?}", train.ema))?;
        range("train.ema", all_differ(&train.ema), "numbers that differ", format!("{:?}", train.ema))?;
        range("train.ema_every", train.ema_every > 0, "at least 1", train.ema_every)?;
        let target = train.target_ema;
        let target_fits = target == 0.0 || train.ema.contains(&target);
        range("train.target_ema", target_fits, "0 or one of `train.ema`", target)?;
        let dropout_fits = (0.0..=1.0).contains(&train.label_dropout);
        range("train.label_dropout", dropout_fits, "a number from 0 to 1", train.label_dropout)?;
        range("train.log_every", train.log_every > 0, "at least 1", train.log_every)?;
        let every = train.checkpoint_every;
        range("train.checkpoint_every", every > 0, "at least 1", every)?;
        range("train.keep_checkpoints", train.keep_checkpoints > 0, "at least 1", "0")?;
        range("train.max_bad_steps", train.max_bad_steps > 0, "at least 1", "0")?;
        let steps_fit = !self.eval.steps.is_empty() && self.eval.steps.iter().all(|n| *n > 0);
        range("eval.steps", steps_fit, "one number of at least 1 or more", format!("{:?}", self.eval.steps))?;
        range(
            "eval.steps",
            all_differ(&self.eval.steps),
            "numbers that differ",
            format!("{:?}", self.eval.steps),
        )?;
        range("eval.num", self.eval.num > 1, "at least 2", self.eval.num)?;
        if let Some(scale) = self.eval.guidance {
            range("eval.guidance", scale.is_finite(), "a finite number", scale)?;
            range("conditional", self.conditional, "true, which `eval.guidance` needs", "false")?;
            // At scale 1 it is the model of the class itself.
            if scale != 1.0 {
                let expected = "a number above 0, since `eval.guidance` needs the model without a label";
                self.needs_hidden_labels(expected)?;
            }
            let is_trained = self.guidance.is_none_or(|trained| trained.check(scale).is_ok());
            range(
                "eval.guidance",
                is_trained,
                "a scale from `guidance.min` to `guidance.max`",
                scale.to_string(),
            )?;
        }
        let sigma_fits = self.sigma_data.is_none_or(|sigma| sigma > 0.0 && sigma.is_finite());
        range(
            "sigma_data",
            sigma_fits,
            "a positive number",
            format!("{:?}", self.sigma_data.unwrap_or(0.0)),
        )?;
        self.augmentation.validate()?;
        self.schedule.validate()?;
        self.optimizer.validate()?;
        self.network.validate()?;
        Combination::new(self.objective.clone())?;
        if let Some(guidance) = &self.guidance {
            guidance.validate()?;
            range("conditional", self.conditional, "true, which [guidance] needs", "false")?;
            let expected = "a number above 0, since [guidance] learns from samples without a label";
            self.needs_hidden_labels(expected)?;
            self.objective.iter().try_for_each(|term| term.objective.check_guidance())?;
        }
        self.validate_together()?;
        self.coupling.validate().map_err(Error::Coupling)?;
        crate::evaluation::parse_metrics(&self.eval.metrics)?;
        Ok(())
    }

    /// Standard deviation of the base: from the config, or else of the data.
    pub fn sigma(&self, data: &dyn DataSet) -> f64 {
        self.sigma_data.unwrap_or_else(|| data.sigma())
    }

    /// The config as TOML, every default spelled out.
    ///
    /// # Errors
    /// [`Error::Toml`] where a number does not fit TOML, such as a seed of 2⁶³ or more.
    pub fn to_toml(&self) -> Result<String> {
        let origin = || "the config".to_owned();
        toml::to_string(self).map_err(|e| Error::Toml { origin: origin(), message: e.to_string() })
    }

    /// Reads the resolved config of a run.
    ///
    /// # Errors
    /// As [`resolve`].
    pub fn read(path: &Path) -> Result<Self> {
        resolve(&[ConfigSource::file(path)?])
    }
}
