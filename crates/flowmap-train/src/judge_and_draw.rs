//! The second half of a run: judge its model, draw its figures, write its report.

use candle_core::Device;

use crate::{
    Config, Error, Evaluation, Model, Observer, Reference, Result, RunDir, RunTime, draw_figures, evaluate,
    read_log, write_atomically, write_report,
};

/// Judges the model of a run and writes evaluation.json, the figures and report.html into its directory.
///
/// # Errors
/// [`Error::ConfigKey`] for metrics that the data do not allow; what is wrong with the data; if a file cannot be written.
pub fn judge_and_draw(
    run: &RunDir,
    config: &Config,
    model: &Model,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Evaluation> {
    observer.stage("evaluating");
    let reference = Reference::for_model(&config.data, &model.config)?;
    let metrics = config.metrics(&reference).map_err(|error| Error::ConfigKey {
        origin: run.config().display().to_string(),
        key: "eval.metrics".into(),
        message: error.to_string(),
    })?;
    let (how, steps) = (config.generation(), &config.eval.steps);
    let evaluation = evaluate(model, &reference, &metrics, steps, &how, device, &mut |_| ())?;
    let json = serde_json::to_vec_pretty(&evaluation).map_err(Error::json(&run.evaluation()))?;
    write_atomically(&run.evaluation(), &json)?;
    observer.stage("drawing figures");
    let figures = draw_figures(run, model, &reference, &evaluation, device)?;
    let time = RunTime::of(&read_log(&run.metrics())?);
    write_report(run, config, &model.config, &evaluation, &figures, time)?;
    Ok(evaluation)
}
