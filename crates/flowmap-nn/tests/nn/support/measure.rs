//! Times to test at, and what is said of the numbers that come out.
#![allow(clippy::unwrap_used, clippy::panic)]

use candle_core::{DType, Device, Tensor};
use flowmap_core::{NoiseStream, Stream};
use flowmap_nn::Times;
use proptest::prelude::*;

/// Fixed seeds, so that a test at this many standard errors holds always or never.
const N_STANDARD_ERRORS: f64 = 4.0;
pub const SEED: u64 = 2025;

pub fn triples(times: &[[f64; 3]]) -> Times {
    let triple = |&[s, u, t]: &[f64; 3]| flowmap_core::Times::forward(s, u, t).unwrap();
    Times::new(&times.iter().map(triple).collect::<Vec<_>>(), DType::F64, &Device::Cpu).unwrap()
}

pub fn column(times: &[f64]) -> Tensor {
    Tensor::from_slice(times, times.len(), &Device::Cpu).unwrap()
}

pub fn max_abs(x: &Tensor) -> f64 {
    x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

/// Triples s <= u <= t, the edges of the triangle among them.
pub fn ordered_times() -> impl Strategy<Value = Vec<[f64; 3]>> {
    let triple = prop::array::uniform3(0.0..=1.0).prop_map(|mut times: [f64; 3]| {
        times.sort_by(f64::total_cmp);
        times
    });
    let edges = [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.5, 1.0], [0.0, 0.0, 1.0], [0.4, 0.4, 0.4 + 1e-9]];
    prop::collection::vec(triple, 6).prop_map(move |mut times| {
        times.extend(edges);
        times
    })
}

/// Times that fill the triangle, none of them on its edges.
pub fn inner_times(n: usize) -> Times {
    let stream = NoiseStream::new(SEED, Stream::Times);
    let triple = |i| {
        let mut noise = stream.at(i);
        let mut times = [noise.uniform(), noise.uniform(), noise.uniform()];
        times.sort_by(f64::total_cmp);
        times
    };
    triples(&(0..n as u64).map(triple).collect::<Vec<_>>())
}

/// Checks that the mean of `values` is `expected` within [`N_STANDARD_ERRORS`].
pub fn mean_is(expected: f64, values: &[f64], what: &str) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    let bound = N_STANDARD_ERRORS * (variance / n).sqrt();
    assert!((mean - expected).abs() <= bound, "{what}: mean {mean}, expected {expected}, bound {bound:e}");
}

/// Checks that the mean of `values` is above zero by more than [`N_STANDARD_ERRORS`].
pub fn mean_is_positive(values: &[f64], what: &str) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    let bound = N_STANDARD_ERRORS * (variance / n).sqrt();
    assert!(mean > bound, "{what}: mean {mean}, expected more than {bound:e}");
}
