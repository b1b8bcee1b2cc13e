//! How much a sample counts, by its times.
//!
//! | weight | loss |
//! |---|---|
//! | constant | L |
//! | width | (t − s)^p L; p = 2 turns velocities into maps, p = −2 maps into velocities |
//! | learned | e^−w_{s,t} L + w_{s,t}, see [`super::LearnedWeight`] |
//! | learned positional | the same with one w for all terms, see [`super::PositionalWeight`] |

use serde::{Deserialize, Serialize};

use super::{LearnedWeightConfig, PositionalWeightConfig, WeightNet};
use crate::times::JumpFunction;
use crate::{Error, PerSample, Result, Times};

/// Widths below this count as this, so that a negative power stays finite.
const SMALLEST_WIDTH: f64 = 1e-3;

/// The weight of a sample as a function of its times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum TimeWeight {
    /// One.
    Constant {},
    /// (t − s)^power.
    Width {
        /// The power; negative ones stop growing at a width of 0.001.
        power: f64,
    },
    /// Learned with the network.
    Learned(LearnedWeightConfig),
    /// Learned with the network, one for all terms that have it.
    LearnedPositional(PositionalWeightConfig),
}

impl Default for TimeWeight {
    fn default() -> Self {
        Self::Constant {}
    }
}

impl TimeWeight {
    /// Checks its numbers.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::Constant {} => Ok(()),
            Self::Width { power } if power.is_finite() => Ok(()),
            Self::Width { power } => {
                Err(Error::OutOfRange { key: "power", expected: "a finite number", found: power })
            }
            Self::Learned(config) => config.validate(),
            Self::LearnedPositional(config) => config.validate(),
        }
    }

    /// The function of times that the weight takes, if it takes one.
    pub(super) fn function(&self) -> Option<JumpFunction> {
        match *self {
            Self::Width { power } => Some(width(power)),
            _ => None,
        }
    }

    /// The weighed losses; `learned` is the network of a learned weight, `term` its index in messages.
    ///
    /// # Errors
    /// [`Error::NoLearnedWeight`] where the network is missing; as Candle.
    pub fn apply(
        &self,
        losses: PerSample,
        times: &Times,
        learned: Option<&WeightNet>,
        term: usize,
    ) -> Result<PerSample> {
        match *self {
            Self::Constant {} => Ok(losses),
            Self::Width { power } => losses.times(&times.map(width(power))?),
            Self::Learned(_) | Self::LearnedPositional(_) => {
                learned.ok_or(Error::NoLearnedWeight { term })?.apply(&losses, times)
            }
        }
    }
}

/// (t − s)^power, the width at least [`SMALLEST_WIDTH`] for negative powers.
fn width(power: f64) -> JumpFunction {
    JumpFunction::new("width", [power, 0.0], |[s, _, t], [power, _]| {
        if power < 0.0 { (t - s).max(SMALLEST_WIDTH).powf(power) } else { (t - s).powf(power) }
    })
}
