//! The metrics by name, with what they need and the sizes they are computed at.

use std::fmt;

use flowmap_core::exact::ExactFlow;
use flowmap_data::DataConfig;
use flowmap_metrics::{
    Bandwidths, CellMasses, Directions, Moments, PaperTarget, Samples, SquareGrid, energy_distance, exact_kl,
    frechet, mean_squared_error, mmd2, paper_kl, sliced_wasserstein, wasserstein,
};
use rayon::prelude::*;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::image_judge::N_JUDGED;
use super::{Drawn, Reference};
use crate::presets::nearest;
use crate::{Error, Result};

/// Samples on each side for sliced W2, whose floor falls slowly beyond.
const SLICED_SAMPLES: usize = 20_000;
/// Samples on each side for the energy distance, which costs n².
const ENERGY_SAMPLES: usize = 10_000;
/// Samples on each side for MMD, which costs 5 n².
const MMD_SAMPLES: usize = 4_000;
/// Samples on each side for exact W2, which costs n³.
const W2_SAMPLES: usize = 1_024;
/// Points whose exact end is integrated.
pub(super) const EXACT_SAMPLES: usize = 4_000;
/// Samples of the `paper` protocol.
const PAPER_SAMPLES: usize = 64_000;

/// Why a metric cannot be computed.
const NEEDS_MASSES: &str = "needs 2-D data whose cell masses are known exactly";
const NEEDS_CHECKERBOARD: &str = "is defined for the checkerboard only";
const NEEDS_IMAGES: &str = "needs images with labels, for a judge to learn from";
const NEEDS_CLASSES: &str = "needs samples of known classes, of a conditional model or a file with labels";
const NEEDS_EXACT_FLOW: &str = "needs a flow map that is known: that of a gaussian_mixture, without labels";

/// A distance between samples and data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Metric {
    /// KL(data ‖ model) of histograms, protocol `exact`.
    KlExact,
    /// KL(data ‖ model) of histograms, protocol `paper`.
    KlPaper,
    /// Sliced W2.
    SlicedW2,
    /// W2 of small sets.
    W2,
    /// Energy distance.
    Energy,
    /// Squared maximum mean discrepancy.
    Mmd2,
    /// E|X̂_{0,1}(x) − X_{0,1}(x)|² against the exact flow map.
    MapError,
    /// The share of images whose class a judge recognizes.
    ClassAccuracy,
    /// Fréchet distance in the features of the judge.
    Frechet,
}

/// A measured metric.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The number.
    pub value: f64,
    /// What exact samples of the same size score, where it is known.
    pub floor: Option<f64>,
    /// Everything the metric says, its protocol included.
    pub detail: Value,
}

