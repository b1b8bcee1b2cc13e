//! Pairs and times around the closed-form flow of a Gaussian, and what its conditional variance is.
#![allow(clippy::unwrap_used, clippy::panic)]

use candle_core::{Device, Tensor};
use flowmap_core::{Interpolant, NoiseStream, Stream};
use proptest::prelude::*;

use crate::support::gaussian_net::Truth;
pub use crate::support::measure::*;
use crate::support::path::Path;

/// Pairs (x_0, x_1) from N(0, σ0² I) and N(m, diag(sd²)), `(n, D)` each.
pub fn pairs(truth: &Truth, n: usize) -> (Tensor, Tensor) {
    let dim = truth.mean.len();
    let draw = |stream| {
        let mut z = vec![0.0; n * dim];
        let stream = NoiseStream::new(SEED, stream);
        z.chunks_exact_mut(dim).enumerate().for_each(|(i, row)| stream.at(i as u64).fill_normal(row));
        z
    };
    let x0 = draw(Stream::Base).into_iter().map(|z| truth.sigma0 * z).collect();
    let x1 = draw(Stream::Data).chunks_exact(dim).flat_map(|z| target(truth, z)).collect();
    let tensor = |values: Vec<f64>| Tensor::from_vec(values, (n, dim), &Device::Cpu).unwrap();
    (tensor(x0), tensor(x1))
}

/// m + sd z.
pub fn target(truth: &Truth, z: &[f64]) -> Vec<f64> {
    z.iter().zip(truth.mean.iter().zip(&truth.sd)).map(|(z, (m, sd))| m + sd * z).collect()
}

/// Any truth in two dimensions.
pub fn truths() -> impl Strategy<Value = Truth> {
    let path = prop::sample::select(Path::ALL.to_vec());
    let plane = |range: std::ops::Range<f64>| prop::collection::vec(range, 2);
    (path, 0.4..2.0, plane(-2.0..2.0), plane(0.3..2.0)).prop_map(|(path, sigma0, mean, sd)| Truth {
        path,
        sigma0,
        mean,
        sd,
        defect: 0.0,
    })
}

pub fn example(path: Path) -> Truth {
    Truth { path, sigma0: 0.8, mean: vec![1.5, -0.5], sd: vec![0.5, 1.3], defect: 0.0 }
}

/// Var(İ_t | I_t) in each direction: σ0² sd_i² (α β̇ − α̇ β)² / var_t,i.
pub fn conditional_variance(truth: &Truth, t: f64) -> Vec<f64> {
    let interpolant = truth.path.interpolant();
    let (a, b) = (interpolant.alpha(t), interpolant.beta(t));
    let wronskian = a * interpolant.beta_dot(t) - interpolant.alpha_dot(t) * b;
    let of = |sd: &f64| (truth.sigma0 * sd * wronskian).powi(2) / variances(truth, t, *sd);
    truth.sd.iter().map(of).collect()
}

/// var_t of a direction of the data with standard deviation sd.
pub fn variances(truth: &Truth, t: f64, sd: f64) -> f64 {
    let interpolant = truth.path.interpolant();
    (interpolant.alpha(t) * truth.sigma0).powi(2) + (interpolant.beta(t) * sd).powi(2)
}
