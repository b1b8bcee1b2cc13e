//! The figures of a run.

use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;

use candle_core::Device;
use flowmap_core::TimeGrid;
use flowmap_figure::{
    BinPanel, Panel2d, RgbImage, Scale, Series, curves, encode_png, quality_vs_steps, samples_2d, time_bins,
    trajectories_2d,
};
use flowmap_nn::loss::Bin;
use serde_json::Value;

use crate::generate::{Generation, generate_by_steps, generate_paths, interleaved};
use crate::guidance_figure::{guided_images, guided_points};
use crate::image_figures::{grids, interpolations, strips};
use crate::{
    Classes, Error, Evaluation, Metric, Model, Record, Reference, Result, RunDir, read_log, write_atomically,
};

/// Points in a density panel.
const N_POINTS: usize = 50_000;
/// What the figure of guidance shows.
const GUIDANCE_CAPTION: &str = "All classes in one jump by the scale of guidance w, beside guidance by two evaluations and the guided velocity.";
/// How much wider than the data the window of guided samples is, which lie farther out.
const GUIDED_WINDOW: f64 = 1.4;
/// Paths in the figure of trajectories, and steps of each.
const N_PATHS: usize = 60;
const PATH_STEPS: NonZeroU32 = NonZeroU32::new(32).unwrap();
/// Lines of the log that the figure of bins takes the mean of.
const N_LAST_LINES: usize = 10;

/// A figure on disk and the line below it.
#[derive(Clone, Debug)]
pub struct DrawnFigure {
    /// Where it is.
    pub path: PathBuf,
    /// The bytes of the PNG.
    pub png: Vec<u8>,
    /// What it shows.
    pub caption: String,
}

/// Draws the figures of a run that suit its data and writes them below `figures/`.
///
/// # Errors
/// Where sampling fails or a file cannot be written.
pub fn draw_figures(
    run: &RunDir,
    model: &Model,
    reference: &Reference,
    evaluation: &Evaluation,
    device: &Device,
) -> Result<Vec<DrawnFigure>> {
    let mut figures = Vec::new();
    let mut draw = |name: &str, image: &RgbImage, caption: &str| -> Result<()> {
        let (path, png) = (run.figure(name), encode_png(image)?);
        let dir = path.parent().unwrap_or(run.path());
        fs::create_dir_all(dir).map_err(Error::io("creating", dir))?;
        write_atomically(&path, &png)?;
        figures.push(DrawnFigure { path, png, caption: caption.to_owned() });
        Ok(())
    };
    let sampler = evaluation.sampler.unwrap_or_default();
    let guidance = evaluation.guidance;
    let how = Generation { sampler, guidance, ..Generation::new(0, evaluation.seed) };
    // If the training pairs allow one step only, there are no trajectories to show.
    let has_paths = sampler.check(&model.config, PATH_STEPS.get() as usize).is_ok();
    let shape = &model.config.shape;
    match (&shape[..], reference.data().extent()) {
        ([2], Some(extent)) => {
            let image = densities(model, reference, evaluation, extent, &how, device)?;
            draw("samples.png", &image, "The data beside samples of the model after N steps.")?;
            if has_paths {
                let image = paths_2d(model, reference, extent, &how, device)?;
                draw("trajectories.png", &image, "From noise to data in 32 steps.")?;
            }
            if let Some(range) = model.config.guidance {
                let image = guided_points(model, range, GUIDED_WINDOW * extent, &how, device)?;
                draw("guidance.png", &image, GUIDANCE_CAPTION)?;
            }
        }
        (&[c @ (1 | 3), h, w], _) => {
            let how = Generation { classes: Classes::InTurn, ..how };
            let image = grids(model, reference, evaluation, [c, h, w], &how, device)?;
            draw(
                "samples.png",
                &image,
                "The data beside samples of the model after N steps, one row per class where there are classes.",
            )?;
            let image = interpolations(model, [c, h, w], &how, device)?;
            draw("interpolations.png", &image, "Samples between two, along a circle of noise, in 4 steps.")?;
            if has_paths {
                let image = strips(model, [c, h, w], &how, device)?;
                draw("trajectories.png", &image, "From noise to data in 8 steps.")?;
            }
            if let Some(range) = model.config.guidance {
                let image = guided_images(model, range, [c, h, w], &how, device)?;
                draw("guidance.png", &image, GUIDANCE_CAPTION)?;
            }
        }
        _ => {}
    }
    if let Some(metric) = evaluation.metrics().first() {
        draw(
            "quality.png",
            &quality(evaluation, *metric)?,
            "Distance to the data over the number of steps; dashed, what exact samples score.",
        )?;
    }
    let log = read_log(&run.metrics())?;
    draw("loss.png", &losses(&log)?, "The mean loss of each objective over the training.")?;
    if let Some(image) = loss_bins(&log)? {
        let caption = "The mean loss of each objective by the times of its rows at the end of the training, and the norm of the derivative that it takes.";
        draw("loss_bins.png", &image, caption)?;
    }
    Ok(figures)
}