impl Metric {
    /// All metrics, in the order of tables.
    pub const ALL: [Self; 9] = [
        Self::KlExact,
        Self::KlPaper,
        Self::SlicedW2,
        Self::W2,
        Self::Energy,
        Self::Mmd2,
        Self::MapError,
        Self::ClassAccuracy,
        Self::Frechet,
    ];

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::KlExact => "kl_exact",
            Self::KlPaper => "kl_paper",
            Self::SlicedW2 => "sliced_w2",
            Self::W2 => "w2",
            Self::Energy => "energy",
            Self::Mmd2 => "mmd2",
            Self::MapError => "map_error",
            Self::ClassAccuracy => "class_accuracy",
            Self::Frechet => "frechet",
        }
    }

    /// The head of its column.
    pub fn title(self) -> &'static str {
        match self {
            Self::KlExact => "KL exact",
            Self::KlPaper => "KL paper",
            Self::SlicedW2 => "sliced W2",
            Self::W2 => "W2",
            Self::Energy => "energy",
            Self::Mmd2 => "MMD²",
            Self::MapError => "E|X̂−X|²",
            Self::ClassAccuracy => "recognized",
            Self::Frechet => "Fréchet",
        }
    }

    /// What it says, in one line.
    pub fn about(self) -> &'static str {
        match self {
            Self::KlExact => "KL(data || model), 64x64 bins with exact cell masses, pseudo-count 1",
            Self::KlPaper => "KL(data || model) as arXiv:2505.18825 computes it, 64 000 samples, 50x50 bins",
            Self::SlicedW2 => "sliced W2, 128 directions, at most 20 000 samples a side",
            Self::W2 => "exact W2, at most 1 024 samples a side",
            Self::Energy => "energy distance 2E|x-y| - E|x-x'| - E|y-y'|, at most 10 000 samples a side",
            Self::Mmd2 => "unbiased MMD^2, five Gaussian kernels, at most 4 000 samples a side",
            Self::MapError => "mean squared distance to the exact flow map at the same noise, 4 000 samples",
            Self::ClassAccuracy => {
                "share of images whose class is seen by a network trained on the data, 10 000 samples"
            }
            Self::Frechet => "Frechet distance in the features of that network, no FID, 10 000 samples",
        }
    }

    /// Those that suit the data and cost little.
    pub fn defaults(reference: &Reference) -> Vec<Self> {
        let data = reference.data();
        let mut metrics = Vec::new();
        if cell_masses(reference).is_some() {
            metrics.push(Self::KlExact);
        }
        if reference.config() == &DataConfig::default() {
            metrics.push(Self::KlPaper);
        }
        metrics.push(Self::SlicedW2);
        if data.shape().iter().product::<usize>() > 2 {
            metrics.push(Self::Energy);
        }
        if reference.exact().is_some() {
            metrics.push(Self::MapError);
        }
        if reference.can_have_judge() {
            if reference.is_of_classes() {
                metrics.push(Self::ClassAccuracy);
            }
            metrics.push(Self::Frechet);
        }
        metrics
    }

    /// Whether the metric can be computed against these data.
    ///
    /// # Errors
    /// [`Error::MetricUnavailable`] with what it needs.
    pub fn check(self, reference: &Reference) -> Result<()> {
        let reason = match self {
            Self::KlExact if cell_masses(reference).is_none() => NEEDS_MASSES,
            Self::KlPaper if reference.config() != &DataConfig::default() => NEEDS_CHECKERBOARD,
            Self::MapError if reference.exact().is_none() => NEEDS_EXACT_FLOW,
            Self::ClassAccuracy | Self::Frechet if !reference.can_have_judge() => NEEDS_IMAGES,
            Self::ClassAccuracy if !reference.is_of_classes() => NEEDS_CLASSES,
            _ => return Ok(()),
        };
        Err(Error::MetricUnavailable { metric: self.name(), reason })
    }

    /// Measures samples.
    pub(super) fn measure(self, drawn: Drawn<'_>, reference: &Reference, seed: u64) -> Result<Measured> {
        let Drawn { x, noise, labels } = drawn;
        let dim: usize = reference.data().shape().iter().product();
        let all = Samples::new(x, dim)?;
        let of = |n: usize| -> Result<(Samples<'_>, Vec<f32>)> {
            let n = n.min(all.n());
            Ok((Samples::new(&x[..n * dim], dim)?, reference.draw(seed, 0, n)))
        };
        let unavailable = |reason| Error::MetricUnavailable { metric: self.name(), reason };
        match self {
            Self::KlExact => {
                let target = cell_masses(reference).ok_or_else(|| unavailable(NEEDS_MASSES))?;
                let kl = exact_kl(all, &target)?;
                measured(kl.kl, Some(kl.floor), &kl)
            }
            Self::KlPaper => {
                if reference.config() != &DataConfig::default() {
                    return Err(unavailable(NEEDS_CHECKERBOARD));
                }
                let (samples, _) = of(PAPER_SAMPLES)?;
                let kl = paper_kl(samples, &PaperTarget::checkerboard())?;
                measured(kl.kl, kl.floor, &kl)
            }
            Self::SlicedW2 => {
                let (samples, data) = of(SLICED_SAMPLES)?;
                let directions = Directions::uniform(dim, Directions::DEFAULT_COUNT, seed)?;
                let data = Samples::new(&data, dim)?;
                let distance = sliced_wasserstein(samples, data, &directions)?;
                let floor = reference.cached_floor(|| {
                    // Two disjoint draws; data sets of few samples have no second draw.
                    let n = samples.n();
                    reference.data().n_samples().is_none().then_some(())?;
                    let other = reference.draw(seed, n as u64, n);
                    let floor =
                        sliced_wasserstein(Samples::new(&other, dim).ok()?, data, &directions).ok()?;
                    Some(floor.distance)
                });
                measured(distance.distance, floor, &distance)
            }
            Self::W2 => {
                let (samples, data) = of(W2_SAMPLES)?;
                let distance = wasserstein(samples, Samples::new(&data, dim)?)?;
                measured(distance.distance, None, &distance)
            }
            Self::Energy => {
                let (samples, data) = of(ENERGY_SAMPLES)?;
                let distance = energy_distance(samples, Samples::new(&data, dim)?)?;
                measured(distance.value, None, &distance)
            }
            Self::Mmd2 => {
                let (samples, data) = of(MMD_SAMPLES)?;
                let data = Samples::new(&data, dim)?;
                let distance = mmd2(samples, data, &Bandwidths::median_heuristic(data)?)?;
                measured(distance.unbiased, None, &distance)
            }
            Self::MapError => {
                let noise = noise.ok_or_else(|| unavailable("needs the noise the samples started from"))?;
                let n = EXACT_SAMPLES.min(all.n()) * dim;
                let exact =
                    reference.exact_ends(&noise[..n]).ok_or_else(|| unavailable(NEEDS_EXACT_FLOW))??;
                let error = mean_squared_error(Samples::new(&x[..n], dim)?, Samples::new(&exact, dim)?)?;
                measured(error.mean, Some(0.0), &error)
            }
            Self::ClassAccuracy => {
                let labels = labels.ok_or_else(|| unavailable(NEEDS_CLASSES))?;
                self.check(reference)?;
                let (judge, n) = (reference.image_judge()?, N_JUDGED.min(all.n()));
                let verdict = judge.classifier.judge(&x[..n * dim])?;
                let accuracy = verdict.accuracy(&labels[..n], reference.data().n_classes());
                let detail =
                    JudgedBy { metric: &accuracy, test_accuracy: judge.test_accuracy, n_test: judge.n_test };
                measured(accuracy.accuracy, Some(judge.test_accuracy), &detail)
            }
            Self::Frechet => {
                self.check(reference)?;
                let (judge, n) = (reference.image_judge()?, N_JUDGED.min(all.n()));
                let of = |features: &[f32]| -> Result<f64> {
                    Ok(frechet(&Moments::of(Samples::new(features, judge.dim)?)?, &judge.real)?.distance)
                };
                let features = judge.classifier.judge(&x[..n * dim])?.features;
                let distance = frechet(&Moments::of(Samples::new(&features, judge.dim)?)?, &judge.real)?;
                // Held-out images, as many as there are samples.
                let floor = (judge.n_test >= n).then(|| of(&judge.held_out[..n * judge.dim])).transpose()?;
                let (test_accuracy, n_test) = (judge.test_accuracy, judge.n_test);
                measured(distance.distance, floor, &JudgedBy { metric: &distance, test_accuracy, n_test })
            }
        }
    }
}

