//! The learned weight of a loss as the magnitude-preserving networks have it.
//!
//! w_{s,t} = W mp_sum(p(s), p(t)),  W = w / (rms w + 1e-4) / √C                     (1)
//! p(t) = √2 [ cos ω_k t, sin ω_k t ],  ω_k = 10000^(−k/(C/2))
//!
//! EDM2, Karras and others 2023, arXiv:2312.02696 (`logvar_linear`); with sinusoids of two times as in the official code
//! of Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825. All terms of a loss share it.

use candle_core::Tensor;
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use super::LearnedWeight;
use crate::net::layer::Sinusoids;
use crate::params::rows_of_magnitude;
use crate::{Error, ParamBuilder, Result, Times};

/// Sizes of a [`PositionalWeight`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PositionalWeightConfig {
    /// Number C of sines and cosines of a time.
    pub channels: usize,
}

impl Default for PositionalWeightConfig {
    fn default() -> Self {
        Self { channels: 128 }
    }
}

impl PositionalWeightConfig {
    /// Checks the number.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        if self.channels == 0 || !self.channels.is_multiple_of(2) {
            let (expected, found) = ("a positive even number", self.channels as f64);
            return Err(Error::OutOfRange { key: "channels", expected, found });
        }
        Ok(())
    }
}

/// The network w_{s,t} of (1); its tensor is `loss_weight.shared{C}.logvar_linear.weight` `(1, C)`.
#[derive(Clone, Debug)]
pub struct PositionalWeight {
    features: Sinusoids,
    weight: Tensor,
}

impl PositionalWeight {
    /// Builds the network that all terms share.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a bad config; what `builder` finds wrong with a checkpoint.
    pub fn new(config: &PositionalWeightConfig, builder: &mut ParamBuilder) -> Result<Self> {
        config.validate()?;
        let channels = config.channels;
        let name = format!("{}shared{channels}.logvar_linear.weight", LearnedWeight::PREFIX);
        Ok(Self {
            features: Sinusoids::new(channels, 1.0, builder)?,
            weight: builder.param_on_sphere(&name, (1, channels))?,
        })
    }

    /// w_{s,t} of every pair, `(B,)`.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn w(&self, times: &Times) -> Result<Tensor> {
        let features = |time: &Tensor| self.features.forward(&Dual::from(time));
        let sum = features(times.s.tensor())?.add(&features(times.t.tensor())?)?;
        // √2 of p times 1/√2 of a balanced sum is one.
        let channels = self.weight.elem_count() as f64;
        let weight = rows_of_magnitude(&self.weight, channels.sqrt().recip())?;
        Ok(sum.primal().detach().matmul(&weight.t()?)?.squeeze(1)?) // (1)
    }
}