fn densities(
    model: &Model,
    reference: &Reference,
    evaluation: &Evaluation,
    extent: f64,
    how: &Generation,
    device: &Device,
) -> Result<RgbImage> {
    let data = reference.draw(how.seed, 0, N_POINTS);
    let how = Generation { num: N_POINTS, ..how.clone() };
    let samples = generate_by_steps(model, evaluation.steps(), &how, device)?;
    let metric = evaluation.metrics().first().copied();
    let texts: Vec<(String, String)> = samples
        .iter()
        .zip(&evaluation.rows)
        .map(|((n, _), row)| {
            let value = metric.and_then(|m| Some(format!("{} {:.3}", m.title(), row.metrics.get(&m)?.value)));
            (format!("N = {n}"), value.unwrap_or_default())
        })
        .collect();
    let mut panels = vec![Panel2d { title: "data", subtitle: reference.name(), points: &data }];
    panels.extend(samples.iter().zip(&texts).map(|((_, points), (title, subtitle))| Panel2d {
        title,
        subtitle,
        points,
    }));
    Ok(samples_2d(&panels, extent)?)
}

fn paths_2d(
    model: &Model,
    reference: &Reference,
    extent: f64,
    how: &Generation,
    device: &Device,
) -> Result<RgbImage> {
    let grid = TimeGrid::uniform(PATH_STEPS);
    let paths = interleaved(&generate_paths(model, &grid, how, 0, N_PATHS, device)?)?;
    let background = reference.draw(how.seed, 0, N_POINTS);
    let n_times = grid.times().len();
    Ok(trajectories_2d(&paths, n_times, &background, extent, "trajectories from noise to data")?)
}

fn quality(evaluation: &Evaluation, metric: Metric) -> Result<RgbImage> {
    let rows = evaluation.rows.iter();
    let points = rows.filter_map(|row| Some((f64::from(row.steps?), row.metrics.get(&metric)?)));
    let (x, measured): (Vec<f64>, Vec<_>) = points.unzip();
    let y: Vec<f64> = measured.iter().map(|m| m.value).collect();
    let floor = measured.first().and_then(|m| m.floor);
    let series = [Series { name: metric.title(), x: &x, y: &y }];
    Ok(quality_vs_steps("quality by number of steps", metric.title(), &series, floor, Scale::Log)?)
}

fn losses(log: &[Record]) -> Result<RgbImage> {
    let number = |record: &Record, key: &str| record.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let x: Vec<f64> = log.iter().map(|record| number(record, "step")).collect();
    let keys: Vec<&String> =
        log.first().map_or(Vec::new(), |record| record.keys().filter(|k| k.starts_with("loss/")).collect());
    let columns: Vec<(&str, Vec<f64>)> = keys
        .iter()
        .map(|key| (key.trim_start_matches("loss/"), log.iter().map(|record| number(record, key)).collect()))
        .collect();
    let series: Vec<Series<'_>> = columns.iter().map(|(name, y)| Series { name, x: &x, y }).collect();
    Ok(curves("loss", "step", "mean loss per sample", &series, Scale::Log)?)
}

/// The means by bins over the last lines of the log; `None` if it has none.
fn loss_bins(log: &[Record]) -> Result<Option<RgbImage>> {
    let last = &log[log.len().saturating_sub(N_LAST_LINES)..];
    let mean = |key: &str| -> f64 {
        let values: Vec<f64> = last.iter().filter_map(|record| record.get(key)?.as_f64()).collect();
        if values.is_empty() { f64::NAN } else { values.iter().sum::<f64>() / values.len() as f64 }
    };
    let n = Bin::N_INTERVALS;
    let mut panels: Vec<(String, Vec<f64>, Vec<f64>)> = Vec::new();
    // The losses of all objectives, then their tangents; keys of one objective stand together.
    for (prefix, what) in [("loss_bin/", "loss"), ("tangent_bin/", "tangent")] {
        let names = last.iter().flat_map(|record| record.keys().filter_map(|key| key.strip_prefix(prefix)));
        let mut names: Vec<&str> = names.filter_map(|rest| Some(rest.rsplit_once('/')?.0)).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let (mut jumps, mut diagonal) = (vec![f64::NAN; n * n], vec![f64::NAN; n]);
            for bin in Bin::all() {
                let value = mean(&format!("{prefix}{name}/{}", bin.key()));
                match bin {
                    Bin::Jump { s, t } => jumps[s * n + t] = value,
                    Bin::Diagonal { t } => diagonal[t] = value,
                }
            }
            panels.push((format!("{what} of {name}"), jumps, diagonal));
        }
    }
    if panels.is_empty() {
        return Ok(None);
    }
    let panels: Vec<BinPanel<'_>> =
        panels.iter().map(|(title, jumps, diagonal)| BinPanel { title, jumps, diagonal }).collect();
    Ok(Some(time_bins(&panels, n)?))
}
