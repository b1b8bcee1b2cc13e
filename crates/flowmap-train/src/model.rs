//! A trained model: its network, and the conventions that a foreign reader needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use flowmap_core::InterpolantKind;
use flowmap_data::{DataConfig, DataSet, Warning};
use flowmap_nn::loss::LearnedWeight;
use flowmap_nn::net::{Conditioning, DataSpec, NetworkConfig};
use flowmap_nn::{AverageVelocity, ParamBuilder, Params};
use serde::{Deserialize, Serialize};

use crate::{Config, Error, GuidanceConfig, Result, RunDir, Trained};

/// The version of config.json and of the files in its directory.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// The conventions of this program, as config.json states them.
const TIME_DIRECTION: &str = "noise at 0, data at 1";
const PARAMETRIZATION: &str = "x + (t - s) v(s, t, x)";
const SECOND_TIME: &str = "t";

/// config.json: everything that is needed to use the tensors in its directory, with every convention stated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Version of the format.
    pub format_version: u32,
    /// Name of the run.
    pub name: String,
    /// `noise at 0, data at 1`.
    pub time_direction: String,
    /// `x + (t - s) v(s, t, x)`: how the tensors make the flow map.
    pub parametrization: String,
    /// `t`: the network's second time is the end of the jump, not its length.
    pub second_time: String,
    /// The interpolant between noise and data.
    pub interpolant: InterpolantKind,
    /// Standard deviation of the data and of the base N(0, sigma_data² I).
    pub sigma_data: f64,
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Number of classes, 0 for none; the label `n_classes` stands for no label.
    pub n_classes: usize,
    /// Names of the classes, in the order of their labels; empty if the data have numbers only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
    /// The share of each class in the training data, in the order of the labels; empty without classes, and in models
    /// that do not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_shares: Vec<f64>,
    /// The scales of guidance that the network takes as an input, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<GuidanceConfig>,
    /// The network and its sizes.
    pub network: NetworkConfig,
    /// The data it was trained on.
    pub data: DataConfig,
    /// How the model was trained; absent in models of other programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained: Option<Trained>,
}

impl ModelConfig {
    /// The model that a run on these data trains, of `n_classes` classes, 0 for none.
    pub fn new(config: &Config, data: &dyn DataSet, n_classes: usize) -> Self {
        let class_names = if n_classes > 0 { data.class_names() } else { &[] };
        Self {
            format_version: FORMAT_VERSION,
            name: config.name.clone(),
            time_direction: TIME_DIRECTION.into(),
            parametrization: PARAMETRIZATION.into(),
            second_time: SECOND_TIME.into(),
            interpolant: config.interpolant.clone(),
            sigma_data: config.sigma(data),
            shape: data.shape().to_vec(),
            n_classes,
            class_names: class_names.to_vec(),
            class_shares: if n_classes > 0 { data.class_shares() } else { Vec::new() },
            guidance: config.guidance,
            network: config.network.clone(),
            data: config.data.clone(),
            trained: Some(Trained::new(config, data)),
        }
    }

    /// Reads a config.json.
    ///
    /// # Errors
    /// Where it cannot be read, is malformed, or has another format version or other conventions.
    pub fn read(path: &Path) -> Result<Self> {
        /// What every version of the format has.
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let text = fs::read(path).map_err(Error::io("reading", path))?;
        let Version { format_version: found } = serde_json::from_slice(&text).map_err(Error::json(path))?;
        if found != FORMAT_VERSION {
            return Err(Error::FormatVersion { path: path.to_owned(), expected: FORMAT_VERSION, found });
        }
        let config: Self = serde_json::from_slice(&text).map_err(Error::json(path))?;
        let conventions = [
            ("time_direction", TIME_DIRECTION, &config.time_direction),
            ("parametrization", PARAMETRIZATION, &config.parametrization),
            ("second_time", SECOND_TIME, &config.second_time),
        ];
        for (key, expected, found) in conventions {
            if expected != found {
                return Err(Error::Convention { path: path.to_owned(), key, expected, found: found.clone() });
            }
        }
        Ok(config)
    }

