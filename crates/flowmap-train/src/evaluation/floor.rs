//! Floors: what exact samples score, and where the number comes from.

use std::fmt;

use serde::Serialize;

use super::Metric;

/// What a floor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FloorKind {
    /// The mean for exact samples, from a formula.
    Computed,
    /// The score of a second draw of the data.
    SecondDraw,
    /// The score of real samples on one side of the line between training and held-out samples against the other.
    HeldOut,
    /// The score of as many training samples, drawn with replacement: new samples of the same law score more.
    Resampled,
}

/// What exact samples score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Floor {
    pub value: f64,
    pub kind: FloorKind,
}

/// What a floor depends on, in addition to the data: the metric with its constants, the number of samples, and the seed of draws
/// and directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FloorKey {
    pub metric: Metric,
    pub n: usize,
    pub seed: u64,
}

impl Floor {
    /// A floor from a formula.
    pub fn computed(value: f64) -> Self {
        Self { value, kind: FloorKind::Computed }
    }
}

impl FloorKind {
    /// What it is, in a line.
    pub fn about(self) -> &'static str {
        match self {
            Self::Computed => "the mean for exact samples, from a formula",
            Self::SecondDraw => "the score of a second draw of the data",
            Self::HeldOut => {
                "the score of real samples, with training samples on one side and held-out ones on the other"
            }
            Self::Resampled => {
                "the score of training samples drawn with replacement; new samples of the same law score more"
            }
        }
    }
}

impl fmt::Display for FloorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Computed => "computed",
            Self::SecondDraw => "second draw",
            Self::HeldOut => "held out",
            Self::Resampled => "resampled",
        })
    }
}
