//! metrics.jsonl: one object a line, flushed as it is written.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{Error, Result, write_atomically};

/// One line of the log: `step`, `samples`, `wall_s`, `loss`, `loss/<objective>`, `grad_norm`, `lr`, `samples_per_s`, ....
pub type Record = Map<String, Value>;

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

/// All whole lines of a log; a last line that was cut off is left out.
///
/// # Errors
/// Where the file cannot be read or a line before the last is malformed.
pub fn read_log(path: &Path) -> Result<Vec<Record>> {
    let text = fs::read_to_string(path).map_err(Error::io("reading", path))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    whole.lines().map(|line| serde_json::from_str(line).map_err(Error::json(path))).collect()
}
