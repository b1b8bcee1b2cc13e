//! `flowmap eval`.

use std::path::Path;

use anyhow::{Context, Result};
use flowmap_data::{DataConfig, DataSet, PointsConfig};
use flowmap_train::{
    Evaluation, Metric, Model, Reference, evaluate, evaluate_samples, parse_data_kind, write_atomically,
};

use super::{Usage, check_place, generation, plot};
use crate::args::EvalArgs;
use crate::device::device;
use crate::progress::{sampling_bar, warn};
use crate::table;

/// Judges a model or a file of samples, and prints or writes the numbers.
///
/// # Errors
/// What is wrong with model, samples, reference or disk.
pub fn run(args: &EvalArgs) -> Result<()> {
    let metrics = args
        .metrics
        .iter()
        .map(|m| m.parse::<Metric>().map_err(|e| Usage(format!("--metrics: {e}"))))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = args.json.as_deref().filter(|path| *path != Path::new("-")) {
        check_place("--json", path)?;
    }
    let evaluation = match (&args.samples, &args.model) {
        (Some(samples), _) => of_samples(samples, args, metrics)?,
        (None, Some(model)) => of_model(model, args, metrics)?,
        (None, None) => return Err(Usage("expected a model or --samples FILE".into()).into()),
    };
    warn(&evaluation.warnings);
    let json = serde_json::to_string_pretty(&evaluation)?;
    match args.json.as_deref() {
        Some(path) if path == Path::new("-") => return Ok(table::line(&json)?),
        Some(path) => write_atomically(path, json.as_bytes())?,
        None => {}
    }
    let by = evaluation.sampler.map_or(String::new(), |sampler| format!(" by {sampler}"));
    let at = evaluation.guidance.map_or(String::new(), |scale| format!(" at guidance {scale}"));
    table::line(&format!(
        "{}, {} samples{by}{at} against {}",
        evaluation.subject, evaluation.num, evaluation.reference
    ))?;
    plot::print(&evaluation)
}

fn of_model(path: &Path, args: &EvalArgs, metrics: Vec<Metric>) -> Result<Evaluation> {
    let device = device(&args.device.name)?;
    let model = Model::open(path, args.sampling.ema.unwrap_or_default(), &device)?;
    let data = match &args.reference {
        Some(name) => reference_config(name)?,
        None => model.config.data.clone(),
    };
    let reference = Reference::for_model(&data, &model.config)?;
    check_shape(reference.data().shape(), &model.config.shape)?;
    let how = generation(&args.sampling, &model, args.num, &device)?;
    let steps: Vec<u32> = args.steps.iter().map(|steps| steps.get()).collect();
    // A metric that was asked for is not left out.
    metrics.iter().try_for_each(|m| m.check(&reference).and_then(|()| m.check_sampling(&how, &steps)))?;
    let metrics = if metrics.is_empty() { Metric::defaults(&reference) } else { metrics };
    let bar = sampling_bar("evaluating", args.num * args.steps.len());
    let progress = &mut |n| bar.inc(n as u64);
    let evaluation = evaluate(&model, &reference, &metrics, &steps, &how, &device, progress)?;
    bar.finish_and_clear();
    Ok(evaluation)
}

fn of_samples(path: &Path, args: &EvalArgs, metrics: Vec<Metric>) -> Result<Evaluation> {
    let name = args.reference.as_deref().unwrap_or_default();
    let config = PointsConfig { path: path.to_owned(), ..PointsConfig::default() };
    let samples = config.read(None).with_context(|| format!("--samples {}", path.display()))?;
    let reference = Reference::new(&reference_config(name)?)?;
    check_shape(reference.data().shape(), samples.shape())?;
    let mut metrics = if metrics.is_empty() { Metric::defaults(&reference) } else { metrics };
    if args.metrics.is_empty() {
        // The noise of the samples is not known, and their classes only where the file has them.
        metrics.retain(|m| *m != Metric::MapError);
        metrics.retain(|m| *m != Metric::ClassAccuracy || samples.labels().is_some());
    }
    Ok(evaluate_samples(path.display().to_string(), &samples, &reference, &metrics, args.sampling.seed)?)
}

/// The data that `--reference` names: the kind of a data set, or a file.
fn reference_config(name: &str) -> Result<DataConfig> {
    if let Some(config) = parse_data_kind(name) {
        return Ok(config);
    }
    if Path::new(name).is_file() {
        return Ok(DataConfig::Points(PointsConfig { path: name.into(), ..PointsConfig::default() }));
    }
    let kinds = DataConfig::KINDS.map(|k| format!("`{k}`")).join(", ");
    Err(Usage(format!("--reference: expected a file or one of {kinds}, found `{name}`")).into())
}

fn check_shape(expected: &[usize], found: &[usize]) -> Result<(), flowmap_train::Error> {
    if expected == found {
        return Ok(());
    }
    Err(flowmap_train::Error::SampleShape { expected: expected.to_vec(), found: found.to_vec() })
}
