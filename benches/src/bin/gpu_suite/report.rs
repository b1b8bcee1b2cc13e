//! What was found: a row for each case, printed as one table and written as one file.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The results agree.
    Passed,
    /// The results do not agree, or the case could not run.
    Failed,
    /// The case was timed.
    Measured,
    /// Left out, for the given reason.
    Skipped,
}

/// One case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which part of the suite.
    pub part: &'static str,
    /// The case.
    pub case: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What people want to know of it.
    pub detail: String,
    /// What programs want to know of it.
    pub numbers: Value,
}

/// All rows so far.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a case, and says it at once.
    #[expect(clippy::print_stdout, reason = "the table is what this program is for")]
    pub fn add(&mut self, row: Row) {
        let word = match row.outcome {
            Outcome::Passed => "ok",
            Outcome::Failed => "FAILED",
            Outcome::Measured => "",
            Outcome::Skipped => "skipped",
        };
        println!("{:<11}{:<40}{word:<9}{}", row.part, row.case, row.detail);
        self.rows.push(row);
    }

    /// Adds a case with errors relative to what was expected, which may not be above `tolerance`.
    pub fn add_error(&mut self, part: &'static str, case: String, found: Result<f64>, tolerance: f64) {
        let row = match found {
            Ok(error) => Row {
                part,
                case,
                // A comparison with NaN is false, and must not pass.
                outcome: if error <= tolerance { Outcome::Passed } else { Outcome::Failed },
                detail: format!("off by {error:.1e}, at most {tolerance:.0e}"),
                numbers: json!({ "error": error, "tolerance": tolerance }),
            },
            Err(error) => Row {
                part,
                case,
                outcome: Outcome::Failed,
                detail: format!("{error:#}"),
                numbers: Value::Null,
            },
        };
        self.add(row);
    }

    /// Adds a part that was left out.
    pub fn skip(&mut self, part: &'static str, case: &str, reason: &str) {
        self.add(Row {
            part,
            case: case.to_owned(),
            outcome: Outcome::Skipped,
            detail: reason.to_owned(),
            numbers: Value::Null,
        });
    }

    /// Number of rows with this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.outcome == outcome).count()
    }

    /// Writes all rows.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, path: &Path, device: &str) -> Result<()> {
        let all = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "device": device,
            "threads": rayon::current_num_threads(),
            "rows": self.rows,
        });
        let text = serde_json::to_string_pretty(&all)? + "\n";
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}
