//! Samples of a model, in chunks.

use std::num::NonZeroU32;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use flowmap_core::{NoiseStream, Stream, TimeGrid};
use flowmap_data::Warning;
use flowmap_nn::{Autoguided, AverageVelocity, Guided, GuidedWithin, OwnedCondition};
use flowmap_sample::{Session, base_noise, multistep_consistency, n_fresh};

use crate::{Classes, Error, GuidanceConfig, Model, ModelConfig, Result, Sampling};

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
    pub sampler: Sampling,
    /// The class of every sample; of several, as `classes` says, where none is given.
    pub class: Option<u32>,
    /// Which classes the samples are of.
    pub classes: Classes,
    /// Scale of classifier-free guidance: an input of the network if it has one, by default the smallest of its
    /// scales; otherwise two evaluations in place of one.
    pub guidance: Option<f64>,
    /// The weaker model to guide away from, by the scale, instead of the model without a label.
    pub guide: Option<Arc<Model>>,
    /// The times at which jumps start that are guided; all where none are given.
    pub interval: Option<[f64; 2]>,
}

impl Generation {
    /// `num` samples by jumps of the flow map, classes by their shares in the training data, no guidance.
    pub fn new(num: usize, seed: u64) -> Self {
        let (sampler, classes) = (Sampling::default(), Classes::default());
        Self { num, seed, sampler, class: None, classes, guidance: None, guide: None, interval: None }
    }

    /// The label of each sample `first..first + n` of `model`; `None` for a model without classes.
    pub(crate) fn labels(&self, first: usize, n: usize, model: &ModelConfig) -> Option<Vec<u32>> {
        (model.n_classes > 0).then(|| match self.class {
            Some(class) => vec![class; n],
            None => self.classes.labels(self.seed, first..first + n, model),
        })
    }

    /// What the network of `model` is told of the samples `first..first + n`.
    pub(crate) fn condition(
        &self,
        model: &Model,
        first: usize,
        n: usize,
        device: &Device,
    ) -> Result<OwnedCondition> {
        self.condition_on(self.labels(first, n, &model.config), model, n, device)
    }

    /// What the network of `model` is told of `n` samples with these labels.
    pub(crate) fn condition_on(
        &self,
        labels: Option<Vec<u32>>,
        model: &Model,
        n: usize,
        device: &Device,
    ) -> Result<OwnedCondition> {
        let labels = labels.map(|l| Tensor::from_vec(l, n, device)).transpose()?;
        // With a guide, the scale belongs to the guide.
        let scale = self.guidance.filter(|_| self.guide.is_none());
        let scale = |range: GuidanceConfig| scale.unwrap_or(range.min) as f32;
        let guidance =
            model.config.guidance.map(|range| Tensor::full(scale(range), n, device)).transpose()?;
        Ok(OwnedCondition { labels, guidance, ..OwnedCondition::default() })
    }

    /// What is in doubt about the guidance of `model`.
    ///
    /// # Errors
    /// As [`ModelConfig::check_guidance`].
    pub fn warning(&self, model: &ModelConfig) -> Result<Option<Warning>> {
        // A guide takes the place of the model without a label.
        let scale = self.guidance.filter(|_| self.guide.is_none());
        scale.map_or(Ok(None), |scale| model.check_guidance(scale))
    }

    /// Evaluations of the network for one of the sampler's.
    pub fn evaluations_per_evaluation(&self, model: &Model) -> usize {
        let is_twice = self.guide.is_some() || self.guidance.is_some() && model.config.guidance.is_none();
        if is_twice { 2 } else { 1 }
    }
}

