//! The distance of results from the results of the oracle: f64, composed operations, on the CPU.

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};

/// Tolerance in f32, relative to the largest number of a result: rounding of some hundred terms.
pub const F32: f64 = 1e-4;
/// The tolerance in bf16, whose numbers have eight bits.
pub const BF16: f64 = 2e-2;

/// Results smaller than this are compared with it: what cancels to nothing is rounding alone.
const SMALLEST: f64 = 1e-3;

/// Results of a case: values, and the gradients of one sum of them.
pub struct Results {
    /// Values and tangents.
    pub values: Vec<Tensor>,
    /// Gradients; terms of a sum may cancel, so the largest of all says how large they are.
    pub gradients: Vec<Tensor>,
}

impl Results {
    /// The largest distance of a result from the result of `oracle`; infinite if a number is not finite.
    ///
    /// # Errors
    /// Where shapes differ, and as Candle.
    pub fn distance(&self, oracle: &Self) -> Result<f64> {
        let mut largest = 0f64;
        for (found, expected) in self.values.iter().zip(&oracle.values) {
            largest = largest.max(distance_above(SMALLEST, found, expected)?);
        }
        let mut floor = SMALLEST;
        for gradient in &oracle.gradients {
            floor = numbers(gradient)?.iter().fold(floor, |m, v| m.max(v.abs()));
        }
        for (found, expected) in self.gradients.iter().zip(&oracle.gradients) {
            largest = largest.max(distance_above(floor, found, expected)?);
        }
        ensure!(self.values.len() == oracle.values.len(), "another number of results");
        ensure!(self.gradients.len() == oracle.gradients.len(), "another number of gradients");
        Ok(largest)
    }
}

fn distance_above(floor: f64, found: &Tensor, expected: &Tensor) -> Result<f64> {
    ensure!(found.dims() == expected.dims(), "shape {:?}, expected {:?}", found.dims(), expected.dims());
    let (found, expected) = (numbers(found)?, numbers(expected)?);
    if found.iter().any(|x| !x.is_finite()) {
        return Ok(f64::INFINITY); // A maximum would pass over what is not a number.
    }
    let scale = expected.iter().fold(floor, |m, v| m.max(v.abs()));
    Ok(found.iter().zip(&expected).fold(0f64, |m, (a, b)| m.max((a - b).abs())) / scale)
}

/// All numbers of a tensor, on the host.
fn numbers(x: &Tensor) -> Result<Vec<f64>> {
    Ok(x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}
