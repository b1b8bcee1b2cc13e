//! A comparison as a table, as Markdown, as JSON and as a figure.

use flowmap_figure::report::Table;
use flowmap_figure::{RgbImage, Series, comparison, encode_png};

use super::{Budget, CompareDir, Comparison, Outcome, Row, Trained};
use crate::{Result, write_atomically};

impl Comparison {
    /// What is compared, in one line.
    pub fn headline(&self) -> String {
        let budget = match self.budget {
            Budget::Seconds(seconds) => format!("{seconds} s"),
            Budget::Steps(steps) => format!("{steps} steps"),
        };
        let (name, metric, num) = (&self.name, self.metric.title(), self.num);
        format!("{name}: {metric} after {budget} of training each, {num} samples for each number of steps N")
    }

    /// One row for each method, then what exact samples and samples of the base score.
    pub fn table(&self) -> Table {
        let mut headers: Vec<String> = ["method", "steps", "ms/step", "seconds"].map(str::to_owned).into();
        headers.extend(self.steps.iter().map(|n| format!("N = {n}")));
        headers.push("semigroup".into());
        let mut rows: Vec<Vec<String>> = self.rows.iter().map(|row| self.line(row)).collect();
        let base = self.base.get(&self.metric);
        for (name, value) in [("exact samples", base.and_then(|m| m.floor)), ("base", base.map(|m| m.value))]
        {
            let dash = "-".to_owned();
            let mut cells = vec![name.to_owned(), dash.clone(), dash.clone(), dash.clone()];
            cells.resize(4 + self.steps.len(), value.map_or_else(|| dash.clone(), number));
            cells.push(dash);
            rows.push(cells);
        }
        Table { headers, rows }
    }

    /// Remarks on the methods, one a line: where they depart from the others, and why some are not there.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!("samples are judged against {}", self.reference)];
        if let Some(kind) = self.base.get(&self.metric).and_then(|measured| measured.floor_kind) {
            notes.push(format!("exact samples: {}", kind.about()));
        }
        for row in &self.rows {
            if let Outcome::Failed(reason) = &row.outcome {
                notes.push(format!("{} failed: {reason}", row.method));
            }
            notes.extend(row.notes.iter().map(|note| format!("{}: {note}", row.method)));
        }
        notes.extend(self.omitted.iter().map(|o| format!("{} is left out: it {}", o.method, o.reason)));
        notes
    }

    /// The table with its headline and its notes as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("{}.\n\n{}", self.headline(), self.table().to_markdown());
        let notes = self.notes();
        if !notes.is_empty() {
            text.push('\n');
            notes.iter().for_each(|note| text.push_str(&format!("- {note}.\n")));
        }
        text
    }

    /// The metric over the number of steps N, a line for each method.
    ///
    /// # Errors
    /// As the figure.
    pub fn figure(&self) -> Result<RgbImage> {
        let lines: Vec<(&str, Vec<f64>)> = self
            .rows
            .iter()
            .filter_map(|row| {
                let values = self.values(trained(row)?);
                Some((row.method, values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect()))
            })
            .collect();
        let x: Vec<f64> = self.steps.iter().map(|n| f64::from(*n)).collect();
        let series: Vec<Series<'_>> = lines.iter().map(|(name, y)| Series { name, x: &x, y }).collect();
        let base = self.base.get(&self.metric);
        let references: Vec<(&str, f64)> =
            [("exact samples", base.and_then(|m| m.floor)), ("base", base.map(|m| m.value))]
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect();
        let title = match self.budget {
            Budget::Seconds(seconds) => format!("{}, {seconds} s of training each", self.name),
            Budget::Steps(steps) => format!("{}, {steps} steps each", self.name),
        };
        Ok(comparison(&title, self.metric.title(), &series, &references)?)
    }

    /// Writes JSON, Markdown and figure.
    pub(super) fn write(&self, dir: &CompareDir<'_>) -> Result<()> {
        write_atomically(&dir.json(), &serde_json::to_vec_pretty(self).unwrap_or_default())?;
        write_atomically(&dir.markdown(), self.to_markdown().as_bytes())?;
        write_atomically(&dir.figure(), &encode_png(&self.figure()?)?)
    }

    fn line(&self, row: &Row) -> Vec<String> {
        let mut cells = vec![row.method.to_owned()];
        match trained(row) {
            None => {
                cells.push("failed".into());
                cells.extend(std::iter::repeat_n("-".to_owned(), self.steps.len() + 3));
            }
            Some(trained) => {
                cells.push(trained.steps.to_string());
                cells.push(format!("{:.2}", trained.ms_per_step));
                cells.push(format!("{:.1}", trained.seconds));
                let dash = || "-".to_owned();
                cells.extend(self.values(trained).into_iter().map(|v| v.map_or_else(dash, number)));
                cells.push(trained.semigroup.map_or_else(dash, |error| number(error.mean)));
            }
        }
        cells
    }

    /// The metric of the table for each number of steps.
    fn values(&self, trained: &Trained) -> Vec<Option<f64>> {
        let of = |n: &u32| {
            let row = trained.evaluation.rows.iter().find(|row| row.steps == Some(*n))?;
            Some(row.metrics.get(&self.metric)?.value)
        };
        self.steps.iter().map(of).collect()
    }
}

fn trained(row: &Row) -> Option<&Trained> {
    match &row.outcome {
        Outcome::Trained(trained) => Some(trained),
        Outcome::Failed(_) => None,
    }
}

/// Three decimals, or the power of ten of what they do not show.
fn number(x: f64) -> String {
    if x == 0.0 || (0.01..1e4).contains(&x.abs()) { format!("{x:.3}") } else { format!("{x:.1e}") }
}
