//! A network that knows the answer for a mixture of Gaussians, with a perturbation to be trained.
//!
//! v_{s,t}(x) = d(1),  d'(h) = b_{s + h w}(x + w d),  d(0) = 0,  w = t − s        (1)
//!
//! which is the mean of the velocity along the path, without a division: smooth at t = s, where it is b_t(x).
//! The velocity of the mixture is composed of operations on duals, so all derivatives of (1) are exact ones of what is
//! computed; and what is computed is the solution of (1) by Gragg's modified midpoint rule with 2, 4, 6, 8 and 10
//! parts, extrapolated to order ten, in `n_steps` equal steps.
//!
//! v^θ = v + θ_shift + (t − s) θ_stretch x + θ_bend sin(x + s)        (2)
//!
//! At θ = 0 it is the truth. The first and last move the diagonal too, so no flow has the map (2).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use flowmap_core::exact::{Component, Covariance, MixtureFlow};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::Dual;
use flowmap_nn::method::{Context, Method, Objective, Pass};
use flowmap_nn::{
    AverageVelocity, Batch, Condition, FlowMap, Init, ParamBuilder, Params, PerSample, Result, Teacher, Times,
};

use crate::support::measure::SEED;
use crate::support::path::Path;

/// Parts of a step of the modified midpoint rule.
const PARTS: [u32; 5] = [2, 4, 6, 8, 10];

/// From N(0, σ0² I) to Σ_k w_k N(m_k, diag(sd_k²)), by this interpolant.
#[derive(Clone, Debug)]
pub struct Mixture {
    pub path: Path,
    pub sigma0: f64,
    /// Positive, with the sum one.
    pub weights: Vec<f64>,
    pub means: Vec<[f64; 2]>,
    pub sds: Vec<[f64; 2]>,
}

/// The network (1), (2); the parameters are `(D,)`, or `(B, D)` for gradients of each sample.
pub struct MixtureNet {
    path: Path,
    sigma0: f64,
    /// `(K, 1)`.
    log_weights: Tensor,
    /// `(K, D)`.
    means: Tensor,
    variances: Tensor,
    n_steps: u32,
    shift: Tensor,
    stretch: Tensor,
    bend: Tensor,
}

/// Names of the parameters.
pub const THETA: [&str; 3] = ["shift", "stretch", "bend"];

impl Mixture {
    /// Two unequal components that overlap halfway.
    pub fn example(path: Path) -> Self {
        let (means, sds) = (vec![[-0.9, 0.4], [0.8, -0.3]], vec![[0.5, 0.7], [0.6, 0.45]]);
        Self { path, sigma0: 0.8, weights: vec![0.7, 0.3], means, sds }
    }

    /// The same flow in flowmap-core.
    pub fn flow(&self) -> MixtureFlow {
        let component = |((weight, mean), sd): ((&f64, &[f64; 2]), &[f64; 2])| Component {
            weight: *weight,
            mean: mean.to_vec(),
            covariance: Covariance::Diagonal(sd.to_vec()),
        };
        let parts: Vec<_> = self.weights.iter().zip(&self.means).zip(&self.sds).map(component).collect();
        MixtureFlow::new(self.path.interpolant(), self.sigma0, &parts).unwrap()
    }

    /// Pairs (x_0, x_1), `(n, 2)` each.
    pub fn pairs(&self, seed: u64, n: usize) -> (Tensor, Tensor) {
        let flow = self.flow();
        let (base, data) = (NoiseStream::new(seed, Stream::Base), NoiseStream::new(seed, Stream::Data));
        let x0 = (0..n as u64).flat_map(|i| {
            let mut noise = base.at(i);
            [self.sigma0 * noise.normal(), self.sigma0 * noise.normal()]
        });
        let x1 = (0..n as u64).flat_map(|i| flow.sample(&mut data.at(i)));
        let tensor = |values: Vec<f64>| Tensor::from_vec(values, (n, 2), &Device::Cpu).unwrap();
        (tensor(x0.collect()), tensor(x1.collect()))
    }

