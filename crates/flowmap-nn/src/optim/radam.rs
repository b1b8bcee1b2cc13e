//! Rectified Adam: no second moment until its variance is known.
//!
//! ρ∞ = 2/(1 − β₂) − 1,  ρ = ρ∞ − 2 k β₂ᵏ/(1 − β₂ᵏ)
//! θ ← θ − lr r m̂ / (√v̂ + eps),  r² = (ρ − 4)(ρ − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρ)  if ρ ≥ 5
//! θ ← θ − lr m̂  otherwise
//!
//! Liu and others 2019, arXiv:1908.03265, algorithm 2; the threshold 5 comes from the code of the flow-map papers.

use flowmap_dual::cuda::AdamRule;

use super::adam::{Adam, Rule};
use super::moments::check_constants;
use crate::{Params, Result};

/// From this length of the moving average on, the second moment is used.
const THRESHOLD: f64 = 5.0;

/// Rectified Adam.
pub type RAdam = Adam<Rectified>;

/// The constants of [`RAdam`].
#[derive(Debug)]
pub struct Rectified {
    beta1: f64,
    beta2: f64,
    eps: f64,
}

impl RAdam {
    /// Zero moments for every parameter.
    ///
    /// # Errors
    /// [`crate::Error::OutOfRange`] for a bad constant.
    pub fn new(params: &Params, beta1: f64, beta2: f64, eps: f64) -> Result<Self> {
        check_constants(beta1, beta2, eps, 0.0)?;
        Self::with_rule(params, Rectified { beta1, beta2, eps })
    }
}

impl Rectified {
    /// The rectification r at step k, `None` while the variance of the second moment is not known.
    fn rectification(&self, k: f64) -> Option<f64> {
        let rho_inf = 2.0 / (1.0 - self.beta2) - 1.0;
        let beta2_k = self.beta2.powf(k);
        let rho = rho_inf - 2.0 * k * beta2_k / (1.0 - beta2_k);
        let r = (rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho);
        (rho >= THRESHOLD).then(|| r.sqrt())
    }
}

impl Rule for Rectified {
    fn at(&self, k: f64, lr: f64, gradient_scale: f64) -> AdamRule {
        let (bias1, bias2) = (1.0 - self.beta1.powf(k), 1.0 - self.beta2.powf(k));
        let rectification = self.rectification(k);
        AdamRule {
            beta1: self.beta1,
            beta2: self.beta2,
            gradient_scale,
            rate: lr * rectification.unwrap_or(1.0) / bias1,
            root: rectification.map(|_| bias2.sqrt()),
            eps: self.eps,
            keep: 1.0,
        }
    }
}
