//! Comparing methods: each trained for the same wall time on the same data, and judged the same way.
//!
//! All share data, network, optimizer, batch, learning rate and seed; [`crate::Recipe`] has the terms of each.
//! The number of steps follows from the time: a throw-away run measures a step, and the schedule of the
//! learning rate ends with the steps that fit. The seconds reported are those that the training then took.
//! Each method is sampled as it is meant to be ([`Sampling::suited_to`]), at one evaluation of the network a step.
//! Every method leaves an ordinary run in a directory of its own; one that fails leaves its reason in its row.

mod plan;
mod show;
mod speed;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use candle_core::{DType, Device};
use flowmap_core::{NoiseStream, Stream};
use flowmap_metrics::SquaredError;
use flowmap_sample::base_noise;
use serde::Serialize;
use serde_json::Value;

use crate::{
    Config, Drawn, Error, Evaluation, Measured, Metric, Model, ModelConfig, Observer, Reference, Result,
    RunDir, Sampling, Trainer, evaluate, judge, make_dir_with, train, write_atomically,
};

pub use plan::{Omitted, Plan, Planned};

/// How long each method is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// For this long, in seconds.
    Seconds(f64),
    /// For this many steps.
    Steps(u64),
}

/// Receives the progress of a comparison and of each of its runs.
pub trait CompareObserver: Observer {
    /// Called when the turn of a method comes, number `turn` of `n_turns` from 0; its speed is measured first.
    fn begin(&mut self, method: &str, turn: usize, n_turns: usize);
    /// Called when its training begins.
    fn training(&mut self, config: &Config);
    /// Called when its row is there.
    fn end(&mut self, row: &Row);
}

/// What came out.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Version of this program.
    pub flowmap: &'static str,
    /// Name of the config that all methods share.
    pub name: String,
    /// How long each method was trained.
    pub budget: Budget,
    /// Threads of this process's pool.
    pub threads: usize,
    /// The metric of the table, the first of the metrics.
    pub metric: Metric,
    /// The numbers of steps N.
    pub steps: Vec<u32>,
    /// Number of samples for each.
    pub num: usize,
    /// What the samples were judged against.
    pub reference: String,
    /// What samples of the base score: a model that does nothing.
    pub base: BTreeMap<Metric, Measured>,
    /// The config that all methods share.
    pub config: Value,
    /// One row for each method that was trained.
    pub rows: Vec<Row>,
    /// The methods that were not.
    pub omitted: Vec<Omitted>,
}

/// One method.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The method.
    pub method: &'static str,
    /// The name in words.
    pub title: &'static str,
    /// The paper on arXiv.
    pub arxiv: &'static str,
    /// Where its terms come from.
    pub recipe: String,
    /// Where it departs from what all share.
    pub notes: Vec<String>,
    /// How it was trained and judged, or why it was not.
    pub outcome: Outcome,
}

/// What became of a method.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The method was trained.
    Trained(Box<Trained>),
    /// The training failed, for this reason.
    Failed(String),
}

/// A method that was trained.
#[derive(Debug, Serialize)]
pub struct Trained {
    /// Optimizer steps.
    pub steps: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Milliseconds of a step.
    pub ms_per_step: f64,
    /// How it was sampled.
    pub sampler: Sampling,
    /// The squared error of two jumps against one, where jumps between any times are trained.
    pub semigroup: Option<SquaredError>,
    /// The judgment.
    pub evaluation: Evaluation,
    /// The config of its run.
    pub config: Value,
}

/// The files of a comparison.
#[derive(Clone, Debug)]
pub struct CompareDir<'a>(pub &'a Path);

impl CompareDir<'_> {
    /// The run of a method.
    pub fn run(&self, method: &str) -> RunDir {
        RunDir::new(self.0.join(method))
    }

    /// Every number.
    pub fn json(&self) -> PathBuf {
        self.0.join("comparison.json")
    }

    /// The table, for documents.
    pub fn markdown(&self) -> PathBuf {
        self.0.join("comparison.md")
    }

    /// The figure.
    pub fn figure(&self) -> PathBuf {
        self.0.join("comparison.png")
    }
}

