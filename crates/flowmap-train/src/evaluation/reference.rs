//! What samples are judged against: a data set, and its exact flow where one is known.

use std::sync::OnceLock;

use flowmap_core::exact::{Component, Covariance, MixtureFlow};
use flowmap_core::{InterpolantKind, NoiseStream, Stream};
use flowmap_data::{DataConfig, DataSet, GaussianMixtureConfig};

use super::image_judge::ImageJudge;
use super::metric::integrate_to_data;
use crate::Result;

/// Data to judge samples against.
#[derive(Debug)]
pub struct Reference {
    config: DataConfig,
    data: Box<dyn DataSet>,
    exact: Option<MixtureFlow>,
    floor: OnceLock<Option<f64>>,
    ends: OnceLock<(Vec<f32>, Vec<f32>)>,
    judge: OnceLock<ImageJudge>,
    n_classes: Option<usize>,
}

impl Reference {
    /// A data set; `interpolant` and `sigma0` of the base say which exact flow is meant.
    ///
    /// # Errors
    /// Where the data cannot be read.
    pub fn new(config: &DataConfig, interpolant: InterpolantKind, sigma0: f64) -> Result<Self> {
        let exact = match config {
            DataConfig::GaussianMixture(mixture) => Some(exact_flow(mixture, interpolant, sigma0)?),
            _ => None,
        };
        let (data, config) = (config.build(None)?, config.clone());
        Ok(Self {
            config,
            data,
            exact,
            floor: OnceLock::new(),
            ends: OnceLock::new(),
            judge: OnceLock::new(),
            n_classes: None,
        })
    }

    /// The same data for a model of `n_classes` classes, 0 for none.
    ///
    /// The exact flow is that of all classes together: the map of a conditional model is another.
    pub fn given_classes(self, n_classes: usize) -> Self {
        Self { exact: self.exact.filter(|_| n_classes == 0), n_classes: Some(n_classes), ..self }
    }

    /// The kind of the data set.
    pub fn name(&self) -> &'static str {
        self.config.kind()
    }

    /// The data set.
    pub fn data(&self) -> &dyn DataSet {
        self.data.as_ref()
    }

    /// Its exact flow from the base, where it is known.
    pub fn exact(&self) -> Option<&MixtureFlow> {
        self.exact.as_ref()
    }

    /// Samples `first..first + n` of the data that no training sees, row-major.
    pub fn draw(&self, seed: u64, first: u64, n: usize) -> Vec<f32> {
        let dim: usize = self.data.shape().iter().product();
        let stream = NoiseStream::new(seed, Stream::Evaluation);
        let mut x = vec![0f32; n * dim];
        for (row, index) in x.chunks_exact_mut(dim.max(1)).zip(first..) {
            self.data.draw(&stream, index, row);
        }
        x
    }

    /// The classes of the samples that [`draw`](Self::draw) gives for the same numbers; empty without classes.
    pub fn draw_labels(&self, seed: u64, first: u64, n: usize) -> Vec<u32> {
        let stream = NoiseStream::new(seed, Stream::Evaluation);
        (first..first + n as u64).filter_map(|index| self.data.draw(&stream, index, &mut [])).collect()
    }

    /// Whether samples can be judged by a network that is trained on the data.
    pub(super) fn can_have_judge(&self) -> bool {
        ImageJudge::is_possible(self.data.as_ref())
    }

    /// Whether the samples that are judged are of classes, as far as that is known.
    pub(super) fn is_of_classes(&self) -> bool {
        self.n_classes.is_none_or(|n| n > 0)
    }

    /// The judge of images, trained when it is first asked for.
    pub(super) fn image_judge(&self) -> Result<&ImageJudge> {
        if let Some(judge) = self.judge.get() {
            return Ok(judge);
        }
        let judge = ImageJudge::of(&self.config, self.data.as_ref())?;
        Ok(self.judge.get_or_init(|| judge))
    }

    /// Its config.
    pub fn config(&self) -> &DataConfig {
        &self.config
    }

    /// The floor of sliced W2, computed once.
    pub(super) fn cached_floor(&self, compute: impl FnOnce() -> Option<f64>) -> Option<f64> {
        *self.floor.get_or_init(compute)
    }

    /// X_{0,1} of every row of `noise` by the exact flow, computed once for the same noise.
    pub(super) fn exact_ends(&self, noise: &[f32]) -> Option<Result<Vec<f32>>> {
        let flow = self.exact.as_ref()?;
        let (start, end) = match self.ends.get() {
            Some(known) => known,
            None => match integrate_to_data(flow, noise) {
                Ok(end) => self.ends.get_or_init(|| (noise.to_vec(), end)),
                Err(error) => return Some(Err(error)),
            },
        };
        if start == noise { Some(Ok(end.clone())) } else { Some(integrate_to_data(flow, noise)) }
    }
}

fn exact_flow(
    mixture: &GaussianMixtureConfig,
    interpolant: InterpolantKind,
    sigma0: f64,
) -> Result<MixtureFlow> {
    Ok(MixtureFlow::new(interpolant, sigma0, &components(mixture))?)
}

/// The components of the data.
pub(crate) fn components(mixture: &GaussianMixtureConfig) -> Vec<Component> {
    let at = |values: &[f64], k: usize| values.get(k).or(values.first()).copied().unwrap_or(1.0);
    let component = |(k, mean): (usize, &Vec<f64>)| Component {
        weight: at(&mixture.weights, k),
        mean: mean.clone(),
        covariance: Covariance::Isotropic(at(&mixture.stds, k)),
    };
    mixture.means.iter().enumerate().map(component).collect()
}
