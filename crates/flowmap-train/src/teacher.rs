//! The flow that a run distills from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use flowmap_core::InterpolantKind;
use flowmap_data::DataConfig;
use flowmap_nn::net::NetworkConfig;
use flowmap_nn::{
    Autoguided, AverageVelocity, Condition, FlowMap, Guided, GuidedWithin, MixtureField, Teacher,
    VelocityField,
};
use serde::{Deserialize, Serialize};

use crate::error::range;
use crate::evaluation::components;
use crate::generate::check_guide;
use crate::{Config, ConfigSource, Error, GuidanceConfig, Model, ModelConfig, Result, RunDir, Weights};

/// Where the flow to distill from comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum TeacherConfig {
    /// The exact velocity of the data, if it is known.
    Exact {},
    /// A trained model: its flow map, and its velocity on the diagonal; guided, its velocity alone.
    Model(TeacherModel),
    /// A flow of another crate.
    Own(OwnTeacher),
}

/// A flow of another crate by its name.
///
/// Configs write the name down; a program that reads the config without having the flow cannot distill from it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnTeacher {
    name: String,
    #[serde(skip)]
    teacher: Option<Teacher>,
}

/// Flows of one name are equal: what they are is the business of the program that has them.
impl PartialEq for OwnTeacher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// A trained model to distill from, and how it is guided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherModel {
    /// A run directory, a checkpoint directory or a .safetensors file.
    pub path: PathBuf,
    /// Scale of guidance, away from the model without a label, or from `guide`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
    /// A weaker model to guide away from (autoguidance), as `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guide: Option<PathBuf>,
    /// The first and the last time with guidance; all where none are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance_interval: Option<[f64; 2]>,
}

/// A teacher, and by what it is known again.
#[derive(Debug)]
pub struct Taught {
    /// The flow.
    pub teacher: Teacher,
    /// A checksum of the tensors of the teacher and of its guide; `None` for the exact flow.
    pub tensors: Option<String>,
}

impl TeacherModel {
    /// A model without guidance.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), guidance: None, guide: None, guidance_interval: None }
    }

    /// Checks scale and interval.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        let scale = self.guidance.unwrap_or(1.0);
        range("teacher.guidance", scale.is_finite(), "a finite number", scale)?;
        let expected = "none without `teacher.guidance`, the scale of its guidance";
        let has_scale = self.guidance.is_some();
        let guide = self.guide.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        range("teacher.guide", has_scale || self.guide.is_none(), expected, guide)?;
        let Some([first, last]) = self.guidance_interval else { return Ok(()) };
        let found = format!("[{first}, {last}]");
        range("teacher.guidance_interval", has_scale, expected, found.clone())?;
        let fits = (0.0..=1.0).contains(&first) && (first..=1.0).contains(&last);
        range("teacher.guidance_interval", fits, "two times in order, from 0 to 1", found)
    }

    /// The flow for a run whose model is `student`.
    fn build(&self, student: &ModelConfig, device: &Device) -> Result<Taught> {
        let model = Model::open(&self.path, Weights::Best, device)?;
        let fits = |key, expected: String, found: String| {
            if expected == found {
                return Ok(());
            }
            Err(Error::Mismatch { what: "teacher", path: self.path.clone(), key, expected, found })
        };
        let teacher = &model.config;
        fits("interpolant", student.interpolant.to_string(), teacher.interpolant.to_string())?;
        fits("shape", format!("{:?}", student.shape), format!("{:?}", teacher.shape))?;
        fits("n_classes", student.n_classes.to_string(), teacher.n_classes.to_string())?;
        let refused = |key, reason| Err(Error::TeacherGuidance { path: self.path.clone(), key, reason });
        if self.guidance.is_some() && teacher.guidance.is_some() {
            return refused(
                "guidance",
                "is an input of this model; expected a model without it, or [guidance] for the student",
            );
        }
        let scales = |g: Option<GuidanceConfig>| g.map_or("none".to_owned(), |g| g.to_string());
        fits("guidance", scales(student.guidance), scales(teacher.guidance))?;
        fits("sigma_data", student.sigma_data.to_string(), teacher.sigma_data.to_string())?;
        let guide = self.guide.as_ref().map(|path| Model::open(path, Weights::Best, device)).transpose()?;
        let mut bits = Bits::default();
        bits.add(&model)?;
        if let Some(guide) = &guide {
            check_guide(&model, guide)?;
            bits.add(guide)?;
        }
        let Some(scale) = self.guidance else {
            return Ok(Taught { teacher: Teacher::Map(Arc::from(model.net)), tensors: Some(bits.text()) });
        };
        let null_label = teacher.n_classes as u32;
        if guide.is_none() {
            teacher.check_guidance(scale)?;
        }
        let net: Net = Arc::from(model.net);
        let guided: Net = match guide {
            Some(guide) => Arc::new(Autoguided::new(net.clone(), guide.net, scale)),
            None => Arc::new(Guided::new(net.clone(), scale, null_label)),
        };
        let guided: Net = match self.guidance_interval {
            Some(interval) => Arc::new(GuidedWithin::new(net, guided, interval)),
            None => guided,
        };
        // A guided average velocity is not a flow map: only its diagonal belongs to the guided flow.
        let teacher = Teacher::Field(Arc::new(Diagonal(guided)));
        Ok(Taught { teacher, tensors: Some(bits.text()) })
    }
}

