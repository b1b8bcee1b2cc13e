//! What samples are judged against: a data set, and its exact flow where one is known.
//!
//! The reference is the held-out part of the data if it is available, so that a model which repeats its training
//! samples does not look good; otherwise the data themselves: generated anew without end, or the finite set that the
//! training sees too.
//! A finite set is drawn without replacement as long as it has enough samples: an estimator over pairs of different
//! samples would take copies for pairs.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use flowmap_core::exact::{Component, Covariance, MixtureFlow};
use flowmap_core::{Coupling, InterpolantKind, NoiseStream, Stream};
use flowmap_data::{DataConfig, DataSet, FolderFault, GaussianMixtureConfig, Warning};

use super::OF_KNOWN_INTERPOLANTS;
use super::floor::{Floor, FloorKey, FloorKind};
use super::image_judge::ImageJudge;
use super::measure::integrate_to_data;
use crate::{Error, ModelConfig, Result};

/// Why the exact flow of a mixture says nothing of a model.
const OF_ALL_CLASSES: &str =
    "compares with the exact flow of all classes together, and the model is told the class";
const OF_INDEPENDENT_PAIRS: &str = "compares with the exact flow of independent pairs, and the model was trained with another `coupling`, whose flow is another";

/// Data to judge samples against.
#[derive(Debug)]
pub struct Reference {
    config: DataConfig,
    /// The data to learn from.
    data: Box<dyn DataSet>,
    /// The part that no training sees, if the data have one.
    held_out: Option<Box<dyn DataSet>>,
    exact: Option<MixtureFlow>,
    /// Why there is no exact flow, although one of these data is known.
    no_exact: Option<&'static str>,
    /// Number of classes of the model to be judged, if there is a model.
    n_classes: Option<usize>,
    /// Whether the model to be judged learned from these data.
    is_learned: bool,
    warnings: Vec<Warning>,
    floors: Mutex<BTreeMap<FloorKey, Floor>>,
    ends: OnceLock<(Vec<f32>, Vec<f32>)>,
    judge: OnceLock<ImageJudge>,
}

impl Reference {
    /// A data set, to judge samples of any origin against.
    ///
    /// # Errors
    /// Where the data cannot be read, or their held-out part does not fit them.
    pub fn new(config: &DataConfig) -> Result<Self> {
        let (data, config) = (config.build(None)?, config.clone());
        let mut warnings = data.warnings().to_vec();
        let held_out = held_out(&config, data.as_ref(), &mut warnings)?;
        Ok(Self {
            config,
            data,
            held_out,
            exact: None,
            no_exact: None,
            n_classes: None,
            is_learned: false,
            warnings,
            floors: Mutex::default(),
            ends: OnceLock::new(),
            judge: OnceLock::new(),
        })
    }

    /// A data set, to judge a model against.
    ///
    /// The exact flow is known of a mixture of Gaussians, for a model of all classes together that learned independent
    /// pairs.
    ///
    /// # Errors
    /// As [`new`](Self::new); where the exact flow of the data cannot be computed.
    pub fn for_model(config: &DataConfig, model: &ModelConfig) -> Result<Self> {
        let mut reference = Self::new(config)?;
        reference.n_classes = Some(model.n_classes);
        reference.is_learned = *config == model.data;
        if let DataConfig::GaussianMixture(mixture) = config {
            let coupling = model.trained.as_ref().map(|trained| trained.coupling);
            match coupling {
                _ if model.n_classes > 0 => reference.no_exact = Some(OF_ALL_CLASSES),
                _ if model.interpolant.check_known().is_err() => {
                    reference.no_exact = Some(OF_KNOWN_INTERPOLANTS);
                }
                None | Some(Coupling::Independent {}) => {
                    reference.exact = Some(exact_flow(mixture, &model.interpolant, model.sigma_data)?);
                }
                Some(_) => reference.no_exact = Some(OF_INDEPENDENT_PAIRS),
            }
        }
        Ok(reference)
    }

