//! Progress bars on standard error, if it is a terminal.

use std::time::Duration;

use flowmap_data::Warning;
use flowmap_train::compare::{CompareObserver, Outcome, Row};
use flowmap_train::{Config, Observer, StepReport};
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

/// The bar of a training run: step, loss, samples/s and time left.
#[derive(Debug)]
pub struct TrainingBar {
    bar: ProgressBar,
    batch: usize,
    /// Loss averaged over about the last hundred steps, since the loss of one step is noisy.
    loss: Option<f64>,
    stage: Option<ProgressBar>,
}

impl TrainingBar {
    /// A bar for `n_steps` steps of `batch` samples, `done` of them done before.
    pub fn new(n_steps: u64, batch: usize, done: u64) -> Self {
        let bar = ProgressBar::new(n_steps).with_position(done);
        bar.set_style(style("training {wide_bar} {pos}/{len} {msg}, {eta} left"));
        bar.reset_eta();
        Self { bar, batch, loss: None, stage: None }
    }

    /// Ends the bars.
    pub fn finish(&self) {
        self.bar.finish();
        if let Some(stage) = &self.stage {
            stage.finish_and_clear();
        }
    }
}

impl Observer for TrainingBar {
    fn step(&mut self, report: &StepReport, _n_steps: u64) {
        if report.is_finite() {
            self.loss = Some(self.loss.map_or(report.loss, |loss| 0.99 * loss + 0.01 * report.loss));
        }
        self.bar.inc(1);
        if report.step.is_multiple_of(10) {
            let speed = HumanCount((self.bar.per_sec() * self.batch as f64) as u64);
            self.bar.set_message(format!("loss {:.4}, {speed} samples/s", self.loss.unwrap_or(f64::NAN)));
        }
    }

    fn stage(&mut self, name: &str) {
        if self.stage.is_none() {
            self.bar.finish();
        }
        let bar = self.stage.get_or_insert_with(ProgressBar::new_spinner);
        bar.enable_steady_tick(Duration::from_millis(100));
        bar.set_message(name.to_owned());
    }
}

/// The bars of a comparison: one for each method, while it is trained.
#[derive(Debug, Default)]
pub struct CompareBar {
    /// The method, and which of how many it is.
    prefix: String,
    bar: Option<ProgressBar>,
}

impl CompareBar {
    /// Ends the bar.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn spin(&mut self, what: &str) {
        self.finish();
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(100));
        bar.set_message(format!("{} {what}", self.prefix));
        self.bar = Some(bar);
    }
}

impl Observer for CompareBar {
    fn step(&mut self, report: &StepReport, _n_steps: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(report.step);
        }
    }

    fn stage(&mut self, name: &str) {
        self.spin(name);
    }
}

impl CompareObserver for CompareBar {
    fn begin(&mut self, method: &str, turn: usize, n_turns: usize) {
        self.prefix = format!("{}/{n_turns} {method}", turn + 1);
        self.spin("measuring the speed");
    }

    fn training(&mut self, config: &Config) {
        self.finish();
        let bar = ProgressBar::new(config.train.steps);
        bar.set_style(style("{prefix} {wide_bar} {pos}/{len}, {eta} left"));
        bar.set_prefix(self.prefix.clone());
        self.bar = Some(bar);
    }

    fn end(&mut self, row: &Row) {
        self.finish();
        if let Outcome::Failed(reason) = &row.outcome {
            say(&format!("{} failed: {reason}", row.method));
        }
    }
}

/// A line on standard error, for what is neither a result nor an error.
#[expect(clippy::print_stderr, reason = "remarks go to standard error")]
pub fn say(text: &str) {
    eprintln!("{text}");
}

/// Prints warnings, one a line.
pub fn warn(warnings: &[Warning]) {
    warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
}

/// A bar that counts samples.
pub fn sampling_bar(name: &str, n: usize) -> ProgressBar {
    let bar = ProgressBar::new(n as u64);
    bar.set_style(style("{prefix} {wide_bar} {pos}/{len}, {eta} left"));
    bar.set_prefix(name.to_owned());
    bar
}

/// A bar that counts the turns of a measurement.
pub fn bench_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    bar.set_style(style("measuring {wide_bar} {pos}/{len}"));
    bar
}

/// A duration for people.
pub fn human(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else {
        HumanDuration(Duration::from_secs_f64(seconds)).to_string()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
