//! The metrics by name, with what they need and the sizes they are computed at.

use std::fmt;

use flowmap_data::DataConfig;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Reference;
use super::floor::FloorKind;
use super::measure::cell_masses;
use crate::{Error, Generation, Result, Sampling};

/// Why a metric cannot be computed.
pub(super) const NEEDS_MASSES: &str = "needs 2-D data whose cell masses are known exactly";
pub(super) const NEEDS_CHECKERBOARD: &str = "is defined for the checkerboard only";
const NEEDS_IMAGES: &str = "needs images with labels, for a judge to learn from";
pub(super) const NEEDS_CLASSES: &str =
    "needs samples of the classes of the data, of a conditional model or a file with labels";
pub(super) const NEEDS_EXACT_FLOW: &str =
    "needs data whose flow map is known, a `gaussian_mixture` without labels";
/// The most numbers of a sample for metrics of columns.
const MOST_COLUMNS: usize = 1000;
const NEEDS_COLUMNS: &str = "needs samples of at most 1000 numbers, the columns of a table";
const NEEDS_PAIRS: &str = "needs samples of 2 to 1000 numbers, the columns of a table";
/// The most numbers of a sample for C2ST, whose classifier has ten times as many units in each layer.
const MOST_CLASSIFIED: usize = 100;
const NEEDS_FEW: &str = "needs samples of at most 100 numbers, since its classifier grows with their square";
const NEEDS_A_MAP: &str = "compares ends of the same noise, and `consistency` adds fresh noise on the way";

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
    /// The largest W₁ of a column over its standard deviation.
    ColumnW1,
    /// The largest statistic of Kolmogorov and Smirnov of a column.
    ColumnKs,
    /// The largest difference of a correlation between two columns.
    Correlation,
    /// Classifier two-sample test.
    C2st,
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
    /// What exact samples of the same number score, if it is known.
    pub floor: Option<f64>,
    /// What the floor is.
    pub floor_kind: Option<FloorKind>,
    /// Everything the metric says, its protocol included.
    pub detail: Value,
}

impl Metric {
    /// All metrics, in the order of tables.
    pub const ALL: [Self; 13] = [
        Self::KlExact,
        Self::KlPaper,
        Self::SlicedW2,
        Self::W2,
        Self::Energy,
        Self::Mmd2,
        Self::ColumnW1,
        Self::ColumnKs,
        Self::Correlation,
        Self::C2st,
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
            Self::ColumnW1 => "column_w1",
            Self::ColumnKs => "column_ks",
            Self::Correlation => "correlation",
            Self::C2st => "c2st",
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
            Self::ColumnW1 => "W1/σ",
            Self::ColumnKs => "KS",
            Self::Correlation => "correlation",
            Self::C2st => "C2ST",
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
            Self::Energy => {
                "unbiased energy distance 2E|x-y| - E|x-x'| - E|y-y'|, 0 on average for exact samples, at most 10 000 samples a side"
            }
            Self::Mmd2 => {
                "unbiased MMD^2, five Gaussian kernels by the median distance of the data, 0 on average for exact samples, at most 4 000 samples a side"
            }
            Self::ColumnW1 => {
                "largest W1 of a column over its standard deviation in the data, at most 20 000 samples a side"
            }
            Self::ColumnKs => {
                "largest Kolmogorov-Smirnov statistic of a column, at most 20 000 samples a side"
            }
            Self::Correlation => {
                "largest difference of the correlation of two columns, at most 20 000 samples a side"
            }
            Self::C2st => {
                "classifier two-sample test by the protocol of sbibm, 0.5 for exact samples, at most 10 000 samples a side"
            }
            Self::MapError => "mean squared distance to the exact flow map at the same noise, 4 000 samples",
            Self::ClassAccuracy => {
                "share of images whose class is seen by a network trained on the data, 10 000 samples"
            }
            Self::Frechet => {
                "Frechet distance to the training images in the features of that network, no FID, 10 000 samples"
            }
        }
    }

    /// The metrics that suit the data and cost little.
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
        if matches!(reference.config(), DataConfig::Points(_)) {
            metrics.extend(
                [Self::ColumnW1, Self::Correlation].into_iter().filter(|m| m.check(reference).is_ok()),
            );
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
        let dim: usize = reference.data().shape().iter().product();
        let reason = match self {
            Self::ColumnW1 | Self::ColumnKs if dim > MOST_COLUMNS => NEEDS_COLUMNS,
            Self::Correlation if !(2..=MOST_COLUMNS).contains(&dim) => NEEDS_PAIRS,
            Self::C2st if dim > MOST_CLASSIFIED => NEEDS_FEW,
            Self::KlExact if cell_masses(reference).is_none() => NEEDS_MASSES,
            Self::KlPaper if reference.config() != &DataConfig::default() => NEEDS_CHECKERBOARD,
            Self::MapError if reference.exact().is_none() => reference.no_exact().unwrap_or(NEEDS_EXACT_FLOW),
            Self::ClassAccuracy | Self::Frechet if !reference.can_have_judge() => NEEDS_IMAGES,
            Self::ClassAccuracy if !reference.is_of_classes() => NEEDS_CLASSES,
            _ => return Ok(()),
        };
        Err(Error::MetricUnavailable { metric: self.name(), reason })
    }

    /// Whether the metric can be computed of samples that are made so, in these numbers of steps.
    ///
    /// # Errors
    /// [`Error::MetricUnavailable`] with what it needs.
    pub fn check_sampling(self, how: &Generation, steps: &[u32]) -> Result<()> {
        let adds_noise = how.sampler == Sampling::Consistency && steps.iter().any(|n| *n > 1);
        match self {
            // With fresh noise between jumps, the end is not a function of the start.
            Self::MapError if adds_noise => {
                Err(Error::MetricUnavailable { metric: self.name(), reason: NEEDS_A_MAP })
            }
            _ => Ok(()),
        }
    }
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
        let known = Self::ALL.iter().map(|m| m.name());
        Self::ALL.into_iter().find(|m| m.name() == name).ok_or_else(|| Error::unknown("metric", name, known))
    }
}

/// The metrics of these names.
pub(crate) fn parse_metrics(names: &[String]) -> Result<Vec<Metric>> {
    names.iter().map(|name| name.parse()).collect()
}
