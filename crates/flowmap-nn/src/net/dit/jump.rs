//! What the second embedding of the transformer is told of a jump from s to t.
//!
//! t − s,  or  −log₂ max(t − s, 2⁻²⁰)
//!
//! The first as Mean Flow has it, Geng and others 2025, arXiv:2505.13447. The second as the authors' code of shortcut
//! models, Frans and others 2024, arXiv:2410.12557, whose widths are 1, ½, ¼, …: sinusoids of the slowest
//! period 2π tell such widths apart by their logarithms, where the widths themselves crowd at zero.

use std::f64::consts::LN_2;

use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use crate::Result;

/// Jumps that are no longer, backward ones too, count as this long; a power of two that f32 adds exactly to any wider one.
const SHORTEST: f64 = 1.0 / 1_048_576.0;

/// What the second embedding is told of a jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JumpInput {
    /// The length t − s.
    #[default]
    Length,
    /// How often 1 is halved to be its length, at most 20 times: for jumps whose lengths are powers of ½.
    Halvings,
}

impl JumpInput {
    /// The number `(B,)` for jumps of length t − s `(B,)`.
    pub(super) fn forward(self, length: &Dual) -> Result<Dual> {
        match self {
            Self::Length => Ok(length.clone()),
            Self::Halvings => {
                let above = length.shift(-SHORTEST)?.relu()?;
                Ok(above.shift(SHORTEST)?.ln()?.scale(-LN_2.recip())?)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;

    /// A logarithm in f32.
    const ROUNDING: f64 = 2e-6;

    #[test]
    fn halvings_of_powers_of_one_half_are_their_exponents() {
        for dtype in [DType::F32, DType::F64] {
            let widths = Tensor::new(&[1f64, 0.5, 0.25, 0.0078125], &Device::Cpu).unwrap();
            let widths = widths.to_dtype(dtype).unwrap();
            let length = Dual::variable(widths).unwrap();
            let halvings = JumpInput::Halvings.forward(&length).unwrap();
            let host = |x: &Tensor| x.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
            for (found, expected) in host(halvings.primal()).into_iter().zip([0.0, 1.0, 2.0, 7.0]) {
                assert!((found - expected).abs() <= ROUNDING, "{found}, expected {expected}");
            }
            // d(−log₂ d)/dd = −1/(d ln 2).
            let slope = host(halvings.tangent().unwrap())[1];
            assert!((slope + 2.0 / LN_2).abs() < 1e-5, "{slope}");
        }
    }

    #[test]
    fn jumps_without_a_length_are_the_shortest_ones() {
        let lengths = Tensor::new(&[0f32, -0.5], &Device::Cpu).unwrap();
        let halvings = JumpInput::Halvings.forward(&Dual::variable(lengths).unwrap()).unwrap();
        assert_eq!(halvings.primal().to_vec1::<f32>().unwrap(), [20.0, 20.0]);
        assert_eq!(halvings.tangent().unwrap().to_vec1::<f32>().unwrap(), [0.0, 0.0]);
    }
}