    /// What the network is conditional on.
    pub fn conditioning(&self) -> Conditioning {
        match self.guidance {
            Some(_) => Conditioning::GuidedLabels(self.n_classes),
            None => self.n_classes.into(),
        }
    }

    /// What the network is built for.
    pub fn spec(&self) -> DataSpec<'_> {
        DataSpec::of(&self.shape).given(self.conditioning()).with_sigma(self.sigma_data)
    }

    /// Refuses a scale of classifier-free guidance that means nothing for this model, or warns if that is not known.
    ///
    /// Guidance of scale w is v(∅) + w (v(c) − v(∅)), so that w = 1 alone needs no v(∅), which hidden labels train.
    ///
    /// # Errors
    /// [`Error::NotConditional`], [`Error::GuidanceScale`] and [`Error::NoHiddenLabels`].
    pub fn check_guidance(&self, scale: f64) -> Result<Option<Warning>> {
        if self.n_classes == 0 {
            return Err(Error::NotConditional);
        }
        if let Some(range) = self.guidance {
            range.check(scale)?;
            return Ok(None);
        }
        match &self.trained {
            _ if scale == 1.0 => Ok(None),
            Some(trained) if trained.hidden_labels => Ok(None),
            Some(_) => Err(Error::NoHiddenLabels { name: format!("`{}`", self.name), scale }),
            None => Ok(Some(Warning {
                subject: self.name.clone(),
                seen: format!(
                    "guidance {scale} of a model whose config.json does not say how it was trained"
                ),
                consequence:
                    "if no label was hidden in its training, what it is guided away from was never learned"
                        .to_owned(),
                remedy: "guide a model that was trained with `train.label_dropout` above 0".to_owned(),
            })),
        }
    }

    /// Builds the network from `builder`.
    ///
    /// # Errors
    /// As [`NetworkConfig::build`].
    pub fn build(
        &self,
        mut builder: ParamBuilder,
    ) -> Result<(Box<dyn AverageVelocity>, Params), flowmap_nn::Error> {
        let net = self.build_network(&mut builder)?;
        Ok((net, builder.finish()?))
    }

    /// Builds the network alone, where `builder` has more to give.
    ///
    /// # Errors
    /// As [`NetworkConfig::build`].
    pub(crate) fn build_network(
        &self,
        builder: &mut ParamBuilder,
    ) -> Result<Box<dyn AverageVelocity>, flowmap_nn::Error> {
        self.network.build(&self.spec(), builder)
    }
}

/// Which of a checkpoint's tensors to use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Weights {
    /// The moving average of the largest decay, or the parameters if there is none.
    #[default]
    Best,
    /// The moving average of this decay.
    Ema(f64),
    /// The parameters of the last step.
    Live,
}

/// A model ready to be sampled: nothing is recorded for a backward pass.
pub struct Model {
    /// The conventions and sizes.
    pub config: ModelConfig,
    /// The network.
    pub net: Box<dyn AverageVelocity>,
    /// The tensors, buffers included.
    pub params: Params,
    /// The file that the tensors came from.
    pub path: PathBuf,
}

impl Model {
    /// Opens a run directory, a checkpoint directory, or a .safetensors file with its config.json beside it.
    ///
    /// # Errors
    /// An error that names the file, if there is no such model, or a file is malformed or does not fit.
    pub fn open(path: &Path, weights: Weights, device: &Device) -> Result<Self> {
        Self::open_with(path, weights, device, |_| ())
    }

