//! The figures of a run whose samples are images.

use std::num::NonZeroU32;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{NoiseStream, Stream, TimeGrid};
use flowmap_figure::{ImageGroup, RgbImage, film_strip, images_grid};
use flowmap_nn::FlowMap;
use flowmap_sample::base_noise;

use crate::generate::{Generation, generate_by_steps, generate_paths, interleaved, with_net};
use crate::{Evaluation, Model, Reference, Result};

/// Images in a group without classes, rows of ten.
const N_IMAGES: usize = 50;
const N_COLUMNS: usize = 10;
/// Images of each class, one class a row, and the most classes that are shown so.
const N_PER_CLASS: usize = 8;
const MAX_CLASSES: usize = 20;
/// How many data are looked through for images of every class.
const N_LOOKED_AT: usize = 2_000;
/// Film strips, and frames of each.
const N_STRIPS: usize = 10;
const STRIP_STEPS: NonZeroU32 = NonZeroU32::new(8).unwrap();
/// Rows of the figure of interpolations, images in each, and steps to each image.
const N_PAIRS: usize = 8;
const N_BETWEEN: usize = 10;
const PAIR_STEPS: NonZeroU32 = NonZeroU32::new(4).unwrap();

/// The data next to samples for each number of steps; one row for each class of the data if there are some.
///
/// `how` has the classes in turn.
pub(crate) fn grids(
    model: &Model,
    reference: &Reference,
    evaluation: &Evaluation,
    shape: [usize; 3],
    how: &Generation,
    device: &Device,
) -> Result<RgbImage> {
    let classes = model.config.classes_with_samples();
    let n_classes = classes.len();
    let by_class = (2..=MAX_CLASSES).contains(&n_classes);
    let (n, n_columns) =
        if by_class { (n_classes * N_PER_CLASS, N_PER_CLASS) } else { (N_IMAGES, N_COLUMNS) };
    let dim: usize = shape.iter().product();
    // Samples come with their classes in turn: the images of a class are a row after this.
    let in_rows = |images: Vec<f32>| match by_class {
        true => {
            (0..n).flat_map(|at| image(&images, dim, at % n_columns * n_classes + at / n_columns)).collect()
        }
        false => images,
    };
    let data = match by_class {
        true => one_row_per_class(reference, how.seed, &classes, dim),
        false => reference.draw(how.seed, 0, n),
    };
    let how = Generation { num: n, ..how.clone() };
    let samples = generate_by_steps(model, evaluation.steps(), &how, device)?;
    let samples: Vec<(u32, Vec<f32>)> = samples.into_iter().map(|(n, images)| (n, in_rows(images))).collect();
    let titles: Vec<String> = samples.iter().map(|(n, _)| format!("N = {n}")).collect();
    let mut groups = vec![ImageGroup { title: "data", images: &data, shape, n_columns }];
    groups.extend(samples.iter().zip(&titles).map(|((_, images), title)| ImageGroup {
        title,
        images,
        shape,
        n_columns,
    }));
    Ok(images_grid(&groups)?)
}

/// Image number `at` of many.
fn image(images: &[f32], dim: usize, at: usize) -> Vec<f32> {
    images[at * dim..(at + 1) * dim].to_vec()
}

/// The first data of each class, one class after the other; black squares if a class has too few.
fn one_row_per_class(reference: &Reference, seed: u64, classes: &[u32], dim: usize) -> Vec<f32> {
    let (images, labels) =
        (reference.draw(seed, 0, N_LOOKED_AT), reference.draw_labels(seed, 0, N_LOOKED_AT));
    let mut rows = vec![-1.0; classes.len() * N_PER_CLASS * dim];
    for (class, row) in classes.iter().zip(rows.chunks_exact_mut(N_PER_CLASS * dim)) {
        let of_class = labels.iter().enumerate().filter(|(_, label)| *label == class);
        for (out, (at, _)) in row.chunks_exact_mut(dim).zip(of_class) {
            out.copy_from_slice(&images[at * dim..][..dim]);
        }
    }
    rows
}

/// Paths from noise to data, one path a row.
pub(crate) fn strips(
    model: &Model,
    shape: [usize; 3],
    how: &Generation,
    device: &Device,
) -> Result<RgbImage> {
    let grid = TimeGrid::uniform(STRIP_STEPS);
    let paths = interleaved(&generate_paths(model, &grid, how, 0, N_STRIPS, device)?)?;
    Ok(film_strip("trajectories from noise to data", &paths, shape, grid.times())?)
}

/// Samples between pairs of samples of one class, one pair a row.
///
/// Two noises x and y are joined by x_a = cos(π a/2) x + sin(π a/2) y, which has the law of the base for every a.
pub(crate) fn interpolations(
    model: &Model,
    shape: [usize; 3],
    how: &Generation,
    device: &Device,
) -> Result<RgbImage> {
    let config = &model.config;
    let base = NoiseStream::new(how.seed, Stream::Base);
    let ends = base_noise(&base, 0, 2 * N_PAIRS, &config.shape, config.sigma_data, DType::F32, device)?;
    let (x, y) = (ends.narrow(0, 0, N_PAIRS)?, ends.narrow(0, N_PAIRS, N_PAIRS)?);
    let condition = how.condition(model, 0, N_PAIRS, device)?;
    let times = TimeGrid::uniform(PAIR_STEPS);
    let columns = with_net(model, how, |net| {
        let map = FlowMap::given(net, &condition);
        let column = |at: usize| -> Result<Tensor> {
            let angle = std::f64::consts::FRAC_PI_2 * at as f64 / (N_BETWEEN - 1) as f64;
            let mut x = ((&x * angle.cos())? + (&y * angle.sin())?)?;
            for ends in times.times().windows(2) {
                let time = |t: f64| Tensor::full(t as f32, N_PAIRS, device);
                x = map.jump(&time(ends[0])?, &time(ends[1])?, &x)?;
            }
            Ok(x)
        };
        (0..N_BETWEEN).map(column).collect::<Result<Vec<_>>>()
    })?;
    let images = interleaved(&columns)?;
    let title = "between two samples, N = 4";
    Ok(images_grid(&[ImageGroup { title, images: &images, shape, n_columns: N_BETWEEN }])?)
}
