//! Samples of a model, in chunks.

use candle_core::{Device, Tensor};
use flowmap_core::{NoiseStream, Stream, TimeGrid};
use flowmap_nn::{AverageVelocity, Guided, OwnedCondition};
use flowmap_sample::{SamplerKind, Session, base_noise};

use crate::{Error, GuidanceConfig, Model, Result};

/// Rows that go through the network at once; larger chunks are no faster and need more memory.
const CHUNK: usize = 4096;

/// How to sample.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Number of samples.
    pub num: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// The sampler.
    pub sampler: SamplerKind,
    /// The class of every sample; all classes in turn where none is given.
    pub class: Option<u32>,
    /// Scale of classifier-free guidance: the network's input where it has one, which is then the smallest of its
    /// scales where none is given, and two evaluations for one where it has not.
    pub guidance: Option<f64>,
}

impl Generation {
    /// `num` samples by jumps of the flow map, classes in turn, no guidance.
    pub fn new(num: usize, seed: u64) -> Self {
        Self { num, seed, sampler: SamplerKind::FlowMap, class: None, guidance: None }
    }

    /// The label of each sample `first..first + n` of a model with `n_classes` classes.
    fn labels(&self, first: usize, n: usize, n_classes: usize) -> Option<Vec<u32>> {
        let label = |i: usize| self.class.unwrap_or((i % n_classes.max(1)) as u32);
        (n_classes > 0).then(|| (first..first + n).map(label).collect())
    }

    /// What the network of `model` is told of the samples `first..first + n`.
    pub(crate) fn condition(
        &self,
        model: &Model,
        first: usize,
        n: usize,
        device: &Device,
    ) -> Result<OwnedCondition> {
        let labels = self.labels(first, n, model.config.n_classes);
        let labels = labels.map(|l| Tensor::from_vec(l, n, device)).transpose()?;
        let scale = |range: GuidanceConfig| self.guidance.unwrap_or(range.min) as f32;
        let guidance =
            model.config.guidance.map(|range| Tensor::full(scale(range), n, device)).transpose()?;
        Ok(OwnedCondition { labels, guidance })
    }

    /// Evaluations of the network for one of the sampler's.
    pub fn evaluations_per_evaluation(&self, model: &Model) -> usize {
        if self.guidance.is_some() && model.config.guidance.is_none() { 2 } else { 1 }
    }
}

/// Samples, and where they came from.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The samples, `(num, ...)` row-major.
    pub x: Vec<f32>,
    /// The noise they started from, in the same rows.
    pub noise: Vec<f32>,
    /// Their classes, where the model has any.
    pub labels: Option<Vec<u32>>,
    /// Shape of one sample.
    pub shape: Vec<usize>,
}

impl Samples {
    /// Numbers in one sample.
    pub fn dim(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Samples of `model` along `grid`; `progress` is told how many samples each chunk made.
///
/// Sample i depends on the seed and on i alone.
///
/// # Errors
/// [`Error::Class`], [`Error::NotConditional`] and [`Error::GuidanceScale`] where the model has no such class or scale.
pub fn generate(
    model: &Model,
    grid: &TimeGrid,
    how: &Generation,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Result<Samples> {
    let mut samples =
        Samples { x: Vec::new(), noise: Vec::new(), labels: None, shape: model.config.shape.clone() };
    samples.labels = how.labels(0, how.num, model.config.n_classes);
    let sampler = how.sampler.build();
    with_net(model, how, |net| {
        let session = Session::new(&*sampler, net);
        for first in (0..how.num).step_by(CHUNK) {
            let n = CHUNK.min(how.num - first);
            let (x0, condition) = start(model, how, first, n, device)?;
            let x1 = session.sample(&x0, &condition, grid)?;
            samples.noise.extend(x0.flatten_all()?.to_vec1::<f32>()?);
            samples.x.extend(x1.flatten_all()?.to_vec1::<f32>()?);
            progress(n);
        }
        Ok(samples)
    })
}

/// The samples `first..first + n` at every time of `grid`, noise included.
///
/// # Errors
/// As [`generate`].
pub fn generate_paths(
    model: &Model,
    grid: &TimeGrid,
    how: &Generation,
    first: usize,
    n: usize,
    device: &Device,
) -> Result<Vec<Tensor>> {
    let sampler = how.sampler.build();
    with_net(model, how, |net| {
        let (x0, condition) = start(model, how, first, n, device)?;
        Ok(Session::new(&*sampler, net).trajectory(&x0, &condition, grid)?)
    })
}

/// Calls `run` with the network of `model`, guided where that is asked for.
pub(crate) fn with_net<R>(
    model: &Model,
    how: &Generation,
    run: impl FnOnce(&dyn AverageVelocity) -> Result<R>,
) -> Result<R> {
    let n_classes = model.config.n_classes;
    if let Some(found) = how.class.filter(|class| *class as usize >= n_classes) {
        return Err(Error::Class { found, n_classes });
    }
    match (how.guidance, model.config.guidance) {
        (Some(_), _) if n_classes == 0 => Err(Error::NotConditional),
        (Some(scale), Some(range)) => {
            range.check(scale)?;
            run(&*model.net)
        }
        (Some(scale), None) => {
            run(&Guided::new(&*model.net as &dyn AverageVelocity, scale, n_classes as u32))
        }
        (None, _) => run(&*model.net),
    }
}

/// Noise and condition of the samples `first..first + n`.
fn start(
    model: &Model,
    how: &Generation,
    first: usize,
    n: usize,
    device: &Device,
) -> Result<(Tensor, OwnedCondition)> {
    let config = &model.config;
    let stream = NoiseStream::new(how.seed, Stream::Base);
    let dtype = candle_core::DType::F32;
    let x0 = base_noise(&stream, first as u64, n, &config.shape, config.sigma_data, dtype, device)?;
    Ok((x0, how.condition(model, first, n, device)?))
}
