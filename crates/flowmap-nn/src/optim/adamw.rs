//! Adam with decoupled weight decay.
//!
//! m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²
//! θ ← θ − lr ( m̂ / (√v̂ + eps) + λ θ ),  m̂ = m/(1 − β₁ᵏ),  v̂ = v/(1 − β₂ᵏ)
//!
//! Kingma, Ba 2014, arXiv:1412.6980, algorithm 1; Loshchilov, Hutter 2017, arXiv:1711.05101, algorithm 2.

use flowmap_dual::cuda::AdamRule;

use super::adam::{Adam, Rule};
use super::moments::check_constants;
use crate::{Params, Result};

/// Adam with decoupled weight decay.
pub type AdamW = Adam<Decoupled>;

/// The constants of [`AdamW`].
#[derive(Debug)]
pub struct Decoupled {
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
}

impl AdamW {
    /// Zero moments for every parameter.
    ///
    /// # Errors
    /// [`crate::Error::OutOfRange`] for a bad constant.
    pub fn new(params: &Params, beta1: f64, beta2: f64, eps: f64, weight_decay: f64) -> Result<Self> {
        check_constants(beta1, beta2, eps, weight_decay)?;
        Self::with_rule(params, Decoupled { beta1, beta2, eps, weight_decay })
    }
}

impl Rule for Decoupled {
    fn at(&self, k: f64, lr: f64, gradient_scale: f64) -> AdamRule {
        let (bias1, bias2) = (1.0 - self.beta1.powf(k), 1.0 - self.beta2.powf(k));
        AdamRule {
            beta1: self.beta1,
            beta2: self.beta2,
            gradient_scale,
            rate: lr / bias1,
            root: Some(bias2.sqrt()),
            eps: self.eps,
            keep: 1.0 - lr * self.weight_decay,
        }
    }
}
