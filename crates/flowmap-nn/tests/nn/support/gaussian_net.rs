//! A network that knows the answer: the average velocity from N(0, σ0² I) to N(m, diag(sd²)) in closed form.
//!
//! X_{s,t}(x) = β_t m + (sd_t / sd_s)(x − β_s m),  var_t = sd_t² = α_t² σ0² + β_t² sd²
//! v_{s,t}(x) = m Δβ/(t − s) + (x − β_s m) (Δvar/(t − s)) / (sd_s (sd_s + sd_t)) + d (t − s) x
//!
//! with Δ the difference from s to t; the quotients are those of [`Path`].
//! The defect d is zero at the truth.
//! Whatever m and sd are, without it the maps are those of *some* flow, so self-distillation finds no fault
//! in them: the defect is what makes the maps disagree with one another.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use flowmap_dual::Dual;
use flowmap_nn::{AverageVelocity, Condition, Init, ParamBuilder, Params, Result};

use crate::support::path::Path;

/// What a [`GaussianNet`] of n dimensions knows, before it is put into tensors.
#[derive(Clone, Debug)]
pub struct Truth {
    pub path: Path,
    pub sigma0: f64,
    pub mean: Vec<f64>,
    pub sd: Vec<f64>,
    pub defect: f64,
}

/// The network; its parameters `mean`, `sd` and `defect` are `(D,)`, or `(B, D)` for gradients of each sample.
pub struct GaussianNet {
    path: Path,
    sigma0: f64,
    mean: Tensor,
    sd: Tensor,
    defect: Tensor,
}

impl Truth {
    /// The parameters by name, `(D,)`.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let dim = self.mean.len();
        let tensor = |values: &[f64]| Tensor::from_slice(values, dim, &Device::Cpu).unwrap();
        let named = [("mean", &self.mean), ("sd", &self.sd), ("defect", &vec![self.defect; dim])];
        named.map(|(name, values)| (name.to_owned(), tensor(values))).into()
    }

    /// The network with trainable parameters.
    pub fn trainable(&self) -> (GaussianNet, Params) {
        self.build(ParamBuilder::trainable(self.tensors(), DType::F64, &Device::Cpu), &[self.mean.len()])
    }

    /// The network with parameters of its own for each of `n` samples: one backward pass gives `n` gradients.
    pub fn trainable_per_sample(&self, n: usize) -> (GaussianNet, Params) {
        let shape = [n, self.mean.len()];
        let repeated = |t: &Tensor| t.broadcast_as(&shape[..]).unwrap().contiguous().unwrap();
        let tensors = self.tensors().iter().map(|(name, t)| (name.clone(), repeated(t))).collect();
        self.build(ParamBuilder::trainable(tensors, DType::F64, &Device::Cpu), &shape)
    }

    /// The network off the tape.
    pub fn frozen(&self) -> GaussianNet {
        self.build(ParamBuilder::frozen(self.tensors(), DType::F64, &Device::Cpu), &[self.mean.len()]).0
    }

    fn build(&self, mut builder: ParamBuilder, shape: &[usize]) -> (GaussianNet, Params) {
        let mut param = |name| builder.param(name, shape, Init::Zeros).unwrap();
        let (mean, sd, defect) = (param("mean"), param("sd"), param("defect"));
        (GaussianNet { path: self.path, sigma0: self.sigma0, mean, sd, defect }, builder.finish().unwrap())
    }
}

impl AverageVelocity for GaussianNet {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, _: Condition<'_>) -> Result<Dual> {
        let (s, t) = (s.column(2)?, t.column(2)?);
        let mean = Dual::from(&self.mean);
        let (noise_variance, variance) = (self.sigma0.powi(2), Dual::from(self.sd.sqr()?));
        let sd_at = |(alpha, beta): &(Dual, Dual)| -> Result<Dual> {
            Ok(alpha.sqr()?.scale(noise_variance)?.add(&beta.sqr()?.mul(&variance)?)?.sqrt()?)
        };
        let (at_s, at_t) = (self.path.coefficients(&s)?, self.path.coefficients(&t)?);
        let (sd_s, sd_t) = (sd_at(&at_s)?, sd_at(&at_t)?);
        let (d_beta, d_alpha_squared, d_beta_squared) = self.path.quotients(&s, &t)?;
        let d_variance = d_alpha_squared.scale(noise_variance)?.add(&d_beta_squared.mul(&variance)?)?;
        let stretch = d_variance.div(&sd_s.mul(&sd_s.add(&sd_t)?)?)?;
        let centered = x.sub(&at_s.1.mul(&mean)?)?;
        let truth = d_beta.mul(&mean)?.add(&centered.mul(&stretch)?)?;
        Ok(truth.add(&Dual::from(&self.defect).mul(&t.sub(&s)?)?.mul(x)?)?)
    }
}