    /// The kind of the data set.
    pub fn name(&self) -> &'static str {
        self.config.kind()
    }

    /// The kind of the data set, and which of its samples are drawn.
    pub fn description(&self) -> String {
        let (name, n) = (self.name(), self.set().n_samples());
        match (n, &self.held_out) {
            (None, _) => format!("{name}, drawn anew"),
            (Some(n), Some(_)) => format!("{name}, the {n} held-out samples"),
            (Some(n), None) if self.is_learned => format!("{name}, the {n} training samples"),
            (Some(n), None) => format!("{name}, its {n} samples"),
        }
    }

    /// The data to learn from.
    pub fn data(&self) -> &dyn DataSet {
        self.data.as_ref()
    }

    /// The data that samples are compared with.
    fn set(&self) -> &dyn DataSet {
        self.held_out.as_deref().unwrap_or(self.data.as_ref())
    }

    /// What is probably not meant as it is in these data.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The exact flow from the base, if it is known for the model to be judged.
    pub fn exact(&self) -> Option<&MixtureFlow> {
        self.exact.as_ref()
    }

    /// Why the model is not judged by the exact flow, although the flow of these data is known.
    pub(super) fn no_exact(&self) -> Option<&'static str> {
        self.no_exact
    }

    /// The share of each class, from which labels of samples are drawn; `None` if unknown.
    pub(super) fn class_shares(&self) -> Option<Vec<f64>> {
        let n_classes = self.data.n_classes();
        (n_classes > 0 && self.n_classes == Some(n_classes)).then(|| self.data.class_shares())
    }

    /// Samples `first..first + n` of the reference, row-major.
    pub fn draw(&self, seed: u64, first: u64, n: usize) -> Vec<f32> {
        let stream = NoiseStream::new(seed, Stream::Evaluation);
        drawn(self.set(), &stream, first..first + n as u64)
    }

    /// The classes of the samples that [`draw`](Self::draw) gives for the same numbers; empty without classes.
    pub fn draw_labels(&self, seed: u64, first: u64, n: usize) -> Vec<u32> {
        let stream = NoiseStream::new(seed, Stream::Evaluation);
        (first..first + n as u64).filter_map(|index| self.set().draw(&stream, index, &mut [])).collect()
    }

    /// Points `first..first + n` for a model, with the class of each where the classes of data and model are the same
    /// ones; points of one class alone if there is one.
    pub(super) fn points(
        &self,
        seed: u64,
        first: u64,
        n: usize,
        class: Option<u32>,
    ) -> (Vec<f32>, Option<Vec<u32>>) {
        /// Between the first and the second try at a point of a class, in numbers of samples.
        const APART: u64 = 1 << 40;
        let has_labels = self.n_classes.is_some_and(|n| n > 0 && n == self.data.n_classes());
        let has = |set: &dyn DataSet, class: u32| {
            has_labels && set.class_shares().get(class as usize).is_some_and(|share| *share > 0.0)
        };
        let class = class.filter(|class| has(self.data(), *class));
        // A held-out part may lack a class.
        let set = if class.is_none_or(|class| has(self.set(), class)) { self.set() } else { self.data() };
        let dim = set.shape().iter().product::<usize>().max(1);
        let stream = NoiseStream::new(seed, Stream::Evaluation);
        let (mut x, mut labels) = (vec![0f32; n * dim], Vec::new());
        for (row, index) in x.chunks_exact_mut(dim).zip(first..) {
            let tries = (0..).map(|k: u64| index.wrapping_add(k.wrapping_mul(APART)));
            let fits = |label: Option<u32>| class.is_none() || label == class;
            let mut label = None;
            for index in tries {
                label = set.draw(&stream, index, row);
                if fits(label) {
                    break;
                }
            }
            labels.extend(label);
        }
        (x, has_labels.then_some(labels))
    }

    /// How many different samples there are to compare `n` with.
    pub(super) fn n_different(&self, n: usize) -> usize {
        n.min(usize::try_from(self.set().n_samples().unwrap_or(u64::MAX)).unwrap_or(usize::MAX))
    }

    /// `n` exact samples other than those of [`draw`](Self::draw), as far as there are enough, and their kind.
    pub(super) fn second_draw(&self, seed: u64, n: usize) -> (Vec<f32>, FloorKind) {
        let stream = NoiseStream::new(seed, Stream::Evaluation);
        let kind = match (self.data.n_samples(), &self.held_out) {
            (None, _) => {
                return (drawn(self.set(), &stream, n as u64..2 * n as u64), FloorKind::SecondDraw);
            }
            (Some(n_train), Some(_)) if n as u64 <= n_train => {
                return (drawn(self.data(), &stream, 0..n as u64), FloorKind::HeldOut);
            }
            (Some(_), Some(_)) => FloorKind::HeldOut,
            (Some(_), None) => FloorKind::Resampled,
        };
        let n_samples = self.data.n_samples().unwrap_or(1).max(1);
        let rows = NoiseStream::new(seed, Stream::Shuffle);
        let rows = (0..n as u64).map(|i| rows.at(i).below(n_samples));
        (drawn(self.data(), &stream, rows), kind)
    }

    /// Whether samples can be judged by a network that is trained on the data.
    pub(super) fn can_have_judge(&self) -> bool {
        ImageJudge::is_possible(self.data.as_ref())
    }

    /// Whether the samples that are judged are of the classes of the data, as far as that is known.
    pub(super) fn is_of_classes(&self) -> bool {
        self.n_classes.is_none_or(|n| n == self.data.n_classes())
    }

    /// The judge of images, trained when it is first asked for.
    pub(super) fn image_judge(&self) -> Result<&ImageJudge> {
        if let Some(judge) = self.judge.get() {
            return Ok(judge);
        }
        let judge = ImageJudge::of(&self.config, self.data.as_ref(), self.held_out.as_deref())?;
        Ok(self.judge.get_or_init(|| judge))
    }

    /// The config.
    pub fn config(&self) -> &DataConfig {
        &self.config
    }

    /// A floor, computed once for each of its keys.
    pub(super) fn floor(&self, key: FloorKey, compute: impl FnOnce() -> Result<Floor>) -> Result<Floor> {
        let known = self.floors.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(floor) = known {
            return Ok(floor);
        }
        let floor = compute()?;
        self.floors.lock().unwrap_or_else(PoisonError::into_inner).insert(key, floor);
        Ok(floor)
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

/// The samples of these numbers, row-major.
fn drawn(set: &dyn DataSet, stream: &NoiseStream, indices: impl Iterator<Item = u64>) -> Vec<f32> {
    let dim: usize = set.shape().iter().product();
    let mut x = Vec::new();
    let mut row = vec![0f32; dim];
    for index in indices {
        set.draw(stream, index, &mut row);
        x.extend_from_slice(&row);
    }
    x
}

/// The held-out part of the data; without its files, `None` and a warning.
fn held_out(
    config: &DataConfig,
    data: &dyn DataSet,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Box<dyn DataSet>>> {
    use std::io::ErrorKind::NotFound;
    let Some(other) = config.held_out() else { return Ok(None) };
    let set = match other.build(None) {
        Ok(set) => set,
        Err(error) => {
            let is_absent = match &error {
                flowmap_data::Error::Folder(
                    FolderFault::MissingFile { .. } | FolderFault::NotInstalled { .. },
                ) => true,
                flowmap_data::Error::Io { source, .. } => source.kind() == NotFound,
                _ => false,
            };
            if !is_absent {
                return Err(error.into());
            }
            warnings.push(Warning {
                subject: format!("data `{}`", config.kind()),
                seen: format!("the held-out part is not there ({error})"),
                consequence: "samples are compared with the training samples, so that a model which repeats them scores well".into(),
                remedy: "put its files into `data.path`".into(),
            });
            return Ok(None);
        }
    };
    let kind = config.kind();
    if data.shape() != set.shape() {
        let (expected, found) =
            (format!("samples of shape {:?}", data.shape()), format!("{:?}", set.shape()));
        return Err(Error::HeldOut { kind, expected, found });
    }
    if set.n_classes() > data.n_classes() {
        let (expected, found) =
            (format!("labels below {}", data.n_classes()), (set.n_classes() - 1).to_string());
        return Err(Error::HeldOut { kind, expected, found });
    }
    warnings.extend(set.warnings().iter().filter(|warning| !data.warnings().contains(warning)).cloned());
    Ok(Some(set))
}

fn exact_flow(
    mixture: &GaussianMixtureConfig,
    interpolant: &InterpolantKind,
    sigma0: f64,
) -> Result<MixtureFlow> {
    Ok(MixtureFlow::new(interpolant.clone(), sigma0, &components(mixture))?)
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
