//! A network that knows the answer: the average velocity from N(0, σ0² I) to N(m, diag(sd²)) in closed form.
//!
//! X_{s,t}(x) = β_t m + (sd_t / sd_s)(x − β_s m),  var_t = sd_t² = α_t² σ0² + β_t² sd²
//! v_{s,t}(x) = m Δβ/(t − s) + (x − β_s m) (Δvar/(t − s)) / (sd_s (sd_s + sd_t)) + d (t − s) x
//!
//! with Δ the difference from s to t; the quotients are written so that nothing cancels at t = s.
//! The defect d is zero at the truth.
//! Whatever m and sd are, without it the maps are those of *some* flow, so self-distillation finds no fault
//! in them: the defect is what makes the maps disagree with one another.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::f64::consts::FRAC_PI_2;

use candle_core::{DType, Device, Tensor};
use flowmap_core::InterpolantKind;
use flowmap_dual::Dual;
use flowmap_nn::{AverageVelocity, Init, ParamBuilder, Params, Result};

/// The interpolants whose quotients are written out here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Linear,
    Trigonometric,
}

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

impl Path {
    pub fn interpolant(self) -> InterpolantKind {
        match self {
            Self::Linear => InterpolantKind::Linear,
            Self::Trigonometric => InterpolantKind::Trigonometric,
        }
    }

    /// α_t and β_t.
    fn coefficients(self, t: &Dual) -> Result<(Dual, Dual)> {
        Ok(match self {
            Self::Linear => (t.neg()?.shift(1.0)?, t.clone()),
            Self::Trigonometric => (t.scale(FRAC_PI_2)?.cos()?, t.scale(FRAC_PI_2)?.sin()?),
        })
    }

    /// (β_t − β_s)/(t − s), (α_t² − α_s²)/(t − s) and (β_t² − β_s²)/(t − s).
    fn quotients(self, s: &Dual, t: &Dual) -> Result<(Dual, Dual, Dual)> {
        let sum = s.add(t)?;
        Ok(match self {
            Self::Linear => (Dual::constant(s.primal().ones_like()?), sum.shift(-2.0)?, sum),
            Self::Trigonometric => {
                // sin a − sin b = 2 cos((a + b)/2) sin((a − b)/2), and sin² a − sin² b = sin(a + b) sin(a − b).
                let (p, z) = (sum.scale(FRAC_PI_2)?, t.sub(s)?.scale(FRAC_PI_2)?);
                let beta = sinc(&z.scale(0.5)?)?.mul(&p.scale(0.5)?.cos()?)?.scale(FRAC_PI_2)?;
                let beta_squared = sinc(&z)?.mul(&p.sin()?)?.scale(FRAC_PI_2)?;
                (beta, beta_squared.neg()?, beta_squared)
            }
        })
    }
}

/// sin(z)/z = Σ (−z²)^k/(2k + 1)!, for |z| <= π/2, where thirteen terms are exact in f64.
fn sinc(z: &Dual) -> Result<Dual> {
    let minus_square = z.sqr()?.neg()?;
    let mut sum = Dual::constant(z.primal().ones_like()?);
    for k in (1..13).rev() {
        let (even, odd) = (2.0 * f64::from(k), 2.0 * f64::from(k) + 1.0);
        sum = sum.mul(&minus_square)?.scale(1.0 / (even * odd))?.shift(1.0)?;
    }
    Ok(sum)
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
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, _labels: Option<&Tensor>) -> Result<Dual> {
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
