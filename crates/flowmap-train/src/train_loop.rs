//! The loop of a training run: steps, log, checkpoints, and the way out of a run that diverges.

use std::time::Instant;

use crate::divergence::LastGood;
use crate::metrics_log::{MetricsLog, Since};
use crate::{Error, Fault, Model, Reads, Result, RunDir, StepReport, Trainer};

/// Receives the progress of a run.
pub trait Observer {
    /// Called for every step, in order, when its numbers were read; see [`Reads`].
    fn step(&mut self, report: &StepReport, n_steps: u64);
    /// Called when a stage after the training begins, such as `evaluating`.
    fn stage(&mut self, name: &str);
}

/// Trains to the end of the config, with log and checkpoints in `run`, and opens the result.
///
/// # Errors
/// [`Error::Diverged`] after `max_bad_steps` bad steps in a row, or where the state itself is not finite, with the last
/// good state as the newest checkpoint; [`Error::Io`] where the run cannot be written.
pub fn train(run: &RunDir, trainer: &mut Trainer, observer: &mut dyn Observer) -> Result<Model> {
    let config = trainer.config().clone();
    let mut log = MetricsLog::open(&run.metrics(), trainer.n_steps())?;
    let mut logged = (Instant::now(), trainer.n_steps());
    let mut since = Since::new(trainer.wall_s);
    let mut good = LastGood::new(run, trainer, config.train.log_every)?;
    // The first of the bad steps in a row, and how many they are.
    let mut bad: Option<(u64, Fault, u32)> = None;
    // Steps that nobody has looked at.
    let mut unread = Vec::new();
    // A run may be resumed at its end, to draw its figures again.
    while trainer.n_steps() < config.train.steps {
        if unread.is_empty() {
            good.before_step(trainer)?;
        }
        let began = Instant::now();
        unread.push(trainer.advance()?);
        let step = trainer.n_steps();
        let is_last = step == config.train.steps;
        let is_due = step.is_multiple_of(config.train.checkpoint_every) || is_last;
        let is_logged = step.is_multiple_of(config.train.log_every) || is_last;
        if trainer.reads() == Reads::AtLogPoints && !is_logged && !is_due {
            trainer.wall_s += began.elapsed().as_secs_f64();
            continue;
        }
        let reports: Vec<_> = unread.drain(..).map(|step| trainer.report(step)).collect::<Result<_>>()?;
        trainer.wall_s += began.elapsed().as_secs_f64();
        for report in reports {
            good.after_step(report.is_finite())?;
            since.add(&report);
            observer.step(&report, config.train.steps);
            if (is_logged && report.step == step) || !report.is_finite() {
                let speed = (report.step - logged.1) as f64 * config.train.batch as f64
                    / logged.0.elapsed().as_secs_f64();
                log.write(&since.record(&config, &report, trainer.wall_s, speed))?;
                logged = (Instant::now(), report.step);
                since = Since::new(trainer.wall_s);
            }
            bad = report.fault.map(|fault| match bad.take() {
                Some((step, fault, n_bad)) => (step, fault, n_bad + 1),
                None => (report.step, fault, 1),
            });
            if bad.as_ref().is_some_and(|(_, _, n_bad)| *n_bad >= config.train.max_bad_steps) {
                break;
            }
        }
        if is_due && bad.is_none() {
            let checkpoint = trainer.checkpoint()?;
            match checkpoint.first_not_finite()? {
                Some(tensor) => bad = Some((step, Fault::State { tensor }, 0)),
                None => {
                    run.write_checkpoint(&checkpoint, config.train.keep_checkpoints)?;
                    good.was_written(step);
                }
            }
        }
        if let Some((step, fault, n_bad)) = &bad
            && (is_last || *n_bad >= config.train.max_bad_steps || matches!(fault, Fault::State { .. }))
        {
            let (step, fault, n_bad) = (*step, fault.clone(), *n_bad);
            let kept = good.write(run, config.train.keep_checkpoints)?;
            return Err(Error::Diverged { step, fault, n_bad, kept });
        }
    }
    Model::open_known(run.path(), config.eval.weights.into(), trainer.device(), &config)
}
