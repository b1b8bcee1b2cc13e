//! `flowmap sample`.

use std::path::Path;

use anyhow::{Result, bail};
use flowmap_core::TimeGrid;
use flowmap_data::{NpyArray, NpyData, npz_bytes};
use flowmap_figure::{ImageGroup, Panel2d, encode_png, images_grid, samples_2d};
use flowmap_train::{Generation, Model, Samples, generate, make_dir_with, write_atomically};

use super::{Usage, check_place, generation};
use crate::args::SampleArgs;
use crate::device::device;
use crate::progress::{sampling_bar, warn};
use crate::table;

/// Most images in a picture.
const MAX_IMAGES: usize = 400;

/// Draws samples and writes them.
///
/// # Errors
/// What is wrong with model, times, class or disk.
pub fn run(args: &SampleArgs) -> Result<()> {
    let out = &args.out;
    let format = Format::of(out)?;
    let device = device(&args.device.name)?;
    let grid = args.times.clone().unwrap_or_else(|| TimeGrid::uniform(args.steps));
    let model = Model::open(&args.model, args.sampling.ema.unwrap_or_default(), &device)?;
    let class = args.class.as_deref().map(|class| model.config.class_of(class)).transpose()?;
    let (class, doubt) = class.unzip();
    warn(doubt.flatten().as_slice());
    let how = Generation { class, ..generation(&args.sampling, &model, args.num, &device)? };
    let warning = how.warning(&model.config)?;
    warn(warning.as_slice());
    // Fail early on anything that would fail at the end.
    match format {
        Format::Directory if out.exists() && !out.is_dir() => {
            bail!("--out {}: expected a directory, found a file", out.display())
        }
        Format::Directory => {}
        Format::Npz => check_place("--out", out)?,
        Format::Png => {
            check_place("--out", out)?;
            if picture_shape(&model.config.shape).is_none() {
                let shape = &model.config.shape;
                bail!(
                    "--out {}: samples of shape {shape:?} are neither points of the plane nor images; write a .npz",
                    out.display()
                );
            }
        }
    }
    let doubt = how.sampler.doubt(&model.config, grid.n_steps());
    warn(doubt.as_slice());
    let bar = sampling_bar("sampling", args.num);
    let samples = generate(&model, &grid, &how, &device, &mut |n| bar.inc(n as u64))?;
    bar.finish_and_clear();
    match format {
        Format::Npz => write_atomically(out, &npz(&samples)?)?,
        Format::Png => write_atomically(out, &png(&model, &samples)?)?,
        Format::Directory => {
            let npz = npz(&samples)?;
            let png = picture_shape(&samples.shape).map(|_| png(&model, &samples)).transpose()?;
            make_dir_with(out, || {
                write_atomically(&out.join("samples.npz"), &npz)?;
                png.map_or(Ok(()), |png| write_atomically(&out.join("samples.png"), &png))
            })?;
        }
    }
    let n_evaluations =
        grid.n_steps() * how.sampler.evaluations_per_step() * how.evaluations_per_evaluation(&model);
    let (num, sampler) = (args.num, how.sampler);
    Ok(table::line(&format!(
        "{}: {num} samples by {sampler}, {n_evaluations} evaluations each",
        out.display()
    ))?)
}

/// What to write.
enum Format {
    Npz,
    Png,
    Directory,
}

impl Format {
    fn of(out: &Path) -> Result<Self> {
        if out.to_str().is_some_and(|out| out.ends_with(std::path::MAIN_SEPARATOR)) {
            return Ok(Self::Directory);
        }
        let extension = out.extension().map(|e| e.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("npz") => Ok(Self::Npz),
            Some("png") => Ok(Self::Png),
            None => Ok(Self::Directory),
            Some(_) if out.is_dir() => Ok(Self::Directory),
            Some(other) => Err(Usage(format!(
                "--out {}: expected .npz, .png or a directory (with `/` at its end if its name has a dot), found .{other}",
                out.display()
            ))
            .into()),
        }
    }
}

fn npz(samples: &Samples) -> Result<Vec<u8>> {
    let n = samples.x.len() / samples.dim().max(1);
    let shape: Vec<usize> = [n].iter().chain(&samples.shape).copied().collect();
    let mut arrays = vec![
        NpyArray { name: "samples", shape: &shape, data: NpyData::F32(&samples.x) },
        NpyArray { name: "noise", shape: &shape, data: NpyData::F32(&samples.noise) },
    ];
    if let Some(labels) = &samples.labels {
        arrays.push(NpyArray { name: "labels", shape: &shape[..1], data: NpyData::U32(labels) });
    }
    Ok(npz_bytes(&arrays)?)
}

/// `Some(Some(shape))` for images, `Some(None)` for points of the plane, `None` for samples without a picture.
fn picture_shape(shape: &[usize]) -> Option<Option<[usize; 3]>> {
    match *shape {
        [2] => Some(None),
        [c @ (1 | 3), h, w] => Some(Some([c, h, w])),
        _ => None,
    }
}

/// The first images, in the order of their classes if they have some.
fn by_class(samples: &Samples) -> Vec<f32> {
    let dim = samples.dim().max(1);
    let n = (samples.x.len() / dim).min(MAX_IMAGES);
    let mut rows: Vec<usize> = (0..n).collect();
    if let Some(labels) = &samples.labels {
        rows.sort_by_key(|row| labels.get(*row));
    }
    rows.into_iter().flat_map(|row| &samples.x[row * dim..][..dim]).copied().collect()
}

fn png(model: &Model, samples: &Samples) -> Result<Vec<u8>> {
    let image = match picture_shape(&samples.shape) {
        Some(Some(shape)) => {
            let images = by_class(samples);
            let n = images.len() / samples.dim().max(1);
            let n_columns = (n as f64).sqrt().ceil() as usize;
            images_grid(&[ImageGroup { title: &model.config.name, images: &images, shape, n_columns }])?
        }
        Some(None) => {
            let extent = model.config.data.build(None).ok().and_then(|data| data.extent());
            let farthest = samples.x.iter().filter(|x| x.is_finite()).fold(0f32, |m, x| m.max(x.abs()));
            let panel = Panel2d { title: &model.config.name, subtitle: "", points: &samples.x };
            samples_2d(&[panel], extent.unwrap_or(f64::from(farthest).max(1e-6)))?
        }
        None => bail!(
            "samples of shape {:?} are neither points of the plane nor images; write --out FILE.npz",
            samples.shape
        ),
    };
    Ok(encode_png(&image)?)
}
