//! `flowmap train`.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Device;
use flowmap_data::DataSet;
use flowmap_train::{
    Checkpoint, Config, ConfigSource, ModelConfig, Reference, RunDir, Trainer, judge_and_draw, resolve, train,
};

use super::plot;
use crate::args::{RunArgs, TrainArgs};
use crate::device::device;
use crate::estimate::estimate;
use crate::layers::{above, below, free_dir};
use crate::progress::{TrainingBar, human, say, warn};
use crate::table;

/// Trains, judges, draws, prints.
///
/// # Errors
/// What is wrong with config, data, device or disk.
pub fn run(args: &TrainArgs) -> Result<()> {
    let device = device(&args.run.device.name)?;
    let mut layers = below(&args.run, args.config.as_deref(), || ConfigSource::preset("checkerboard"))?;
    layers.extend(above(&args.run)?);
    execute(resolve(&layers)?, &args.run, &device)
}

/// Trains a resolved config, or prints it if asked for.
pub fn execute(config: Config, args: &RunArgs, device: &Device) -> Result<()> {
    if args.dry_run {
        config.refuse_unused_teacher()?;
        table::line(config.to_toml()?.trim_end())?;
        say(&estimate(&config));
        return Ok(());
    }
    let began = Instant::now();
    let out = args.out.clone().unwrap_or_else(|| free_dir(Path::new("runs"), &config.name));
    let run = RunDir::new(out);
    let mut trainer = if args.resume {
        let latest = run.latest_checkpoint()?;
        let latest =
            latest.ok_or_else(|| flowmap_train::Error::NothingToResume { path: run.path().to_owned() })?;
        let checkpoint = Checkpoint::read(&latest)?;
        let trainer = Trainer::resume(config.clone(), checkpoint, device)
            .with_context(|| format!("resuming from {}", latest.display()))?;
        run.write_config(&config)?;
        trainer
    } else {
        let trainer = Trainer::new(config.clone(), device)?;
        // A judgment that would fail is reported before the training.
        let n_classes = if config.conditional { trainer.data().n_classes() } else { 0 };
        let model = ModelConfig::new(&config, trainer.data(), n_classes);
        let reference = Reference::for_model(&config.data, &model)?;
        config.metrics(&reference).context("key `eval.metrics`")?;
        let most = config.eval.steps.iter().max().map_or(1, |n| *n as usize);
        config.sampling().check(&model, most).context("key `eval.steps`")?;
        run.create(&config)?;
        trainer
    };
    say_data(trainer.data());
    warn(trainer.warnings());
    let mut bar = TrainingBar::new(config.train.steps, config.train.batch, trainer.n_steps());
    let trained = train(&run, &mut trainer, &mut bar);
    if trained.is_err() {
        bar.finish();
    }
    let model = trained?;
    let evaluation = judge_and_draw(&run, &config, &model, device, &mut bar)?;
    bar.finish();
    let said = trainer.warnings();
    let new: Vec<_> = evaluation.warnings.iter().filter(|warning| !said.contains(warning)).cloned().collect();
    warn(&new);
    plot::print(&evaluation)?;
    table::line(&format!("\n{} in {}", run.path().display(), human(began.elapsed().as_secs_f64())))?;
    table::line(&format!("report: {}", run.report().display()))?;
    Ok(())
}

/// Says how much was read, and from where.
fn say_data(data: &dyn DataSet) {
    let (Some(source), Some(n)) = (data.source(), data.n_samples()) else { return };
    let classes = match data.n_classes() {
        0 => String::new(),
        n => format!(", {n} classes"),
    };
    say(&format!("data: {n} samples of shape {:?}{classes}, from {source}", data.shape()));
}
