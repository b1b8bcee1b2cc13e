//! What becomes of the squared norm L = |r|² of a residual.
//!
//! | norm | value | source |
//! |---|---|---|
//! | squared | L | |
//! | adaptive | L / sg[(L + ε)^p] | Mean Flow, arXiv:2505.13447 (adaptive weight): p = 1, ε = 0.01 |
//! | Cauchy | c² ln(1 + L/c²) | Geman, McClure 1985; Decoupled MeanFlow, arXiv:2510.24474 |
//! | pseudo-Huber | √(L + c²) − c | Charbonnier and others 1997; improved consistency training, arXiv:2310.14189 |
//!
//! L is in the unit of the batch, and so are ε and c². α-Flow gives α L for the L of Mean Flow in the limit of its α, and
//! gets α times the norm of that L: its gradient tends to the gradient of Mean Flow under every norm.
//!
//! All except the first bound the pull of large residuals; the adaptive one with p = 1 has a gradient of the size of
//! ∇L/L whatever L is, and with p = ½ the gradient of the norm |r|.

use serde::{Deserialize, Serialize};

use crate::{Error, PerSample, Result};

/// A function of the squared norm of each residual.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Norm {
    /// L itself.
    Squared {},
    /// L / sg\[(L + ε)^p\].
    Adaptive {
        /// p; 0 is the squared norm, ½ like the norm, 1 like its logarithm.
        #[serde(default = "adaptive_p")]
        p: f64,
        /// ε, positive.
        #[serde(default = "adaptive_eps")]
        eps: f64,
    },
    /// c² ln(1 + L/c²).
    Cauchy {
        /// c, the size of a residual where the loss bends.
        c: f64,
    },
    /// √(L + c²) − c.
    PseudoHuber {
        /// c, the size of a residual where the loss bends.
        c: f64,
    },
}

fn adaptive_p() -> f64 {
    1.0
}

fn adaptive_eps() -> f64 {
    1e-2
}

impl Default for Norm {
    fn default() -> Self {
        Self::Squared {}
    }
}

impl Norm {
    /// Checks its numbers.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        let range = |key, good, expected, found| {
            if good { Ok(()) } else { Err(Error::OutOfRange { key, expected, found }) }
        };
        let positive =
            |key, found: f64| range(key, found > 0.0 && found.is_finite(), "a positive number", found);
        match *self {
            Self::Squared {} => Ok(()),
            Self::Adaptive { p, eps } => {
                range("p", p.is_finite() && p >= 0.0, "a number of at least 0", p)?;
                positive("eps", eps)
            }
            Self::Cauchy { c } | Self::PseudoHuber { c } => positive("c", c),
        }
    }

    /// The norm of each residual, given its squared norm.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn apply(&self, losses: PerSample) -> Result<PerSample> {
        match *self {
            Self::Squared {} => Ok(losses),
            Self::Adaptive { p, eps } => {
                losses.under(|l| Ok((l / (l.detach() + eps)?.powf(p)?.detach())?)) // L / sg[(L + ε)^p]
            }
            Self::Cauchy { c } => losses.under(|l| Ok((((l / (c * c))? + 1.0)?.log()? * (c * c))?)),
            Self::PseudoHuber { c } => losses.under(|l| Ok(((l + c * c)?.sqrt()? - c)?)),
        }
    }
}
