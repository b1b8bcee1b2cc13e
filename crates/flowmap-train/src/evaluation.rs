//! Judging samples against data, and a flow map against its laws.

mod image_judge;
mod laws;
mod metric;
mod reference;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use candle_core::Device;
use flowmap_core::TimeGrid;
use flowmap_data::Warning;
use serde::Serialize;

pub use laws::LawErrors;
pub(crate) use metric::parse_metrics;
pub use metric::{Measured, Metric};
pub use reference::Reference;
pub(crate) use reference::components;

use crate::generate::{Generation, generate};
use crate::{Config, Model, Result, Sampling};

/// What a run adds to its seed for its judgement, so that no noise of the training is seen again.
const EVALUATION_SEED_OFFSET: u64 = 0x5eed;

/// The numbers of one model, or of one file of samples.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// What was judged: the file of the tensors or of the samples.
    pub subject: String,
    /// What it was judged against.
    pub reference: String,
    /// Number of samples.
    pub num: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// The sampler, for a model.
    pub sampler: Option<Sampling>,
    /// The scale of guidance: the one asked for, or the smallest that the network takes as an input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
    /// One row per number of steps; one without for a file of samples.
    pub rows: Vec<StepsRow>,
    /// How far the map is from its own laws, for a model.
    pub laws: Option<LawErrors>,
    /// What is probably not meant as it is, in the training of the model or in the data it is judged against.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// The metrics at one number of steps.
#[derive(Clone, Debug, Serialize)]
pub struct StepsRow {
    /// Number N of steps; `None` for a file of samples.
    pub steps: Option<u32>,
    /// The metrics by name.
    pub metrics: BTreeMap<Metric, Measured>,
}

impl Evaluation {
    /// The metrics of the rows, in order.
    pub fn metrics(&self) -> Vec<Metric> {
        self.rows.first().map_or(Vec::new(), |row| row.metrics.keys().copied().collect())
    }
}

/// Judges `model` with `how.num` samples for each number of steps; `progress` is told of every sample made.
///
/// # Errors
/// Where a metric cannot be computed for these data.
pub fn evaluate(
    model: &Model,
    reference: &Reference,
    metrics: &[Metric],
    steps: &[u32],
    how: &Generation,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Result<Evaluation> {
    let mut rows = Vec::new();
    for n in steps {
        let grid = TimeGrid::uniform(NonZeroU32::new(*n).unwrap_or(NonZeroU32::MIN));
        let samples = generate(model, &grid, how, device, progress)?;
        let labels = samples.labels.as_deref();
        let drawn = Drawn { x: &samples.x, noise: Some(&samples.noise), labels };
        let metrics = judge(drawn, reference, metrics, how.seed)?;
        rows.push(StepsRow { steps: Some(*n), metrics });
    }
    Ok(Evaluation {
        subject: model.path.display().to_string(),
        reference: reference.name().to_owned(),
        num: how.num,
        seed: how.seed,
        sampler: Some(how.sampler),
        guidance: how.guidance.or(model.config.guidance.map(|trained| trained.min)),
        rows,
        laws: Some(LawErrors::of(model, reference, how, device)?),
        warnings: warnings(model, reference).into_iter().chain(how.warning(&model.config)?).collect(),
    })
}

/// The warnings of the training and of the reference, each once.
fn warnings(model: &Model, reference: &Reference) -> Vec<Warning> {
    let mut warnings = model.config.trained.as_ref().map_or(Vec::new(), |trained| trained.warnings.clone());
    for warning in reference.data().warnings() {
        if !warnings.contains(warning) {
            warnings.push(warning.clone());
        }
    }
    warnings
}

impl Config {
    /// The metrics of the config, or those that suit the data.
    ///
    /// # Errors
    /// For one that these data do not allow.
    pub fn metrics(&self, reference: &Reference) -> Result<Vec<Metric>> {
        if self.eval.metrics.is_empty() {
            return Ok(Metric::defaults(reference));
        }
        let metrics = parse_metrics(&self.eval.metrics)?;
        metrics.iter().try_for_each(|metric| metric.check(reference))?;
        Ok(metrics)
    }

    /// How the judgement at the end of the run samples: by the sampler that suits the objectives.
    pub fn generation(&self) -> Generation {
        let seed = self.seed.wrapping_add(EVALUATION_SEED_OFFSET);
        let (sampler, guidance) = (self.sampling(), self.eval.guidance);
        Generation { sampler, guidance, ..Generation::new(self.eval.num, seed) }
    }
}

/// Samples to be judged, and what is known of them.
#[derive(Clone, Copy, Debug)]
pub struct Drawn<'a> {
    /// The samples, `(n, ...)` row-major.
    pub x: &'a [f32],
    /// Their starting points, in the same rows, where they are known.
    pub noise: Option<&'a [f32]>,
    /// The class that each should be of, where they are of classes.
    pub labels: Option<&'a [u32]>,
}

impl<'a> Drawn<'a> {
    /// Samples of which nothing else is known.
    pub fn new(x: &'a [f32]) -> Self {
        Self { x, noise: None, labels: None }
    }
}

/// Judges samples.
///
/// # Errors
/// Where a metric cannot be computed for these data.
pub fn judge(
    drawn: Drawn<'_>,
    reference: &Reference,
    metrics: &[Metric],
    seed: u64,
) -> Result<BTreeMap<Metric, Measured>> {
    metrics.iter().map(|metric| Ok((*metric, metric.measure(drawn, reference, seed)?))).collect()
}
