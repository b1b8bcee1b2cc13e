//! Activation functions of networks, each with its exact derivative.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An activation function; in configs by its name in snake case, such as `gelu_tanh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, Hendrycks and Gimpel 2016, arXiv:1606.08415.
    GeluTanh,
    /// x (1 + erf(x/√2)) / 2, the exact form of the same paper.
    GeluErf,
    /// x / (1 + e^−x).
    Silu,
    /// tanh x.
    Tanh,
    /// max(x, 0)², So and others 2021, arXiv:2109.08668.
    ReluSquared,
}

impl Activation {
    /// All activations, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::GeluTanh, Self::GeluErf, Self::Silu, Self::Tanh, Self::ReluSquared];

    /// The name in configs and checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            Self::GeluTanh => "gelu_tanh",
            Self::GeluErf => "gelu_erf",
            Self::Silu => "silu",
            Self::Tanh => "tanh",
            Self::ReluSquared => "relu_squared",
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
