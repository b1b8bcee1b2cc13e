//! report.html of a run.

use flowmap_figure::report::{Details, Figure, Report, Section, Table};

use crate::run_figures::DrawnFigure;
use crate::{Config, Evaluation, FloorKind, ModelConfig, Result, RunDir, RunTime, write_atomically};

/// Writes the report of a run: its numbers, its figures and its config on one page.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_report(
    run: &RunDir,
    config: &Config,
    model: &ModelConfig,
    evaluation: &Evaluation,
    figures: &[DrawnFigure],
    time: RunTime,
) -> Result<()> {
    let figure = |f: &DrawnFigure| Figure { png: f.png.clone(), caption: f.caption.clone() };
    let objectives: Vec<String> =
        config.objective.iter().map(|term| format!("{} ({})", term.objective.name(), term.share)).collect();
    let waited = time.data_wait.map(|share| format!(", {:.1} % of it waiting for data", 100.0 * share));
    let subtitle = format!(
        "{} steps of {} samples in {:.0} s{}; {}; seed {}",
        config.train.steps,
        config.train.batch,
        time.wall_s,
        waited.unwrap_or_default(),
        objectives.join(" + "),
        config.seed
    );
    let mut sections = Vec::new();
    if !evaluation.warnings.is_empty() {
        let warnings: Vec<String> = evaluation.warnings.iter().map(ToString::to_string).collect();
        sections.push(Section {
            heading: "Warnings".into(),
            paragraph: Some(warnings.join("\n")),
            ..Section::default()
        });
    }
    sections.push(Section {
        heading: "Quality".into(),
        paragraph: Some(format!(
            "{} samples for each number of steps N by the sampler {}, against {}.\n{}",
            evaluation.num,
            evaluation.sampler.unwrap_or_default(),
            evaluation.reference,
            explanations(evaluation).join("\n")
        )),
        table: Some(quality_table(evaluation)),
        figures: figures.iter().map(figure).collect(),
        ..Section::default()
    });
    if let Some(table) = law_table(evaluation) {
        sections.push(Section {
            heading: "Laws of the flow map".into(),
            paragraph: Some(
                "Mean squared error of the learned map in each law, with its standard error.".into(),
            ),
            table: Some(table),
            ..Section::default()
        });
    }
    sections.extend(data_section(model));
    sections.push(Section {
        heading: "Config".into(),
        paragraph: Some("`flowmap train config.toml` with this file repeats the run.".into()),
        details: Some(Details { summary: "config.toml".into(), text: config.to_toml()? }),
        ..Section::default()
    });
    let report = Report { title: config.name.clone(), subtitle, sections };
    write_atomically(&run.report(), report.to_html().as_bytes())
}

/// How many samples the data have, and the names of the classes; `None` for data without end or names.
fn data_section(model: &ModelConfig) -> Option<Section> {
    let n_samples = model.trained.as_ref().and_then(|trained| trained.n_samples);
    let paragraph = n_samples.map(|n| format!("The data are {n} samples of shape {:?}.", model.shape));
    let rows: Vec<Vec<String>> = model
        .class_names
        .iter()
        .enumerate()
        .map(|(class, name)| vec![class.to_string(), name.clone()])
        .collect();
    let headers = vec!["class".into(), "name".into()];
    let table = Some(Table { headers, rows }).filter(|table| !table.rows.is_empty());
    if paragraph.is_none() && table.is_none() {
        return None;
    }
    Some(Section { heading: "Data".into(), paragraph, table, ..Section::default() })
}

/// One row per number of steps, one column per metric, the floor last.
pub fn quality_table(evaluation: &Evaluation) -> Table {
    let metrics = evaluation.metrics();
    let mut headers = vec!["N".to_owned()];
    headers.extend(metrics.iter().map(|m| m.title().to_owned()));
    let mut rows: Vec<Vec<String>> = evaluation
        .rows
        .iter()
        .map(|row| {
            let n = row.steps.map_or("samples".to_owned(), |n| n.to_string());
            let values = row.metrics.values().map(|m| number(m.value));
            [n].into_iter().chain(values).collect()
        })
        .collect();
    if let Some(row) = evaluation.rows.first() {
        let floors = row.metrics.values().map(|m| m.floor.map_or("-".to_owned(), number));
        rows.push(["floor".to_owned()].into_iter().chain(floors).collect());
        let kinds =
            row.metrics.values().map(|m| m.floor_kind.map_or("-".to_owned(), |kind| kind.to_string()));
        rows.push(["floor is".to_owned()].into_iter().chain(kinds).collect());
    }
    Table { headers, rows }
}

/// What each metric is, what each kind of floor is, and what is left out, a line each.
fn explanations(evaluation: &Evaluation) -> Vec<String> {
    let mut lines: Vec<String> =
        evaluation.metrics().iter().map(|m| format!("{}: {}.", m.title(), m.about())).collect();
    let measured = evaluation.rows.first().into_iter().flat_map(|row| row.metrics.values());
    let mut kinds: Vec<FloorKind> = measured.filter_map(|m| m.floor_kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    lines.extend(kinds.iter().map(|kind| format!("Floor, {kind}: {}.", kind.about())));
    lines.extend(evaluation.omitted.iter().map(|omission| format!("{omission}.")));
    lines
}

/// One row per law.
pub fn law_table(evaluation: &Evaluation) -> Option<Table> {
    let laws = evaluation.laws.as_ref()?;
    let mut rows = Vec::new();
    let mut row = |name: &str, error: &flowmap_metrics::SquaredError| {
        rows.push(vec![name.to_owned(), number(error.mean), number(error.std_error)]);
    };
    row("semigroup", &laws.semigroup);
    row("invertibility", &laws.invertibility);
    row("lagrangian", &laws.lagrangian);
    row("eulerian", &laws.eulerian);
    if let Some(tangent) = &laws.tangent {
        row("tangent", tangent);
    }
    Some(Table { headers: vec!["law".into(), "mean squared error".into(), "standard error".into()], rows })
}

/// Four significant digits.
fn number(x: f64) -> String {
    if x == 0.0 || (1e-3..1e4).contains(&x.abs()) { format!("{x:.4}") } else { format!("{x:.3e}") }
}
