//! metrics.jsonl: one object a line, flushed as it is written.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use flowmap_nn::loss::{Bin, BinSums, Term};
use serde_json::{Map, Value, json};

use crate::{Config, Error, Result, StepReport, write_atomically};

/// One line of the log: `step`, `samples`, `wall_s`, `loss`, `loss/<objective>`, `loss_bin/<objective>/<bin>`, `grad_norm`, ....
pub type Record = Map<String, Value>;

/// The names of terms in the log: the name of the objective, with a number from its second term on, as in `lsd.2`.
pub fn term_names(terms: &[Term]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(terms.len());
    for (k, term) in terms.iter().enumerate() {
        let name = term.objective.name();
        let before = terms[..k].iter().filter(|other| other.objective.name() == name).count();
        names.push(if before == 0 { name.to_owned() } else { format!("{name}.{}", before + 1) });
    }
    names
}

/// What a line of the log holds in addition to the step itself.
#[derive(Debug, Default)]
pub(crate) struct Since {
    /// The bins of every term, summed over the steps since the line before.
    bins: Vec<BinSums>,
    /// Seconds of the run at the line before.
    began_s: f64,
    /// Seconds since then that went by waiting for data.
    data_wait_s: f64,
}

impl Since {
    /// Nothing yet, `wall_s` seconds into the run.
    pub(crate) fn new(wall_s: f64) -> Self {
        Self { began_s: wall_s, ..Self::default() }
    }

    /// Takes in a step.
    pub(crate) fn add(&mut self, report: &StepReport) {
        self.data_wait_s += report.data_wait_s;
        self.bins.resize(report.bins.len(), BinSums::default());
        self.bins.iter_mut().zip(&report.bins).for_each(|(sum, step)| sum.add(step));
    }

    /// A line of the log; numbers that JSON does not have become null.
    pub(crate) fn record(
        &self,
        config: &Config,
        report: &StepReport,
        wall_s: f64,
        samples_per_s: f64,
    ) -> Record {
        let mut record = Record::new();
        let mut put = |key: String, value| record.insert(key, value);
        put("step".into(), json!(report.step));
        put("samples".into(), json!(report.samples));
        put("wall_s".into(), json!(wall_s));
        put("loss".into(), json!(report.loss));
        let names = term_names(&config.objective);
        for (name, loss) in names.iter().zip(&report.terms) {
            put(format!("loss/{name}"), json!(loss));
        }
        for (name, bins) in names.iter().zip(&self.bins) {
            for bin in Bin::all() {
                let key = bin.key();
                if let Some(loss) = bins.mean_loss(bin) {
                    put(format!("loss_bin/{name}/{key}"), json!(loss));
                }
                if let Some(norm) = bins.mean_tangent(bin) {
                    put(format!("tangent_bin/{name}/{key}"), json!(norm));
                }
            }
        }
        put("grad_norm".into(), json!(report.grad_norm));
        put("bad_steps".into(), json!(report.n_bad));
        put("lr".into(), json!(report.lr));
        put("samples_per_s".into(), json!(samples_per_s));
        put("data_wait".into(), json!(self.data_wait_s / (wall_s - self.began_s)));
        record
    }
}

/// The log of a run, open for appending.
#[derive(Debug)]
pub(crate) struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Opens the log; lines after `step`, of a run that was cut off, are dropped.
    pub(crate) fn open(path: &Path, step: u64) -> Result<Self> {
        if path.exists() {
            let kept: Vec<String> = read_log(path)?
                .into_iter()
                .filter(|record| record.get("step").and_then(Value::as_u64).is_some_and(|s| s <= step))
                .map(|record| Value::Object(record).to_string() + "\n")
                .collect();
            write_atomically(path, kept.concat().as_bytes())?;
        }
        let file =
            OpenOptions::new().create(true).append(true).open(path).map_err(Error::io("writing", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub(crate) fn write(&mut self, record: &Record) -> Result<()> {
        let line = Value::Object(record.clone()).to_string() + "\n";
        self.file.write_all(line.as_bytes()).map_err(Error::io("writing", &self.path))
    }
}

/// What a log says of the time of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunTime {
    /// Seconds of training, resumed ones included.
    pub wall_s: f64,
    /// The share of them that the training waited for data; `None` where the log does not say.
    pub data_wait: Option<f64>,
}

impl RunTime {
    /// Reads it off the lines of a log, each of which has the share of the time since the line before.
    pub fn of(log: &[Record]) -> Self {
        let (mut time, mut waited) = (Self::default(), Some(0.0));
        for record in log {
            let wall_s = record.get("wall_s").and_then(Value::as_f64).unwrap_or(time.wall_s);
            // Two lines of the same moment leave no share.
            let share = record.get("data_wait").map(|share| share.as_f64().unwrap_or(0.0));
            waited = waited.zip(share).map(|(sum, share)| sum + share * (wall_s - time.wall_s));
            time.wall_s = wall_s;
        }
        time.data_wait = waited.filter(|_| time.wall_s > 0.0).map(|waited| waited / time.wall_s);
        time
    }
}

/// All whole lines of a log; a last line that was cut off is left out.
///
/// # Errors
/// Where the file cannot be read or a line before the last is malformed.
pub fn read_log(path: &Path) -> Result<Vec<Record>> {
    let text = fs::read_to_string(path).map_err(Error::io("reading", path))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    whole.lines().map(|line| serde_json::from_str(line).map_err(Error::json(path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(wall_s: f64, data_wait: Option<f64>) -> Record {
        let mut line = Record::new();
        line.insert("wall_s".into(), json!(wall_s));
        line.extend(data_wait.map(|share| ("data_wait".to_owned(), json!(share))));
        line
    }

    #[test]
    fn share_of_a_run_that_waited_weighs_its_lines_by_their_time() {
        let log = [line(1.0, Some(0.5)), line(4.0, Some(0.1)), line(8.0, Some(0.0))];
        let time = RunTime::of(&log);
        assert_eq!(time.wall_s, 8.0);
        assert!((time.data_wait.unwrap_or(f64::NAN) - 0.1).abs() < 1e-12, "{time:?}");
    }

    #[test]
    fn log_of_an_earlier_version_does_not_say_how_long_it_waited() {
        let log = [line(1.0, None), line(2.0, Some(0.5))];
        assert_eq!(RunTime::of(&log), RunTime { wall_s: 2.0, data_wait: None });
        assert_eq!(RunTime::of(&[]), RunTime::default());
    }
}