/// A network off the tape.
type Net = Arc<dyn AverageVelocity>;

/// The velocity v_{t,t} of a network, and nothing else of it.
struct Diagonal(Net);

impl VelocityField for Diagonal {
    fn velocity(&self, t: &Tensor, x: &Tensor, condition: Condition<'_>) -> flowmap_nn::Result<Tensor> {
        FlowMap::given(&*self.0, condition.without_dropout()).velocity(t, x)
    }
}

/// A sum over the bits of tensors, by which a model is known again: FNV-1a of 64 bits.
struct Bits(u64);

impl Default for Bits {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Bits {
    fn add(&mut self, model: &Model) -> Result<()> {
        for tensor in model.params.tensors().values() {
            for number in tensor.flatten_all()?.to_vec1::<f32>()? {
                self.0 = (self.0 ^ u64::from(number.to_bits())).wrapping_mul(0x0100_0000_01b3);
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        format!("{:016x}", self.0)
    }
}

impl TeacherConfig {
    /// A velocity field or a flow map of another crate under a name, which configs write down.
    pub fn own(name: &str, teacher: Teacher) -> Self {
        Self::Own(OwnTeacher { name: name.to_owned(), teacher: Some(teacher) })
    }

    /// The flow for a run whose model is `student`.
    ///
    /// # Errors
    /// [`Error::NoExactFlow`] if the data have none, [`Error::Mismatch`] for a model of other data or
    /// another interpolant, [`Error::NoHiddenLabels`] and others for one that cannot be guided; as [`Model::open`].
    pub fn build(&self, config: &Config, student: &ModelConfig, device: &Device) -> Result<Taught> {
        match self {
            Self::Exact {} => {
                let DataConfig::GaussianMixture(mixture) = &config.data else {
                    return Err(Error::NoExactFlow { kind: config.data.kind() });
                };
                let parts = components(mixture);
                let field =
                    MixtureField::new(config.interpolant.clone(), student.sigma_data, &parts, device)?;
                Ok(Taught { teacher: Teacher::Field(Arc::new(field)), tensors: None })
            }
            Self::Model(model) => model.build(student, device),
            Self::Own(OwnTeacher { name, teacher }) => {
                let unknown = || flowmap_nn::Error::UnknownOwn { what: "teacher", name: name.clone() };
                Ok(Taught { teacher: teacher.clone().ok_or_else(unknown)?, tensors: None })
            }
        }
    }
}

impl ConfigSource {
    /// The `[teacher]` that `exact` or the path of a model names.
    ///
    /// # Errors
    /// [`Error::Io`] if the current directory is gone.
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

    /// The config that a model was trained by: the config of its run, or else what its config.json says.
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
pub(crate) fn known(model: &ModelConfig) -> Result<String> {
    #[derive(Serialize)]
    struct Known<'a> {
        name: &'a str,
        interpolant: &'a InterpolantKind,
        conditional: bool,
        data: &'a DataConfig,
        network: &'a NetworkConfig,
    }
    let ModelConfig { name, interpolant, data, network, .. } = model;
    let conditional = model.n_classes > 0;
    let known = Known { name, interpolant, conditional, data, network };
    toml::to_string(&known).map_err(|e| Error::Toml { origin: "config.json".into(), message: e.to_string() })
}
