//! How far the results of a kernel are from those of the composed operations.

use candle_core::{DType, Tensor};

/// The largest difference, relative to the largest number expected or to `floor` where that is larger.
fn distance_above(floor: f64, found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.dims(), expected.dims());
    let (found, expected) = (values(found), values(expected));
    let scale = expected.iter().fold(floor, |m, v| m.max(v.abs()));
    if found.iter().any(|x| !x.is_finite()) {
        return f64::INFINITY; // A maximum would pass over what is not a number.
    }
    found.iter().zip(&expected).fold(0f64, |m, (a, b)| m.max((a - b).abs())) / scale
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The distance of each result; the first `n_values` are values, the others gradients of one sum.
///
/// A gradient is a sum over rows whose terms may cancel to nothing, and then rounding is all that is left of it:
/// the largest gradient of the run says how large the terms are.
pub fn distances(found: &[Tensor], expected: &[Tensor], n_values: usize) -> Vec<f64> {
    assert_eq!(found.len(), expected.len());
    let largest = expected[n_values..].iter().flat_map(values).fold(1e-3f64, |m, v| m.max(v.abs()));
    let floor = |i: usize| if i < n_values { 1e-3 } else { largest };
    found.iter().zip(expected).enumerate().map(|(i, (f, e))| distance_above(floor(i), f, e)).collect()
}
