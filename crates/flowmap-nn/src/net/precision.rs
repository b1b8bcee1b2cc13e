//! The number type in which a network computes between its inputs and its output.
//!
//! Micikevicius and others 2018, arXiv:1710.03740, with bf16, which has the range of f32, so that no loss is scaled.
//! Parameters, embeddings of times, the statistics of normalizations, softmax and the output are in the type of the
//! parameters; activations and products are in the half type, and gradients arrive at the parameters in theirs.

use candle_core::DType;
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use crate::Result;

/// What a network computes in between its inputs and its output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// The type of the parameters, f32 in training.
    #[default]
    F32,
    /// Activations and products in bf16.
    Bf16,
}

impl Precision {
    /// x as the inside of the network takes it.
    pub(super) fn inside(self, x: &Dual) -> Result<Dual> {
        match self {
            Self::F32 => Ok(x.clone()),
            Self::Bf16 => Ok(x.to_dtype(DType::BF16)?),
        }
    }
}