    /// The network with trainable parameters, all equal to `theta`.
    pub fn trainable(&self, theta: f64, n_steps: u32) -> (MixtureNet, Params) {
        self.build(ParamBuilder::trainable(filled(theta, &[2]), DType::F64, &Device::Cpu), &[2], n_steps)
    }

    /// The network with parameters of its own for each of `n` samples: one backward pass gives `n` gradients.
    pub fn trainable_per_sample(&self, theta: f64, n: usize, n_steps: u32) -> (MixtureNet, Params) {
        let builder = ParamBuilder::trainable(filled(theta, &[n, 2]), DType::F64, &Device::Cpu);
        self.build(builder, &[n, 2], n_steps)
    }

    /// The network off the tape.
    pub fn frozen(&self, theta: f64, n_steps: u32) -> MixtureNet {
        self.build(ParamBuilder::frozen(filled(theta, &[2]), DType::F64, &Device::Cpu), &[2], n_steps).0
    }

    fn build(&self, mut builder: ParamBuilder, shape: &[usize], n_steps: u32) -> (MixtureNet, Params) {
        let [shift, stretch, bend] = THETA.map(|name| builder.param(name, shape, Init::Zeros).unwrap());
        let log_weights: Vec<f64> = self.weights.iter().map(|w| w.ln()).collect();
        let table = |rows: &[[f64; 2]]| Tensor::from_slice(&rows.concat(), (rows.len(), 2), &Device::Cpu);
        let net = MixtureNet {
            path: self.path,
            sigma0: self.sigma0,
            log_weights: Tensor::new(log_weights, &Device::Cpu).unwrap().unsqueeze(1).unwrap(),
            means: table(&self.means).unwrap(),
            variances: table(&self.sds).unwrap().sqr().unwrap(),
            n_steps,
            shift,
            stretch,
            bend,
        };
        (net, builder.finish().unwrap())
    }
}

fn filled(theta: f64, shape: &[usize]) -> BTreeMap<String, Tensor> {
    THETA.map(|name| (name.to_owned(), Tensor::full(theta, shape, &Device::Cpu).unwrap())).into()
}

/// What every component contributes to a conditional mean; all but the first `(B, K, D)`.
pub struct Shares {
    /// The probability given I_t = x, `(B, K, 1)`.
    pub responsibility: Dual,
    /// E[İ_t | I_t = x] within the component.
    pub velocity: Dual,
}

impl MixtureNet {
    /// The components seen from x `(B, D)` at times t `(B, 1)`.
    pub fn shares(&self, t: &Dual, x: &Dual) -> Result<Shares> {
        let t = t.column(3)?;
        let constant = |tensor: &Tensor| Dual::constant(tensor.clone());
        let (means, lambda) = (constant(&self.means), constant(&self.variances));
        let ((alpha, beta), (alpha_dot, beta_dot)) = (self.path.coefficients(&t)?, self.path.rates(&t)?);
        let noise = self.sigma0.powi(2);
        let variance = alpha.sqr()?.scale(noise)?.add(&beta.sqr()?.mul(&lambda)?)?; // var_t
        let kappa = alpha.mul(&alpha_dot)?.scale(noise)?.add(&beta.mul(&beta_dot)?.mul(&lambda)?)?;
        let y = x.unsqueeze(1)?.sub(&beta.mul(&means)?)?;
        let scaled = y.div(&variance)?;
        let square = scaled.mul(&y)?.add(&variance.ln()?)?.sum_keepdim(2)?;
        let logits = square.scale(-0.5)?.add(&constant(&self.log_weights))?;
        Ok(Shares {
            responsibility: logits.softmax(1)?,
            velocity: beta_dot.mul(&means)?.add(&scaled.mul(&kappa)?)?,
        })
    }

