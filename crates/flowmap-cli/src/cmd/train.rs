//! `flowmap train`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use flowmap_train::{Checkpoint, Config, ConfigSource, Reference, RunDir, Trainer, resolve, train};

use super::{Usage, plot};
use crate::args::TrainArgs;
use crate::device::device;
use crate::progress::{TrainingBar, human};
use crate::table;

/// Trains, judges, draws, prints.
///
/// # Errors
/// What is wrong with config, data, device or disk.
pub fn run(args: &TrainArgs) -> Result<()> {
    let device = device(&args.device)?;
    let config = config(args)?;
    if args.dry_run {
        return Ok(table::line(config.to_toml()?.trim_end())?);
    }
    let began = Instant::now();
    let out = args.out.clone().unwrap_or_else(|| free_dir(Path::new("runs"), &config.name));
    let run = RunDir::new(out);
    let mut trainer = if args.resume {
        let latest = run.latest_checkpoint()?;
        let latest =
            latest.ok_or_else(|| flowmap_train::Error::NothingToResume { path: run.path().to_owned() })?;
        let checkpoint = Checkpoint::read(&latest, &config.train.ema)?;
        let trainer = Trainer::resume(config.clone(), checkpoint, &device)
            .with_context(|| format!("resuming from {}", latest.display()))?;
        run.write_config(&config)?;
        trainer
    } else {
        let trainer = Trainer::new(config.clone(), &device)?;
        // A metric that these data do not allow shall not come to light after the training.
        let reference = Reference::new(&config.data, config.interpolant, trainer.data().sigma())?;
        let n_classes = if config.conditional { trainer.data().n_classes() } else { 0 };
        plot::metrics(&config, &reference.given_classes(n_classes))?;
        run.create(&config)?;
        trainer
    };
    let mut bar = TrainingBar::new(config.train.steps, config.train.batch, trainer.n_steps());
    let trained = train(&run, &mut trainer, &mut bar);
    if trained.is_err() {
        bar.finish();
    }
    let model = trained?;
    let evaluation = plot::judge_and_draw(&run, &config, &model, &device, &mut bar)?;
    bar.finish();
    plot::print(&evaluation)?;
    table::line(&format!("\n{} in {}", run.path().display(), human(began.elapsed().as_secs_f64())))?;
    table::line(&format!("report: {}", run.report().display()))?;
    Ok(())
}

/// The config: preset < file < `--set` < flags; a resumed run starts from its own.
fn config(args: &TrainArgs) -> Result<Config> {
    let mut layers = Vec::new();
    match (&args.preset, &args.config) {
        _ if args.resume => {
            let Some(out) = &args.out else {
                return Err(Usage("--resume needs --out DIR, the run to go on with".into()).into());
            };
            if args.preset.is_some() || args.config.is_some() {
                let message = "--resume takes the config of the run; use --set to change it";
                return Err(Usage(message.into()).into());
            }
            layers.push(ConfigSource::file(&RunDir::new(out).config())?);
        }
        (Some(preset), _) => layers.push(ConfigSource::preset(preset)?),
        (None, None) => layers.push(ConfigSource::preset("checkerboard")?),
        (None, Some(_)) => {}
    }
    if let Some(path) = args.config.as_ref().filter(|_| !args.resume) {
        layers.push(ConfigSource::file(path)?);
    }
    for set in &args.sets {
        layers.push(ConfigSource::set(set)?);
    }
    if let Some(steps) = args.steps {
        let steps = i64::try_from(steps).unwrap_or(i64::MAX);
        layers.push(ConfigSource::value(format!("--steps {steps}"), "train.steps", steps));
    }
    if let Some(seed) = args.seed {
        let Ok(seed) = i64::try_from(seed) else {
            return Err(Usage(format!("--seed: expected a number below 2^63, found {seed}")).into());
        };
        layers.push(ConfigSource::value(format!("--seed {seed}"), "seed", seed));
    }
    Ok(resolve(&layers)?)
}

/// `parent/name`, or with a number behind where that is taken.
fn free_dir(parent: &Path, name: &str) -> PathBuf {
    let numbered = (2..).map(|n| parent.join(format!("{name}-{n}")));
    std::iter::once(parent.join(name))
        .chain(numbered)
        .find(|path| !path.exists())
        .unwrap_or_else(|| parent.join(name))
}
