//! Sinusoidal features of a time.
//!
//! [ cos ω_k t, sin ω_k t ],  ω_k = 10000^(−k/h),  k = 0 .. h − 1
//!
//! Vaswani and others 2017, arXiv:1706.03762, as diffusion models have it: cosines first.

use candle_core::Tensor;
use flowmap_dual::{Activation, Dual};

use super::linear::Linear;
use crate::{Init, ParamBuilder, Result};

/// The longest period in units of 2π.
const MAX_PERIOD: f64 = 10_000.0;
/// Standard deviation of the first weights of the perceptron, as DiT has it.
const EMBEDDER_STD: f64 = 0.02;

/// Sinusoidal features of a time; the module has the formula.
#[derive(Clone, Debug)]
pub struct Sinusoids {
    /// ω, `(1, h)`.
    frequencies: Tensor,
}

impl Sinusoids {
    /// `n` features, half of them cosines, of a time multiplied by `time_scale`.
    ///
    /// # Errors
    /// As the device of `builder`.
    pub fn new(n: usize, time_scale: f64, builder: &ParamBuilder) -> Result<Self> {
        let half = n / 2;
        let omega = |k: usize| time_scale * (-MAX_PERIOD.ln() * k as f64 / half as f64).exp();
        Ok(Self { frequencies: builder.constant((1, half), (0..half).map(omega).collect())? })
    }

    /// The features `(B, n)` of times `(B,)`.
    ///
    /// # Errors
    /// If the times have another rank.
    pub fn forward(&self, time: &Dual) -> Result<Dual> {
        let phases = time.column(2)?.mul(&Dual::from(&self.frequencies))?;
        Ok(Dual::cat_last(&[phases.cos()?, phases.sin()?])?)
    }
}

/// The features through a perceptron, `{name}.mlp.0`, SiLU, `{name}.mlp.2`, as DiT embeds a time.
#[derive(Clone, Debug)]
pub struct TimeEmbedder {
    first: Linear,
    second: Linear,
}

impl TimeEmbedder {
    /// An embedding of `n` features into `width` numbers.
    ///
    /// # Errors
    /// What `builder` finds wrong with a checkpoint.
    pub fn new(name: &str, n: usize, width: usize, builder: &mut ParamBuilder) -> Result<Self> {
        let init = Init::Normal(EMBEDDER_STD);
        Ok(Self {
            first: Linear::new(&format!("{name}.mlp.0"), n, width, init, builder)?,
            second: Linear::new(&format!("{name}.mlp.2"), width, width, init, builder)?,
        })
    }

    /// The embedding `(B, width)` of features `(B, n)`.
    ///
    /// # Errors
    /// If the number of features is another one.
    pub fn forward(&self, features: &Dual) -> Result<Dual> {
        self.second.forward(&self.first.activated(features, Activation::Silu)?)
    }

    /// Multiplications of one sample.
    pub fn products(&self) -> usize {
        self.first.products() + self.second.products()
    }
}
