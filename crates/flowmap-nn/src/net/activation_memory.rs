//! What becomes of the activations inside the blocks of a network until the backward pass.
//!
//! Kept, they take memory for every layer; computed again, for the inputs of every block and the layers of one block,
//! at the cost of one more forward pass: Chen, Xu, Zhang, Guestrin 2016, arXiv:1604.06174.

use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use crate::Result;

/// What becomes of the activations inside the blocks of a network until the backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivationMemory {
    /// Activations are kept.
    #[default]
    Keep,
    /// Each block computes them again from its inputs.
    Recompute,
}

impl ActivationMemory {
    /// `block(inputs)`.
    pub(super) fn run<const N: usize>(
        self,
        inputs: [&Dual; N],
        block: impl Fn([&Dual; N]) -> Result<Dual> + Send + Sync + 'static,
    ) -> Result<Dual> {
        match self {
            Self::Keep => block(inputs),
            Self::Recompute => Dual::recomputed(inputs, block),
        }
    }
}
