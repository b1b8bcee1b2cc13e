//! One model at several scales of guidance, in one jump each, next to guidance by two evaluations and by the velocity.

use candle_core::{DType, Device, Tensor};
use flowmap_core::{NoiseStream, Stream, TimeGrid};
use flowmap_figure::{ImageGroup, Panel2d, RgbImage, images_grid, samples_2d};
use flowmap_nn::{AverageVelocity, Condition, Guided};
use flowmap_sample::{SamplerKind, Session, base_noise};

use crate::generate::Generation;
use crate::{GuidanceConfig, Model, Result};

/// Points in a panel.
const N_POINTS: usize = 20_000;
/// Images in a group, and how many of them in a row.
const N_IMAGES: usize = 30;
const N_COLUMNS: usize = 10;
/// Steps of the fourth-order method that shows the velocity.
const VELOCITY_STEPS: u32 = 16;

/// Points of the plane at several scales, on the window `[-extent, extent]²`.
pub(crate) fn guided_points(
    model: &Model,
    range: GuidanceConfig,
    extent: f64,
    how: &Generation,
    device: &Device,
) -> Result<RgbImage> {
    let sets = guided_sets(model, range, N_POINTS, how, device)?;
    let mut panels = Vec::with_capacity(sets.len());
    for Set { title, about, samples } in &sets {
        panels.push(Panel2d { title, subtitle: about, points: samples });
    }
    Ok(samples_2d(&panels, extent)?)
}

/// Images at several scales.
pub(crate) fn guided_images(
    model: &Model,
    range: GuidanceConfig,
    shape: [usize; 3],
    how: &Generation,
    device: &Device,
) -> Result<RgbImage> {
    let sets = guided_sets(model, range, N_IMAGES, how, device)?;
    let titles: Vec<String> = sets.iter().map(|set| format!("{}: {}", set.title, set.about)).collect();
    let mut groups = Vec::with_capacity(sets.len());
    for (set, title) in sets.iter().zip(&titles) {
        groups.push(ImageGroup { title, images: &set.samples, shape, n_columns: N_COLUMNS });
    }
    Ok(images_grid(&groups)?)
}

/// Samples at one scale.
struct Set {
    title: String,
    about: &'static str,
    samples: Vec<f32>,
}

/// Samples at the scales `min`, the middle and `max`, of the same classes from the same noise.
///
/// The last two sets have the scale `max`: from the conditional map guided by two evaluations in one jump, which is
/// not the map of the guided field, and from the guided velocity in small steps, which is what one jump should be.
fn guided_sets(
    model: &Model,
    range: GuidanceConfig,
    n: usize,
    how: &Generation,
    device: &Device,
) -> Result<Vec<Set>> {
    let config = &model.config;
    let base = NoiseStream::new(how.seed, Stream::Base);
    let x0 = base_noise(&base, 0, n, &config.shape, config.sigma_data, DType::F32, device)?;
    let labels = how.condition(model, 0, n, device)?.labels;
    let samples = |net: &dyn AverageVelocity, scale: f64, sampler: SamplerKind, steps: u32| {
        let scales = Tensor::full(scale as f32, n, device)?;
        let condition = Condition::from(labels.as_ref()).with_guidance(&scales);
        let grid = TimeGrid::uniform(steps.try_into().unwrap_or(std::num::NonZeroU32::MIN));
        let x1 = Session::new(&*sampler.build(), net).sample(&x0, condition, &grid)?;
        Ok(x1.flatten_all()?.to_vec1()?)
    };
    let set = |scale: f64, about, samples: Result<Vec<f32>>| -> Result<Set> {
        Ok(Set { title: format!("w = {scale}"), about, samples: samples? })
    };
    let (GuidanceConfig { min, max, .. }, jump) = (range, SamplerKind::FlowMap);
    let middle = 0.5 * (min + max);
    let twice = Guided::new(&*model.net as &dyn AverageVelocity, max, config.n_classes as u32);
    Ok(vec![
        set(min, "1 evaluation", samples(&*model.net, min, jump, 1))?,
        set(middle, "1 evaluation", samples(&*model.net, middle, jump, 1))?,
        set(max, "1 evaluation", samples(&*model.net, max, jump, 1))?,
        set(max, "2 evaluations, at w = 1", samples(&twice, 1.0, jump, 1))?,
        set(
            max,
            "the velocity, 64 evaluations",
            samples(&*model.net, max, SamplerKind::Rk4, VELOCITY_STEPS),
        )?,
    ])
}
