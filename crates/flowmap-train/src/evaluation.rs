//! Judging samples against data, and a flow map against its laws.

mod doubt;
mod floor;
mod image_judge;
mod laws;
mod measure;
mod metric;
mod reference;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use candle_core::Device;
use flowmap_core::TimeGrid;
use flowmap_data::{DataSet, FiniteSet, Warning};
use serde::Serialize;

pub use floor::FloorKind;
pub use laws::LawErrors;
pub(crate) use metric::parse_metrics;
pub use metric::{Measured, Metric};
pub use reference::Reference;
pub(crate) use reference::components;

use crate::generate::{Generation, generate};
use crate::{Classes, Config, Error, Model, Result, Sampling};

/// What a run adds to its seed for its judgment, so that no noise of the training is seen again.
const EVALUATION_SEED_OFFSET: u64 = 0x5eed;

/// The numbers of one model, or of one file of samples.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// What was judged: the file of the tensors or of the samples.
    pub subject: String,
    /// What it was judged against: the kind of the data, and which of their samples.
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
    /// The numbers that these data have and this model has not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub omitted: Vec<Omission>,
    /// What is probably not meant as it is, in the training of the model or in the data it is judged against.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// A number that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Omission {
    /// The metric or the law.
    pub name: &'static str,
    /// Why.
    pub reason: &'static str,
}

impl std::fmt::Display for Omission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is left out: it {}", self.name, self.reason)
    }
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

    /// The numbers of steps of the rows, in order; a row of a file of samples has none.
    pub(crate) fn steps(&self) -> impl Iterator<Item = u32> {
        self.rows.iter().filter_map(|row| row.steps)
    }
}

/// Why a model of another program is not judged by what depends on its interpolant.
pub(crate) const OF_KNOWN_INTERPOLANTS: &str =
    "depends on the interpolant, which belongs to another program that trained the model";

/// Judges `model` with `how.num` samples for each number of steps; `progress` is told of every sample made.
///
/// The classes of the samples of a conditional model have the shares that they have in the data, unless `how` says
/// otherwise. Metrics that samples of `how` do not have are left out, with the reason in `omitted`.
///
/// # Errors
/// Where a metric cannot be computed for these data; [`Error::OneClass`] for samples of a single class.
pub fn evaluate(
    model: &Model,
    reference: &Reference,
    metrics: &[Metric],
    steps: &[u32],
    how: &Generation,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Result<Evaluation> {
    if let Some(found) = how.class {
        return Err(Error::OneClass { found });
    }
    let classes = match (&how.classes, reference.class_shares()) {
        (Classes::OfTraining, Some(shares)) => Classes::OfShares(shares),
        (classes, _) => classes.clone(),
    };
    let how = &Generation { classes, ..how.clone() };
    let mut omitted = Vec::new();
    if let Some(reason) = reference.no_exact() {
        omitted.extend(["map_error", "tangent"].map(|name| Omission { name, reason }));
    }
    let mut kept = Vec::new();
    for metric in metrics {
        match metric.check_sampling(how, steps) {
            Ok(()) => kept.push(*metric),
            Err(Error::MetricUnavailable { metric: name, reason }) => omitted.push(Omission { name, reason }),
            Err(error) => return Err(error),
        }
    }
    let mut rows = Vec::new();
    for n in steps {
        let grid = TimeGrid::uniform(NonZeroU32::new(*n).unwrap_or(NonZeroU32::MIN));
        let samples = generate(model, &grid, how, device, progress)?;
        let labels = samples.labels.as_deref();
        let drawn = Drawn { x: &samples.x, noise: Some(&samples.noise), labels };
        let metrics = judge(drawn, reference, &kept, how.seed)?;
        rows.push(StepsRow { steps: Some(*n), metrics });
    }
    let laws = match model.config.interpolant.check_known() {
        Ok(()) => Some(LawErrors::of(model, reference, how, device)?),
        Err(_) => {
            omitted.push(Omission { name: "laws", reason: OF_KNOWN_INTERPOLANTS });
            None
        }
    };
    Ok(Evaluation {
        subject: model.path.display().to_string(),
        reference: reference.description(),
        num: how.num,
        seed: how.seed,
        sampler: Some(how.sampler),
        guidance: how.guidance.or(model.config.guidance.map(|trained| trained.min)),
        rows,
        laws,
        omitted,
        warnings: warnings(model, reference, how.sampler, steps)
            .into_iter()
            .chain(how.warning(&model.config)?)
            .collect(),
    })
}

/// Judges the samples of a file, which may have labels; `subject` names the file.
///
/// # Errors
/// Where a metric cannot be computed for these data and samples.
pub fn evaluate_samples(
    subject: String,
    samples: &FiniteSet,
    reference: &Reference,
    metrics: &[Metric],
    seed: u64,
) -> Result<Evaluation> {
    let drawn = Drawn { labels: samples.labels(), ..Drawn::new(samples.values()) };
    let mut warnings = reference.warnings().to_vec();
    warnings.extend(samples.warnings().iter().cloned());
    warnings.extend(reference.doubts(&subject, drawn, seed));
    Ok(Evaluation {
        subject,
        reference: reference.description(),
        num: samples.n_samples().unwrap_or(0) as usize,
        seed,
        sampler: None,
        guidance: None,
        rows: vec![StepsRow { steps: None, metrics: judge(drawn, reference, metrics, seed)? }],
        laws: None,
        omitted: Vec::new(),
        warnings,
    })
}

/// The warnings of the training, of the reference and of the sampler, each once.
fn warnings(model: &Model, reference: &Reference, sampler: Sampling, steps: &[u32]) -> Vec<Warning> {
    let trained = model.config.trained.as_ref();
    let mut warnings = trained.map_or(Vec::new(), |trained| trained.warnings.clone());
    let most = steps.iter().max().map_or(1, |n| *n as usize);
    for warning in reference.warnings().iter().cloned().chain(sampler.doubt(&model.config, most)) {
        if !warnings.contains(&warning) {
            warnings.push(warning);
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
        metrics.iter().try_for_each(|metric| metric.check_sampling(&self.generation(), &self.eval.steps))?;
        Ok(metrics)
    }

    /// How the judgment at the end of the run samples: by the sampler that suits the objectives.
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
    /// The starting points of the samples, row by row, if known.
    pub noise: Option<&'a [f32]>,
    /// The class that each sample was asked to have, if the model is conditional.
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
