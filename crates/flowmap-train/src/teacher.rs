//! The flow that a run distills from.

use std::path::PathBuf;
use std::sync::Arc;

use candle_core::Device;
use flowmap_nn::{ExactField, Teacher};
use serde::{Deserialize, Serialize};

use crate::evaluation::Reference;
use crate::{Config, Error, GuidanceConfig, Model, ModelConfig, Result, Weights};

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
                let reference = Reference::new(&config.data, config.interpolant, student.sigma_data)?;
                let flow = reference.exact().ok_or(Error::NoExactFlow { kind: config.data.kind() })?;
                Ok(Teacher::Field(Arc::new(ExactField::new(flow.clone()))))
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
