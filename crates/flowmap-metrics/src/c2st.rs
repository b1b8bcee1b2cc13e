//! Classifier two-sample test (C2ST).
//!
//! C2ST(P, Q) = the share of held-out samples of P and Q whose origin a classifier tells, the mean over five folds
//!
//! Lopez-Paz, Oquab 2016, arXiv:1610.06545. Convention: the protocol of the benchmark of simulation-based inference,
//! Lueckmann and others 2021, arXiv:2101.04653, and its package `sbibm`, in every constant:
//! - both sets are shifted and scaled by mean and standard deviation (n − 1) of the reference, which makes the test
//!   asymmetric;
//! - the classifier has two hidden layers of 10 dim rectified units and logistic loss, trained by Adam at rate 1e-3 on
//!   batches of 200 with a penalty of 1e-4, until ten epochs in a row gain less than 1e-4 of the training loss;
//! - five shuffled folds, each held out once.
//!
//! ½ is the score of two equal laws, 1 of laws that are always told apart; at ½ the score scatters by about 0.005 for
//! 10 000 samples of each. Fewer samples weaken the classifier and lower the score: numbers compare at one n alone.
//! The random numbers of the classifier are the noise streams of flowmap and not NumPy's, so that single scores differ
//! from `sbibm` as those of two of its seeds do.
//! Differs from the package: a constant column of the reference is shifted and not scaled, where it divides by zero.
//! Cost: about a hundred epochs of 1.6 (n + m) passes for each fold; folds run in parallel, with the same bits for any
//! number of threads.

mod perceptron;
mod product;

use std::fmt;

use flowmap_core::{NoiseStream, Stream};
use rayon::prelude::*;
use serde::Serialize;

use crate::{Result, Samples};
use perceptron::Perceptron;

/// Number of folds.
const N_FOLDS: usize = 5;
/// Hidden units for each dimension of a sample.
const UNITS: usize = 10;
/// The index of the noise stream that shuffles the rows before they are cut into folds; epochs have the numbers below.
const FOLDS: u64 = u64::MAX;

/// Score of a classifier two-sample test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct C2st {
    /// Name of the protocol, `c2st-sbibm`.
    pub protocol: &'static str,
    /// Mean accuracy on the held-out folds: ½ for equal laws, 1 for laws that are always told apart.
    pub accuracy: f64,
    /// Accuracy on each held-out fold.
    pub folds: Vec<f64>,
    /// Epochs of training in each fold.
    pub epochs: Vec<usize>,
    /// Number of reference samples.
    pub n_reference: usize,
    /// Number of samples.
    pub n_samples: usize,
}

impl C2st {
    /// The name printed with every such number.
    pub const PROTOCOL: &'static str = "c2st-sbibm";
}

impl fmt::Display for C2st {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "C2ST {:.4} [{}: perceptron, 5 folds, n = {}, m = {}]",
            self.accuracy, self.protocol, self.n_reference, self.n_samples
        )
    }
}

/// Classifier two-sample test of `samples` `(m, dim)` against `reference` `(n, dim)`; `seed` decides folds, batches and
/// the classifier's first weights.
///
/// ```
/// use flowmap_metrics::{Samples, c2st};
///
/// let low: Vec<f32> = (0..100).map(|i| i as f32).collect();
/// let high: Vec<f32> = low.iter().map(|x| x + 200.0).collect();
/// let score = c2st(Samples::new(&low, 1)?, Samples::new(&high, 1)?, 1)?;
/// assert!(score.accuracy > 0.95);
/// # Ok::<(), flowmap_metrics::Error>(())
/// ```
///
/// # Errors
/// If the dimensions differ, or a set has fewer than five samples.
pub fn c2st(reference: Samples<'_>, samples: Samples<'_>, seed: u64) -> Result<C2st> {
    reference.same_dim(&samples)?;
    reference.at_least(N_FOLDS)?;
    samples.at_least(N_FOLDS)?;
    let dim = reference.dim();
    let scale = Scale::of(reference);
    let x: Vec<f32> = reference.rows().chain(samples.rows()).flat_map(|row| scale.apply(row)).collect();
    let n = reference.n() + samples.n();
    let order = shuffled(n, &NoiseStream::new(seed, Stream::Shuffle), FOLDS);
    let is_sample = |row: usize| row >= reference.n();

    let fold = |k: usize| {
        // As evenly as whole rows allow, the first folds one longer.
        let start = |k: usize| k * (n / N_FOLDS) + k.min(n % N_FOLDS);
        let is_held_out = |place: usize| (start(k)..start(k + 1)).contains(&place);
        let (held_out, kept): (Vec<usize>, Vec<usize>) = (0..n).partition(|&place| is_held_out(place));
        let rows = |places: Vec<usize>| -> (Vec<f32>, Vec<bool>) {
            let values = places.iter().flat_map(|&p| &x[order[p] * dim..][..dim]).copied().collect();
            (values, places.iter().map(|&p| is_sample(order[p])).collect())
        };
        let (train, held_out) = (rows(kept), rows(held_out));
        let mut net = Perceptron::new(dim, UNITS * dim, seed);
        let epochs = net.train(&train.0, &train.1, &NoiseStream::new(seed, Stream::Shuffle));
        let told = net.predict(&held_out.0);
        let n_right = told.iter().zip(&held_out.1).filter(|(told, is)| told == is).count();
        (n_right as f64 / told.len() as f64, epochs)
    };
    let (folds, epochs): (Vec<f64>, Vec<usize>) = (0..N_FOLDS).into_par_iter().map(fold).unzip();
    Ok(C2st {
        protocol: C2st::PROTOCOL,
        accuracy: folds.iter().sum::<f64>() / N_FOLDS as f64,
        folds,
        epochs,
        n_reference: reference.n(),
        n_samples: samples.n(),
    })
}

/// 0..n in the random order of number `index` of `stream`.
fn shuffled(n: usize, stream: &NoiseStream, index: u64) -> Vec<usize> {
    let mut noise = stream.at(index);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, noise.below(i as u64 + 1) as usize);
    }
    order
}

/// Mean and standard deviation of each column.
struct Scale(Vec<(f64, f64)>);

impl Scale {
    fn of(samples: Samples<'_>) -> Self {
        let n = samples.n() as f64;
        let column = |j: usize| {
            let mean = samples.rows().map(|row| f64::from(row[j])).sum::<f64>() / n;
            let square = |row: &[f32]| (f64::from(row[j]) - mean).powi(2);
            let deviation = (samples.rows().map(square).sum::<f64>() / (n - 1.0)).sqrt();
            (mean, if deviation > 0.0 { deviation } else { 1.0 })
        };
        Self((0..samples.dim()).map(column).collect())
    }

    fn apply(&self, row: &[f32]) -> impl Iterator<Item = f32> {
        row.iter().zip(&self.0).map(|(x, (mean, deviation))| ((f64::from(*x) - mean) / deviation) as f32)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_the_shuffled_order_once() {
        let mut order = shuffled(100, &NoiseStream::new(3, Stream::Shuffle), 0);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn reference_is_scaled_to_mean_zero_and_deviation_one() {
        let samples = Samples::new(&[1.0, 7.0, 3.0, 7.0], 2).unwrap();
        let scale = Scale::of(samples);
        let root = 0.5f32.sqrt();
        assert_eq!(scale.apply(&[1.0, 7.0]).collect::<Vec<_>>(), [-root, 0.0]);
        assert_eq!(scale.apply(&[3.0, 8.0]).collect::<Vec<_>>(), [root, 1.0]);
    }
}
