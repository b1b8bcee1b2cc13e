//! Scores of samples by each metric, and of exact samples for comparison.
//!
//! Costly metrics take a part of the samples, drawn at random by the seed: the first rows of a file that is sorted by
//! class would all be of one class, and so would every n-th row if n classes take turns.

use std::borrow::Cow;

use flowmap_core::exact::ExactFlow;
use flowmap_core::{NoiseStream, Stream};
use flowmap_data::{DataConfig, Permutation};
use flowmap_metrics::{
    Bandwidths, CellMasses, ColumnDistances, Directions, Moments, PaperTarget, Samples, SquareGrid, c2st,
    column_distances, energy_distance, exact_kl, frechet, mean_squared_error, mmd2, paper_kl,
    sliced_wasserstein, wasserstein,
};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::floor::{Floor, FloorKey, FloorKind};
use super::image_judge::N_JUDGED;
use super::metric::{Measured, Metric, NEEDS_CHECKERBOARD, NEEDS_CLASSES, NEEDS_EXACT_FLOW, NEEDS_MASSES};
use super::{Drawn, Reference};
use crate::{Error, Result};

/// Samples on each side for sliced W2, whose floor falls slowly beyond.
const SLICED_SAMPLES: usize = 20_000;
/// Samples on each side for the energy distance, which costs n².
const ENERGY_SAMPLES: usize = 10_000;
/// Samples on each side for MMD, which costs 5 n².
const MMD_SAMPLES: usize = 4_000;
/// Samples on each side for exact W2, which costs n³.
const W2_SAMPLES: usize = 1_024;
/// Samples on each side for distances of columns.
const COLUMN_SAMPLES: usize = 20_000;
/// Samples on each side for C2ST, as in the protocol.
const C2ST_SAMPLES: usize = 10_000;
/// Points whose exact end is integrated.
const EXACT_SAMPLES: usize = 4_000;
/// Samples of the `paper` protocol.
const PAPER_SAMPLES: usize = 64_000;

/// Samples to be measured, and how to take some of them.
struct Subset<'a> {
    drawn: Drawn<'a>,
    dim: usize,
    seed: u64,
}

impl<'a> Subset<'a> {
    /// `limit` rows of `x` at random, or all of them in order if there are no more.
    fn rows<T: Copy>(&self, x: &'a [T], dim: usize, limit: usize) -> Cow<'a, [T]> {
        let n = x.len() / dim.max(1);
        if n <= limit {
            return Cow::Borrowed(x);
        }
        let order = Permutation::new(n as u64, &mut NoiseStream::new(self.seed, Stream::Shuffle).at(0));
        let row = |i: usize| order.apply(i as u64) as usize * dim;
        Cow::Owned((0..limit).flat_map(|i| &x[row(i)..][..dim]).copied().collect())
    }

    /// `limit` of the samples, or all of them.
    fn x(&self, limit: usize) -> Cow<'a, [f32]> {
        self.rows(self.drawn.x, self.dim, limit)
    }
}