/// A number of the judge of images, with what the judge is worth.
#[derive(Serialize)]
struct JudgedBy<'a, T> {
    #[serde(flatten)]
    metric: &'a T,
    /// The share of held-out real images that the judge recognizes.
    test_accuracy: f64,
    /// Number of held-out images.
    n_test: usize,
}

/// X_{0,1} of every row of `noise`, by the exact flow.
pub(super) fn integrate_to_data(flow: &(impl ExactFlow + Sync), noise: &[f32]) -> Result<Vec<f32>> {
    let rows: Result<Vec<Vec<f64>>, flowmap_core::Error> = noise
        .par_chunks_exact(flow.dim())
        .map(|row| flow.flow_map(0.0, 1.0, &row.iter().copied().map(f64::from).collect::<Vec<_>>()))
        .collect();
    Ok(rows?.into_iter().flatten().map(|x| x as f32).collect())
}

fn measured(value: f64, floor: Option<f64>, detail: &impl Serialize) -> Result<Measured> {
    Ok(Measured { value, floor, detail: serde_json::to_value(detail).unwrap_or(Value::Null) })
}

/// The exact masses of 64x64 cells over the extent of the data.
fn cell_masses(reference: &Reference) -> Option<CellMasses> {
    let data = reference.data();
    let grid = match reference.config() {
        DataConfig::Checkerboard(_) => SquareGrid::EXACT,
        _ => {
            let extent = data.extent()?;
            SquareGrid::new(SquareGrid::EXACT.bins(), -extent, extent).ok()?
        }
    };
    CellMasses::new(grid, data.cell_masses(grid.lo(), grid.hi(), grid.bins())?).ok()
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl std::str::FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name).ok_or_else(|| Error::UnknownMetric {
            name: name.to_owned(),
            hint: nearest(name, Self::ALL.iter().map(|m| m.name()))
                .map_or(String::new(), |n| format!(" (did you mean `{n}`?)")),
            known: Self::ALL.map(|m| format!("`{m}`")).join(", "),
        })
    }
}

/// The metrics of these names.
pub(crate) fn parse_metrics(names: &[String]) -> Result<Vec<Metric>> {
    names.iter().map(|name| name.parse()).collect()
}
