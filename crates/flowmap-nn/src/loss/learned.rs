//! The learned weight of a loss, as a function of its times.
//!
//! L'(θ, φ) = e^−w_{s,t} L_{s,t}(θ) + w_{s,t}        (1)
//! w_{s,t} = a · [ sin Ω(s, t), cos Ω(s, t) ] + b,  Ω ~ 2π N(0, scale²), not trained        (2)
//!
//! Kendall, Gal, Cipolla 2018, arXiv:1705.07115; Karras and others 2023 (EDM2), arXiv:2312.02696 (its loss weighting);
//! for two times Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825.
//! The minimum of (1) in w is w_{s,t} = ln E[L_{s,t}]: every pair of times then counts the same.
//! a and b start at zero, so that (1) starts as L.
//! Differs from EDM2: two times in joint random features, and a bias in place of a constant feature.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::PositionalWeight;
use crate::{Error, Init, ParamBuilder, PerSample, Result, Times};

/// Sizes of a [`LearnedWeight`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LearnedWeightConfig {
    /// Number of random frequencies, each giving a sine and a cosine.
    pub features: usize,
    /// Standard deviation of the frequencies, in cycles per unit of time.
    pub scale: f64,
}

impl Default for LearnedWeightConfig {
    fn default() -> Self {
        Self { features: 64, scale: 1.0 }
    }
}

impl LearnedWeightConfig {
    /// Checks both numbers.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        if self.features == 0 {
            return Err(Error::OutOfRange { key: "features", expected: "at least 1", found: 0.0 });
        }
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            return Err(Error::OutOfRange { key: "scale", expected: "a positive number", found: self.scale });
        }
        Ok(())
    }
}

/// The network w_{s,t} of (2).
///
/// Tensors: `loss_weight.{term}.frequencies` `(features, 2)` (not trained), `loss_weight.{term}.weight`
/// `(2 features,)`, `loss_weight.{term}.bias` `(1,)`.
#[derive(Clone, Debug)]
pub struct LearnedWeight {
    frequencies: Tensor,
    weight: Tensor,
    bias: Tensor,
}

impl LearnedWeight {
    /// What the names of all its tensors start with.
    pub const PREFIX: &'static str = "loss_weight.";

    /// Builds the network for the term of this index.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a bad config; what `builder` finds wrong with a checkpoint.
    pub fn new(config: &LearnedWeightConfig, term: usize, builder: &mut ParamBuilder) -> Result<Self> {
        config.validate()?;
        let name = |tensor: &str| format!("{}{term}.{tensor}", Self::PREFIX);
        let std = std::f64::consts::TAU * config.scale;
        Ok(Self {
            frequencies: builder.buffer(&name("frequencies"), (config.features, 2), Init::Normal(std))?,
            weight: builder.param(&name("weight"), 2 * config.features, Init::Zeros)?,
            bias: builder.param(&name("bias"), 1, Init::Zeros)?,
        })
    }

    /// w_{s,t} of every pair, `(B,)`.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn w(&self, times: &Times) -> Result<Tensor> {
        let pairs = Tensor::stack(&[times.s.tensor(), times.t.tensor()], 1)?; // (B, 2)
        let phases = pairs.matmul(&self.frequencies.t()?)?;
        let features = Tensor::cat(&[phases.sin()?, phases.cos()?], 1)?.detach();
        let w = features.matmul(&self.weight.unsqueeze(1)?)?.squeeze(1)?;
        Ok(w.broadcast_add(&self.bias)?) // (2)
    }
}

/// The network of a learned weight, whichever it is.
#[derive(Clone, Debug)]
pub enum WeightNet {
    /// One of a term's own.
    Own(LearnedWeight),
    /// One that terms share.
    Shared(PositionalWeight),
}

impl WeightNet {
    /// w_{s,t} of every pair, `(B,)`.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn w(&self, times: &Times) -> Result<Tensor> {
        match self {
            Self::Own(net) => net.w(times),
            Self::Shared(net) => net.w(times),
        }
    }

    /// e^−w L + w of every sample.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn apply(&self, losses: &PerSample, times: &Times) -> Result<PerSample> {
        let w = self.w(times)?;
        losses.times(&w.neg()?.exp()?)?.map(|weighed| Ok((weighed + &w)?)) // (1)
    }
}
