//! Learning-rate schedules, as a factor of the base rate.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the learning rate moves with the step k = 0, 1, ....
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// lr, after a linear warm-up.
    Constant {
        /// Steps of linear warm-up.
        #[serde(default)]
        warmup: u64,
    },
    /// lr (1 + cos(π p))/2 with p the share of the run after the warm-up: down to zero at the last step.
    Cosine {
        /// Steps of linear warm-up.
        #[serde(default)]
        warmup: u64,
    },
    /// lr / √max(k/decay_start, 1), as arXiv:2505.18825 trains (decay_start 35 000, no warm-up).
    InverseSqrt {
        /// Steps of linear warm-up.
        #[serde(default)]
        warmup: u64,
        /// Step at which the decay starts.
        #[serde(default = "decay_start")]
        decay_start: u64,
    },
}

fn decay_start() -> u64 {
    35_000
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Constant { warmup: 0 }
    }
}

impl Schedule {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::InverseSqrt { decay_start: 0, .. } => {
                Err(Error::OutOfRange { key: "decay_start", expected: "at least 1", found: 0.0 })
            }
            _ => Ok(()),
        }
    }

    /// The factor of the base rate at step `k` of `n_steps`.
    pub fn factor(&self, k: u64, n_steps: u64) -> f64 {
        let k_f = k as f64;
        let (warmup, factor) = match *self {
            Self::Constant { warmup } => (warmup, 1.0),
            Self::Cosine { warmup } => {
                let length = n_steps.saturating_sub(warmup).max(1) as f64;
                let p = ((k_f - warmup as f64) / length).clamp(0.0, 1.0);
                (warmup, 0.5 * (1.0 + (std::f64::consts::PI * p).cos()))
            }
            Self::InverseSqrt { warmup, decay_start } => {
                (warmup, (k_f / decay_start.max(1) as f64).max(1.0).sqrt().recip())
            }
        };
        if k < warmup { factor * (k_f + 1.0) / (warmup as f64 + 1.0) } else { factor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_warms_up_and_ends_at_zero() {
        let schedule = Schedule::Cosine { warmup: 9 };
        assert!((schedule.factor(0, 109) - 0.1).abs() < 1e-12);
        assert!((schedule.factor(9, 109) - 1.0).abs() < 1e-12);
        assert!((schedule.factor(59, 109) - 0.5).abs() < 1e-12);
        assert!(schedule.factor(109, 109).abs() < 1e-12);
    }

    #[test]
    fn inverse_square_root_starts_late() {
        let schedule = Schedule::InverseSqrt { warmup: 0, decay_start: 35_000 };
        assert!((schedule.factor(35_000, 0) - 1.0).abs() < 1e-12);
        assert!((schedule.factor(140_000, 0) - 0.5).abs() < 1e-12);
    }
}
