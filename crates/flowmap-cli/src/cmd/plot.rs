//! `flowmap plot`, and the end of `flowmap train`: judge a run, draw its figures, write its report.

use anyhow::{Result, bail};
use flowmap_train::{Config, Evaluation, Model, RunDir, judge_and_draw, law_table, quality_table};

use crate::args::PlotArgs;
use crate::device::device;
use crate::progress::{TrainingBar, warn};
use crate::table;

/// Draws the figures and the report of a run again.
///
/// # Errors
/// Where the run holds no checkpoint, or a file cannot be written.
pub fn run(args: &PlotArgs) -> Result<()> {
    let device = device(&args.device.name)?;
    let run = RunDir::new(&args.run);
    if !run.config().is_file() {
        bail!("{} is no run directory: it has no config.toml", args.run.display());
    }
    let config = Config::read(&run.config())?;
    let model = Model::open(run.path(), config.eval.weights.into(), &device)?;
    let mut bar = TrainingBar::new(config.train.steps, config.train.batch, config.train.steps);
    let evaluation = judge_and_draw(&run, &config, &model, &device, &mut bar)?;
    bar.finish();
    warn(&evaluation.warnings);
    print(&evaluation)?;
    Ok(table::line(&format!("\nreport: {}", run.report().display()))?)
}

/// Prints the tables of an evaluation.
pub fn print(evaluation: &Evaluation) -> Result<()> {
    table::print(&quality_table(evaluation))?;
    if let Some(laws) = law_table(evaluation) {
        table::line("")?;
        table::print(&laws)?;
    }
    if !evaluation.omitted.is_empty() {
        table::line("")?;
    }
    for omission in &evaluation.omitted {
        table::line(&omission.to_string())?;
    }
    Ok(())
}