impl Metric {
    /// Measures samples.
    pub(super) fn measure(self, drawn: Drawn<'_>, reference: &Reference, seed: u64) -> Result<Measured> {
        let dim: usize = reference.data().shape().iter().product();
        let all = Samples::new(drawn.x, dim)?;
        let subset = Subset { drawn, dim, seed };
        let unavailable = |reason| Error::MetricUnavailable { metric: self.name(), reason };
        match self {
            Self::KlExact => {
                let target = cell_masses(reference).ok_or_else(|| unavailable(NEEDS_MASSES))?;
                let kl = exact_kl(all, &target)?;
                measured(kl.kl, Some(Floor::computed(kl.floor)), &kl)
            }
            Self::KlPaper => {
                if reference.config() != &DataConfig::default() {
                    return Err(unavailable(NEEDS_CHECKERBOARD));
                }
                let x = subset.x(PAPER_SAMPLES);
                let kl = paper_kl(Samples::new(&x, dim)?, &PaperTarget::checkerboard())?;
                measured(kl.kl, kl.floor.map(Floor::computed), &kl)
            }
            Self::SlicedW2 => {
                let x = subset.x(SLICED_SAMPLES);
                let samples = Samples::new(&x, dim)?;
                let n = samples.n();
                let data = reference.draw(seed, 0, reference.n_different(n));
                let data = Samples::new(&data, dim)?;
                let directions = Directions::uniform(dim, Directions::DEFAULT_COUNT, seed)?;
                let distance = sliced_wasserstein(samples, data, &directions)?;
                let floor = reference.floor(FloorKey { metric: self, n, seed }, || {
                    let (other, kind) = reference.second_draw(seed, n);
                    let other = Samples::new(&other, dim)?;
                    Ok(Floor { value: sliced_wasserstein(other, data, &directions)?.distance, kind })
                })?;
                measured(distance.distance, Some(floor), &distance)
            }
            Self::W2 => {
                let n = reference.n_different(all.n().min(W2_SAMPLES));
                let (x, data) = (subset.x(n), reference.draw(seed, 0, n));
                let data = Samples::new(&data, dim)?;
                let distance = wasserstein(Samples::new(&x, dim)?, data)?;
                let floor = reference.floor(FloorKey { metric: self, n, seed }, || {
                    let (other, kind) = reference.second_draw(seed, n);
                    let value = wasserstein(Samples::new(&other, dim)?, data)?.distance;
                    Ok(Floor { value, kind })
                })?;
                measured(distance.distance, Some(floor), &distance)
            }
            Self::Energy => {
                let x = subset.x(ENERGY_SAMPLES);
                let samples = Samples::new(&x, dim)?;
                let data = reference.draw(seed, 0, reference.n_different(samples.n()));
                let distance = energy_distance(samples, Samples::new(&data, dim)?)?;
                measured(distance.unbiased, Some(Floor::computed(0.0)), &distance)
            }
            Self::Mmd2 => {
                let x = subset.x(MMD_SAMPLES);
                let samples = Samples::new(&x, dim)?;
                let data = reference.draw(seed, 0, reference.n_different(samples.n()));
                let data = Samples::new(&data, dim)?;
                // Of the data alone, so that every row is judged by the same kernel.
                let distance = mmd2(samples, data, &Bandwidths::median_heuristic(data)?)?;
                measured(distance.unbiased, Some(Floor::computed(0.0)), &distance)
            }
            Self::ColumnW1 | Self::ColumnKs | Self::Correlation => {
                self.check(reference)?;
                let value = |distances: &ColumnDistances| match self {
                    Self::ColumnW1 => distances.largest_relative_w1,
                    Self::ColumnKs => distances.largest_ks,
                    _ => distances.correlation_error.unwrap_or(0.0),
                };
                let x = subset.x(COLUMN_SAMPLES);
                let samples = Samples::new(&x, dim)?;
                let n = samples.n();
                let data = reference.draw(seed, 0, reference.n_different(n));
                let data = Samples::new(&data, dim)?;
                let distances = column_distances(samples, data)?;
                let floor = reference.floor(FloorKey { metric: self, n, seed }, || {
                    let (other, kind) = reference.second_draw(seed, n);
                    Ok(Floor { value: value(&column_distances(Samples::new(&other, dim)?, data)?), kind })
                })?;
                measured(value(&distances), Some(floor), &distances)
            }
            Self::C2st => {
                self.check(reference)?;
                let n = reference.n_different(all.n().min(C2ST_SAMPLES));
                let (x, data) = (subset.x(n), reference.draw(seed, 0, n));
                let score = c2st(Samples::new(&data, dim)?, Samples::new(&x, dim)?, seed)?;
                measured(score.accuracy, Some(Floor::computed(0.5)), &score)
            }
            Self::MapError => {
                let noise =
                    drawn.noise.ok_or_else(|| unavailable("needs the noise the samples started from"))?;
                let (x, noise) = (subset.x(EXACT_SAMPLES), subset.rows(noise, dim, EXACT_SAMPLES));
                let exact = reference.exact_ends(&noise).ok_or_else(|| unavailable(NEEDS_EXACT_FLOW))??;
                let error = mean_squared_error(Samples::new(&x, dim)?, Samples::new(&exact, dim)?)?;
                measured(error.mean, Some(Floor::computed(0.0)), &error)
            }
            Self::ClassAccuracy => {
                let labels = drawn.labels.ok_or_else(|| unavailable(NEEDS_CLASSES))?;
                self.check(reference)?;
                let n_classes = reference.data().n_classes();
                if let Some(sample) = labels.iter().position(|label| *label as usize >= n_classes) {
                    return Err(Error::SampleLabel { sample, found: labels[sample], n_classes });
                }
                let (judge, labels) = (reference.image_judge()?, subset.rows(labels, 1, N_JUDGED));
                let accuracy = judge.classifier.judge(&subset.x(N_JUDGED))?.accuracy(&labels, n_classes);
                let floor = Floor { value: judge.test_accuracy, kind: FloorKind::HeldOut };
                let detail =
                    JudgedBy { metric: &accuracy, test_accuracy: judge.test_accuracy, n_test: judge.n_test };
                measured(accuracy.accuracy, Some(floor), &detail)
            }
            Self::Frechet => {
                self.check(reference)?;
                let (judge, x) = (reference.image_judge()?, subset.x(N_JUDGED));
                let features = judge.classifier.judge(&x)?.features;
                let distance = frechet(&Moments::of(Samples::new(&features, judge.dim)?)?, &judge.real)?;
                let floor = reference.floor(FloorKey { metric: self, n: x.len() / dim, seed }, || {
                    judge.floor(x.len() / dim, seed)
                })?;
                let (test_accuracy, n_test) = (judge.test_accuracy, judge.n_test);
                measured(
                    distance.distance,
                    Some(floor),
                    &JudgedBy { metric: &distance, test_accuracy, n_test },
                )
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

fn measured(value: f64, floor: Option<Floor>, detail: &impl Serialize) -> Result<Measured> {
    let detail = serde_json::to_value(detail).unwrap_or(Value::Null);
    Ok(Measured {
        value,
        floor: floor.map(|floor| floor.value),
        floor_kind: floor.map(|floor| floor.kind),
        detail,
    })
}

/// The exact masses of 64x64 cells over the extent of the data.
pub(super) fn cell_masses(reference: &Reference) -> Option<CellMasses> {
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
