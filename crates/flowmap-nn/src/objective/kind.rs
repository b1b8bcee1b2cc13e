//! The objectives by name, with their choices, as a config has them.

use flowmap_core::{MiddleTime, TimeDistribution};
use serde::{Deserialize, Serialize};

use super::{
    EsdStop, LsdStop, MeanFlowVelocity, PsdForm, PsdStop, esd, flow_matching, improved_mean_flow, lsd,
    mean_flow, psd, shortcut,
};
use crate::{AverageVelocity, Batch, Error, FlowMap, PerSample, Result, Times};

/// The grid of shortcut models, that of their paper.
const SHORTCUT_STEPS: u32 = 128;

/// One objective and its choices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Objective {
    /// Flow matching on the diagonal.
    FlowMatching {},
    /// Lagrangian self-distillation.
    Lsd {
        /// Where the gradient stops.
        #[serde(default)]
        stop: LsdStop,
    },
    /// Eulerian self-distillation.
    Esd {
        /// Where the gradient stops.
        #[serde(default)]
        stop: EsdStop,
    },
    /// Progressive self-distillation.
    Psd {
        /// What is compared.
        #[serde(default)]
        form: PsdForm,
        /// Where the gradient stops.
        #[serde(default)]
        stop: PsdStop,
    },
    /// Mean Flow.
    MeanFlow {
        /// Which velocity its target is made of.
        #[serde(default)]
        velocity: MeanFlowVelocity,
    },
    /// Improved Mean Flow, a regression on the velocity.
    ImprovedMeanFlow {},
    /// Shortcut models.
    Shortcut {
        /// One over the smallest width; its half steps are taken with the velocity.
        #[serde(default = "shortcut_steps")]
        n_steps: u32,
        /// Bound on the absolute value of every number of the target.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clip: Option<f64>,
    },
}

fn shortcut_steps() -> u32 {
    SHORTCUT_STEPS
}

impl Objective {
    /// The name in configs and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FlowMatching {} => "flow_matching",
            Self::Lsd { .. } => "lsd",
            Self::Esd { .. } => "esd",
            Self::Psd { .. } => "psd",
            Self::MeanFlow { .. } => "mean_flow",
            Self::ImprovedMeanFlow {} => "improved_mean_flow",
            Self::Shortcut { .. } => "shortcut",
        }
    }

    /// The distribution of (s, t) of its paper, which a term has unless told otherwise.
    pub fn default_times(&self) -> TimeDistribution {
        match *self {
            Self::MeanFlow { .. } | Self::ImprovedMeanFlow {} => {
                TimeDistribution::LogitNormal { mean: 0.4, std: 1.0 }
            }
            Self::Shortcut { n_steps, .. } => TimeDistribution::Dyadic { n_steps },
            _ => TimeDistribution::Uniform {},
        }
    }

    /// The middle time of its paper, which a term has unless told otherwise.
    pub fn default_middle(&self) -> MiddleTime {
        MiddleTime::Midpoint
    }

    /// Checks the numbers among its choices.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::Shortcut { n_steps, clip } => {
                TimeDistribution::Dyadic { n_steps }.validate()?;
                positive("clip", clip.unwrap_or(1.0))
            }
            _ => Ok(()),
        }
    }

    /// The loss of each sample.
    ///
    /// # Errors
    /// As the networks.
    pub fn per_sample<M, T>(
        &self,
        model: FlowMap<'_, M>,
        teacher: FlowMap<'_, T>,
        batch: &Batch<'_>,
        times: &Times,
    ) -> Result<PerSample>
    where
        M: AverageVelocity + ?Sized,
        T: AverageVelocity + ?Sized,
    {
        match *self {
            Self::FlowMatching {} => flow_matching(model, batch, times),
            Self::Lsd { stop } => lsd(model, teacher, batch, times, stop),
            Self::Esd { stop } => esd(model, teacher, batch, times, stop),
            Self::Psd { form, stop } => psd(model, teacher, batch, times, form, stop),
            Self::MeanFlow { velocity } => mean_flow(model, teacher, batch, times, velocity),
            Self::ImprovedMeanFlow {} => improved_mean_flow(model, teacher, batch, times),
            Self::Shortcut { n_steps, clip } => shortcut(model, teacher, batch, times, n_steps, clip),
        }
    }
}

/// Refuses what is not positive and finite.
fn positive(key: &'static str, found: f64) -> Result<()> {
    if found > 0.0 && found.is_finite() {
        return Ok(());
    }
    Err(Error::OutOfRange { key, expected: "a positive number", found })
}
