//! The flow that a run distills from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use flowmap_core::InterpolantKind;
use flowmap_data::DataConfig;
use flowmap_nn::{MixtureField, Teacher};
use serde::{Deserialize, Serialize};

use crate::evaluation::components;
use crate::{
    Config, ConfigSource, Error, GuidanceConfig, Model, ModelConfig, NetworkConfig, Result, RunDir, Weights,
};

/// Where the flow to distill from comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum TeacherConfig {
    /// The exact velocity of the data, where it is known.
    Exact {},
    /// A trained model: its flow map, and its velocity on the diagonal.
    Model {
        /// A run directory, a checkpoint directory or a .safetensors file.
        path: PathBuf,
    },
}

impl TeacherConfig {
    /// The flow for a run whose model is `student`.
    ///
    /// # Errors
    /// [`Error::NoExactFlow`] where the data have none, [`Error::TeacherMismatch`] for a model of other data or
    /// another interpolant; as [`Model::open`].
    pub fn build(&self, config: &Config, student: &ModelConfig, device: &Device) -> Result<Teacher> {
        match self {
            Self::Exact {} => {
                let DataConfig::GaussianMixture(mixture) = &config.data else {
                    return Err(Error::NoExactFlow { kind: config.data.kind() });
                };
                let parts = components(mixture);
                let field = MixtureField::new(config.interpolant, student.sigma_data, &parts, device)?;
                Ok(Teacher::Field(Arc::new(field)))
            }
            Self::Model { path } => {
                let model = Model::open(path, Weights::Best, device)?;
                let fits = |key, expected: String, found: String| {
                    if expected == found {
                        return Ok(());
                    }
                    Err(Error::TeacherMismatch { path: path.clone(), key, expected, found })
                };
                let teacher = &model.config;
                fits("interpolant", student.interpolant.to_string(), teacher.interpolant.to_string())?;
                fits("shape", format!("{:?}", student.shape), format!("{:?}", teacher.shape))?;
                fits("n_classes", student.n_classes.to_string(), teacher.n_classes.to_string())?;
                let scales = |g: Option<GuidanceConfig>| g.map_or("none".to_owned(), |g| g.to_string());
                fits("guidance", scales(student.guidance), scales(teacher.guidance))?;
                fits("sigma_data", student.sigma_data.to_string(), teacher.sigma_data.to_string())?;
                Ok(Teacher::Map(Arc::from(model.net)))
            }
        }
    }
}

impl ConfigSource {
    /// The `[teacher]` that `exact` or the path of a model names.
    ///
    /// # Errors
    /// [`Error::Io`] where the current directory is gone.
    pub fn teacher(name: &str) -> Result<Self> {
        let mut teacher = toml::Table::new();
        if name == "exact" {
            teacher.insert("kind".into(), "exact".into());
        } else {
            // The config of the run means the same model from everywhere.
            let path = std::path::absolute(name).map_err(Error::io("reading", Path::new(name)))?;
            teacher.insert("kind".into(), "model".into());
            teacher.insert("path".into(), path.display().to_string().into());
        }
        Ok(Self::value(format!("teacher {name}"), "teacher", teacher))
    }

    /// The config that a model was trained by: that of its run, or without one what its config.json says.
    ///
    /// # Errors
    /// As [`Model::open`] and [`ConfigSource::file`].
    pub fn of_model(path: &Path) -> Result<Self> {
        let model = Model::open(path, Weights::Best, &Device::Cpu)?;
        // RUN/checkpoints/STEP/FILE
        let is_in_run = model.path.ancestors().nth(2).is_some_and(|dir| dir.ends_with("checkpoints"));
        if let Some(run) = model.path.ancestors().nth(3).filter(|_| is_in_run) {
            let config = RunDir::new(run).config();
            if config.is_file() {
                return Self::file(&config);
            }
        }
        Self::text(format!("teacher {}", path.display()), &known(&model.config)?)
    }
}

/// What a config.json knows of the config of its run, as TOML.
fn known(model: &ModelConfig) -> Result<String> {
    #[derive(Serialize)]
    struct Known<'a> {
        name: &'a str,
        interpolant: InterpolantKind,
        conditional: bool,
        data: &'a DataConfig,
        network: &'a NetworkConfig,
    }
    let ModelConfig { name, interpolant, data, network, .. } = model;
    let conditional = model.n_classes > 0;
    let known = Known { name, interpolant: *interpolant, conditional, data, network };
    toml::to_string(&known).map_err(|e| Error::Toml { origin: "config.json".into(), message: e.to_string() })
}