/// Trains and judges every method of the plan below `dir`, which must be empty or not there.
///
/// The files of the comparison are written after each method, so that what is done is not lost.
///
/// # Errors
/// Where data, metrics or the disk fail; a method that fails has a row that says why.
pub fn compare(
    plan: &Plan,
    budget: Budget,
    dir: &CompareDir<'_>,
    device: &Device,
    observer: &mut dyn CompareObserver,
) -> Result<Comparison> {
    let base = &plan.base;
    let data = base.data.build(None)?;
    let n_classes = if base.conditional { data.n_classes() } else { 0 };
    let model = ModelConfig::new(base, data.as_ref(), n_classes);
    let reference = Reference::for_model(&base.data, &model)?;
    let metrics = base.metrics(&reference)?;
    let how = base.generation();
    let (noise, labels) = (base_samples(&model, how.num, how.seed)?, how.labels(0, how.num, &model));
    let of_noise: Vec<Metric> = metrics.iter().copied().filter(|m| *m != Metric::MapError).collect();
    let noise = Drawn { labels: labels.as_deref(), ..Drawn::new(&noise) };
    refuse_full(dir.0)?;
    let mut comparison = Comparison {
        flowmap: env!("CARGO_PKG_VERSION"),
        name: base.name.clone(),
        budget,
        threads: rayon::current_num_threads(),
        metric: metrics.first().copied().unwrap_or(Metric::SlicedW2),
        steps: base.eval.steps.clone(),
        num: how.num,
        reference: reference.description(),
        base: judge(noise, &reference, &of_noise, how.seed)?,
        config: json(base),
        rows: Vec::new(),
        omitted: plan.omitted.clone(),
    };
    make_dir_with(dir.0, || comparison.write(dir))?;
    let judge = Judge { base, reference, metrics };
    for (turn, planned) in plan.planned.iter().enumerate() {
        observer.begin(planned.method.name, turn, plan.planned.len());
        let outcome = match of_method(planned, budget, dir, &judge, device, observer) {
            Ok(trained) => Outcome::Trained(Box::new(trained)),
            // Without a disk there is nothing to go on for.
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        let row = Row {
            method: planned.method.name,
            title: planned.method.title,
            arxiv: planned.method.arxiv,
            recipe: planned.recipe.source(),
            notes: planned.notes.clone(),
            outcome,
        };
        observer.end(&row);
        comparison.rows.push(row);
        comparison.write(dir)?;
    }
    Ok(comparison)
}

/// Trains and judges one method.
fn of_method(
    planned: &Planned,
    budget: Budget,
    dir: &CompareDir<'_>,
    judge: &Judge<'_>,
    device: &Device,
    observer: &mut dyn CompareObserver,
) -> Result<Trained> {
    let n_steps = match budget {
        Budget::Steps(n_steps) => n_steps,
        Budget::Seconds(seconds) => {
            let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            let nominal = planned.config(1000)?;
            (seconds / speed::seconds_per_step(&nominal, time, device)?) as u64
        }
    };
    let config = planned.config(n_steps.max(1))?;
    let mut trainer = Trainer::new(config.clone(), device)?;
    let run = dir.run(planned.method.name);
    run.create(&config)?;
    observer.training(&config);
    let model = train(&run, &mut trainer, observer)?;
    observer.stage("evaluating");
    let evaluation = judge.evaluation(&model, &config, device)?;
    write_atomically(&run.evaluation(), &serde_json::to_vec_pretty(&evaluation).unwrap_or_default())?;
    let sampler = config.sampling();
    let laws = evaluation.laws.as_ref().filter(|_| sampler == Sampling::default());
    Ok(Trained {
        steps: config.train.steps,
        seconds: trainer.wall_s(),
        ms_per_step: 1e3 * trainer.wall_s() / config.train.steps as f64,
        sampler,
        semigroup: laws.map(|laws| laws.semigroup),
        evaluation,
        config: json(&config),
    })
}

/// What all methods are judged by.
struct Judge<'a> {
    base: &'a Config,
    reference: Reference,
    metrics: Vec<Metric>,
}

impl Judge<'_> {
    fn evaluation(&self, model: &Model, config: &Config, device: &Device) -> Result<Evaluation> {
        let how = config.generation();
        // The exact flow depends on the interpolant and the coupling.
        let is_shared = config.interpolant == self.base.interpolant && config.coupling == self.base.coupling;
        let own = match is_shared {
            true => None,
            false => Some(Reference::for_model(&config.data, &model.config)?),
        };
        let reference = own.as_ref().unwrap_or(&self.reference);
        let available = |metric: &&Metric| metric.check(reference).is_ok();
        let metrics: Vec<Metric> = self.metrics.iter().filter(available).copied().collect();
        evaluate(model, reference, &metrics, &config.eval.steps, &how, device, &mut |_| ())
    }
}

/// `n` samples of the base of a model, row-major.
fn base_samples(model: &ModelConfig, n: usize, seed: u64) -> Result<Vec<f32>> {
    let stream = NoiseStream::new(seed, Stream::Base);
    let x = base_noise(&stream, 0, n, &model.shape, model.sigma_data, DType::F32, &Device::Cpu)?;
    Ok(x.flatten_all()?.to_vec1()?)
}

/// Refuses a directory that holds anything.
fn refuse_full(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    match fs::read_dir(dir).map_err(Error::io("reading", dir))?.next() {
        None => Ok(()),
        Some(_) => Err(Error::NotEmpty { path: dir.to_owned() }),
    }
}

/// Configs and numbers have no keys but text, so all of them are JSON.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