    /// Opens the model of a run whose network, interpolant or data belong to another crate, which files name and `config` has.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn open_known(path: &Path, weights: Weights, device: &Device, config: &Config) -> Result<Self> {
        Self::open_with(path, weights, device, |model| {
            if model.network == config.network {
                model.network = config.network.clone();
            }
            if model.interpolant == config.interpolant {
                model.interpolant = config.interpolant.clone();
            }
            if model.data == config.data {
                model.data = config.data.clone();
            }
        })
    }

    fn open_with(
        path: &Path,
        weights: Weights,
        device: &Device,
        complete: impl FnOnce(&mut ModelConfig),
    ) -> Result<Self> {
        let missing = |reason| Error::NoModel { path: path.to_owned(), reason };
        if !path.exists() {
            return Err(missing("no such file or directory"));
        }
        let file = if path.is_dir() {
            let checkpoint = match RunDir::new(path).latest_checkpoint()? {
                Some(checkpoint) => checkpoint,
                None if path.join("config.json").is_file() => path.to_owned(),
                None => return Err(missing("no checkpoint inside")),
            };
            weights_file(&checkpoint, weights)?
        } else if path.extension().is_some_and(|e| e == "safetensors") {
            let found = match weights {
                Weights::Best => None,
                Weights::Ema(decay) => Some(decay.to_string()),
                Weights::Live => Some("none".to_owned()),
            };
            if let Some(found) = found {
                return Err(Error::NoChoice { path: path.to_owned(), found });
            }
            path.to_owned()
        } else {
            return Err(missing("not a .safetensors file"));
        };
        let config_path = file.with_file_name("config.json");
        if !config_path.is_file() {
            return Err(missing("no config.json beside the tensors"));
        }
        let mut config = ModelConfig::read(&config_path)?;
        complete(&mut config);
        let tensors = network_tensors(read_tensors(&file)?);
        let (net, params) = config
            .build(ParamBuilder::frozen(tensors, DType::F32, device))
            .map_err(|source| Error::Tensors { path: file.clone(), source })?;
        Ok(Self { config, net, params, path: file })
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("config", &self.config)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The decays of the moving averages in a checkpoint, the largest first, with their files.
pub(crate) fn ema_files(checkpoint: &Path) -> Result<Vec<(f64, PathBuf)>> {
    let entries = fs::read_dir(checkpoint).map_err(Error::io("reading", checkpoint))?;
    let decay = |path: PathBuf| {
        let decay =
            path.file_name()?.to_str()?.strip_prefix("ema-")?.strip_suffix(".safetensors")?.parse().ok()?;
        Some((decay, path))
    };
    let mut files: Vec<(f64, PathBuf)> = entries.filter_map(|e| decay(e.ok()?.path())).collect();
    files.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(files)
}

fn weights_file(checkpoint: &Path, weights: Weights) -> Result<PathBuf> {
    let files = ema_files(checkpoint)?;
    let live = checkpoint.join("model.safetensors");
    match weights {
        Weights::Live => Ok(live),
        Weights::Best => Ok(files.into_iter().next().map_or(live, |(_, path)| path)),
        Weights::Ema(decay) => {
            let known = files.iter().map(|(d, _)| d.to_string()).collect::<Vec<_>>().join(", ");
            files.into_iter().find(|(d, _)| *d == decay).map(|(_, path)| path).ok_or_else(|| {
                Error::UnknownEma {
                    path: checkpoint.to_owned(),
                    found: decay.to_string(),
                    known: if known.is_empty() { "none".into() } else { known },
                }
            })
        }
    }
}

/// The tensors of a run that belong to its network, without the learned weights of its loss.
pub(crate) fn network_tensors(mut tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    tensors.retain(|name, _| !name.starts_with(LearnedWeight::PREFIX));
    tensors
}

/// The tensors of a safetensors file; what is cut short, malformed or not finite is refused.
pub(crate) fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bytes = fs::read(path).map_err(Error::io("reading", path))?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
        .map_err(|e| Error::Safetensors { path: path.to_owned(), message: e.to_string() })?;
    for (name, tensor) in &tensors {
        if !flowmap_nn::is_finite(tensor)? {
            let source = flowmap_nn::Error::NotFiniteTensor { name: name.clone() };
            return Err(Error::Tensors { path: path.to_owned(), source });
        }
    }
    Ok(tensors.into_iter().collect())
}