/// Samples with their starting points and labels.
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
/// [`Error::Class`], [`Error::EmptyClass`], [`Error::NotConditional`] and [`Error::GuidanceScale`] where the model has no
/// such class or scale; [`Error::SamplerCoupling`] where the sampler is wrong for the pairs that the model learned.
pub fn generate(
    model: &Model,
    grid: &TimeGrid,
    how: &Generation,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Result<Samples> {
    let mut samples =
        Samples { x: Vec::new(), noise: Vec::new(), labels: None, shape: model.config.shape.clone() };
    how.sampler.check(&model.config, grid.n_steps())?;
    samples.labels = how.labels(0, how.num, &model.config);
    let walk = Walk { model, how, grid, device };
    with_net(model, how, |net| {
        let sampler = how.sampler.steps();
        let session = Session::new(&*sampler, net);
        for first in (0..how.num).step_by(CHUNK) {
            let n = CHUNK.min(how.num - first);
            let start = walk.start(first, n)?;
            let x1 = match how.sampler {
                Sampling::Steps(_) => session.sample(&start.x0, &start.condition, grid)?,
                Sampling::Consistency => walk.renoised(&session, &start)?.swap_remove(grid.n_steps()),
            };
            samples.noise.extend(start.x0.flatten_all()?.to_vec1::<f32>()?);
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
    let walk = Walk { model, how, grid, device };
    with_net(model, how, |net| {
        let sampler = how.sampler.steps();
        let session = Session::new(&*sampler, net);
        let start = walk.start(first, n)?;
        match how.sampler {
            Sampling::Steps(_) => Ok(session.trajectory(&start.x0, &start.condition, grid)?),
            Sampling::Consistency => walk.renoised(&session, &start),
        }
    })
}

/// Samples for each of these numbers of steps, on grids of equal steps.
pub(crate) fn generate_by_steps(
    model: &Model,
    steps: impl Iterator<Item = u32>,
    how: &Generation,
    device: &Device,
) -> Result<Vec<(u32, Vec<f32>)>> {
    let sample = |n: u32| {
        let grid = TimeGrid::uniform(NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN));
        Ok((n, generate(model, &grid, how, device, &mut |_| ())?.x))
    };
    steps.map(sample).collect()
}

/// `n_times` tensors `(n, ...)`, as [`generate_paths`] makes them, as one array `(n, n_times, ...)`.
pub(crate) fn interleaved(path: &[Tensor]) -> Result<Vec<f32>> {
    Ok(Tensor::stack(path, 1)?.flatten_all()?.to_vec1()?)
}

/// Calls `run` with the network of `model`, guided if asked for.
pub(crate) fn with_net<R>(
    model: &Model,
    how: &Generation,
    run: impl FnOnce(&dyn AverageVelocity) -> Result<R>,
) -> Result<R> {
    let n_classes = model.config.n_classes;
    how.class.map_or(Ok(()), |class| model.config.check_class(class))?;
    let net = &*model.net as &dyn AverageVelocity;
    if let (Some(guide), Some(scale)) = (&how.guide, how.guidance) {
        check_guide(model, guide)?;
        return within(how, net, &Autoguided::new(net, &*guide.net as &dyn AverageVelocity, scale), run);
    }
    if let Some(scale) = how.guidance {
        model.config.check_guidance(scale)?;
    }
    match (how.guidance, model.config.guidance) {
        (Some(_), Some(_)) => {
            if how.interval.is_some() {
                Err(Error::IntervalOfInput)
            } else {
                run(net)
            }
        }
        (Some(scale), None) => within(how, net, &Guided::new(net, scale, n_classes as u32), run),
        (None, _) => run(net),
    }
}

/// Calls `run` with the guided network, or with the plain one outside of the interval if there is one.
fn within<R>(
    how: &Generation,
    plain: &dyn AverageVelocity,
    guided: &dyn AverageVelocity,
    run: impl FnOnce(&dyn AverageVelocity) -> Result<R>,
) -> Result<R> {
    match how.interval {
        Some(interval) => run(&GuidedWithin::new(plain, guided, interval)),
        None => run(guided),
    }
}

/// Refuses a guide that speaks of other samples than the model.
pub(crate) fn check_guide(model: &Model, guide: &Model) -> Result<()> {
    let fits = |key, expected: String, found: String| {
        let path = guide.path.clone();
        if expected == found {
            Ok(())
        } else {
            Err(Error::Mismatch { what: "guide", path, key, expected, found })
        }
    };
    let (of_model, of_guide) = (&model.config, &guide.config);
    fits("interpolant", of_model.interpolant.to_string(), of_guide.interpolant.to_string())?;
    fits("shape", format!("{:?}", of_model.shape), format!("{:?}", of_guide.shape))?;
    fits("n_classes", of_model.n_classes.to_string(), of_guide.n_classes.to_string())?;
    fits("sigma_data", of_model.sigma_data.to_string(), of_guide.sigma_data.to_string())
}

/// What all samples of a call share.
struct Walk<'a> {
    model: &'a Model,
    how: &'a Generation,
    grid: &'a TimeGrid,
    device: &'a Device,
}

/// What some samples start from.
struct Start {
    x0: Tensor,
    /// Fresh noise for each inner time, where the sampler adds some.
    fresh: Vec<Tensor>,
    condition: OwnedCondition,
}

impl Walk<'_> {
    /// Noise and condition of the samples `first..first + n`.
    fn start(&self, first: usize, n: usize) -> Result<Start> {
        let config = &self.model.config;
        let stream = NoiseStream::new(self.how.seed, Stream::Base);
        let n_fresh = match self.how.sampler {
            Sampling::Steps(_) => 0,
            Sampling::Consistency => n_fresh(self.grid),
        };
        // The fresh noise of a sample is what its generator gives after its starting point.
        let shape: Vec<usize> = [1 + n_fresh].iter().chain(&config.shape).copied().collect();
        let dtype = candle_core::DType::F32;
        let noise = base_noise(&stream, first as u64, n, &shape, config.sigma_data, dtype, self.device)?;
        let draw = |k: usize| noise.narrow(1, k, 1)?.squeeze(1)?.contiguous();
        Ok(Start {
            x0: draw(0)?,
            fresh: (1..=n_fresh).map(draw).collect::<Result<_, candle_core::Error>>()?,
            condition: self.how.condition(self.model, first, n, self.device)?,
        })
    }

    /// Jumps to the data with fresh noise between them, x at every time of the grid.
    fn renoised(&self, session: &Session<'_>, start: &Start) -> Result<Vec<Tensor>> {
        let interpolant = &self.model.config.interpolant;
        interpolant.check_known()?;
        Ok(multistep_consistency(session, interpolant, &start.x0, &start.condition, self.grid, &start.fresh)?)
    }
}