    /// b_t(x) of the mixture, with t `(B, 1)`.
    fn exact_velocity(&self, t: &Dual, x: &Dual) -> Result<Dual> {
        let Shares { responsibility, velocity } = self.shares(t, x)?;
        Ok(responsibility.mul(&velocity)?.sum_keepdim(1)?.reshape(x.dims())?)
    }

    /// (1).
    fn exact_average(&self, s: &Dual, t: &Dual, x: &Dual) -> Result<Dual> {
        let width = t.sub(s)?;
        let slope =
            |h: f64, d: &Dual| self.exact_velocity(&s.add(&width.scale(h)?)?, &x.add(&width.mul(d)?)?);
        let mut d = x.scale(0.0)?;
        let length = 1.0 / f64::from(self.n_steps);
        for step in 0..self.n_steps {
            let start = f64::from(step) * length;
            let first = slope(start, &d)?;
            let mut extrapolated: Option<Dual> = None;
            for parts in PARTS {
                let part = length / f64::from(parts);
                let (mut before, mut now) = (d.clone(), d.add(&first.scale(part)?)?);
                for i in 1..parts {
                    let after = before.add(&slope(start + f64::from(i) * part, &now)?.scale(2.0 * part)?)?;
                    (before, now) = (now, after);
                }
                let weighed = now.scale(extrapolation_weight(parts))?;
                extrapolated = Some(match extrapolated {
                    Some(sum) => sum.add(&weighed)?,
                    None => weighed,
                });
            }
            d = extrapolated.unwrap();
        }
        Ok(d)
    }
}

/// Π n²/(n² − m²) over the other numbers of parts m: the value at zero of the polynomial in 1/n².
fn extrapolation_weight(parts: u32) -> f64 {
    let square = |n: u32| f64::from(n * n);
    let others = PARTS.iter().filter(|other| **other != parts);
    others.map(|other| square(parts) / (square(parts) - square(*other))).product()
}

/// Whether both are one time that nothing is differentiated in, where (1) is the velocity itself.
fn is_diagonal(s: &Dual, t: &Dual) -> Result<bool> {
    let differs = (s.primal() - t.primal())?.abs()?.sum_all()?.to_scalar::<f64>()?;
    Ok(differs == 0.0 && s.tangent().is_none() && t.tangent().is_none())
}

impl AverageVelocity for MixtureNet {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, _: Condition<'_>) -> Result<Dual> {
        let (s, t) = (s.column(2)?, t.column(2)?);
        let truth =
            if is_diagonal(&s, &t)? { self.exact_velocity(&t, x)? } else { self.exact_average(&s, &t, x)? };
        let theta = |tensor: &Tensor| Dual::from(tensor);
        let stretched = t.sub(&s)?.mul(x)?.mul(&theta(&self.stretch))?;
        let bent = x.add(&s)?.sin()?.mul(&theta(&self.bend))?;
        Ok(truth.add(&theta(&self.shift))?.add(&stretched)?.add(&bent)?) // (2)
    }
}

/// Whether the objective takes this interpolant.
pub fn applies(objective: &Objective, path: Path) -> bool {
    !matches!(objective, Objective::Scm(_)) || path == Path::Trigonometric
}

/// The losses of samples of the mixture for a model, with its own frozen copy for stopped terms.
pub fn losses(
    objective: &Objective,
    (model, frozen): (&dyn AverageVelocity, &dyn AverageVelocity),
    known: Option<&Teacher>,
    mixture: &Mixture,
    times: &Times,
) -> PerSample {
    let (x0, x1) = mixture.pairs(SEED, times.s.host().len());
    let interpolant = mixture.path.interpolant();
    let batch =
        Batch { x0: &x0, x1: &x1, condition: Condition::default(), interpolant: &interpolant, unit: 1.0 };
    let context = Context { teacher: known, ..Context::default() };
    objective
        .loss(&Pass::new(FlowMap::new(model), FlowMap::new(frozen), &batch, times).within(context))
        .unwrap()
}
