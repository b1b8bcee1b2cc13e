//! Muon: momentum made orthogonal, for the matrices; Adam for everything else.
//!
//! M ← μ M + G,  W ← (1 − lr λ) W − lr · 0.2 √max(d_out, d_in) · NS(G + μ M)        (1)
//!
//! NS brings the singular values of its argument close to one, by Newton-Schulz iterations from X = M/|M|:
//!
//! X ← a X + (b A + c A²) X,  A = X Xᵀ,  (a, b, c) = (3.4445, −4.7750, 2.0315)        (2)
//!
//! Jordan and others 2024, "Muon: an optimizer for hidden layers in neural networks", with its Nesterov momentum, five
//! iterations and coefficients; the factor in (1) is that of Liu and others 2025, arXiv:2502.16982, eq. (4): it makes
//! an update as large as one of Adam, so that both take the same learning rate.
//! A direction that the gradient has little of moves as far as one that it has much of, which is what small networks
//! on Fourier features want: their gradients are of low rank.
//! Cost: 15 products of the matrix with itself; the matrices go side by side over the threads.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use flowmap_dual::cuda::{AdamRule, Clip, GradientNorm};
use flowmap_dual::host::filled_like;
use rayon::prelude::*;

use super::Optimizer;
use super::inplace::lerp;
use super::moments::{Moments, check_constants};
use crate::params::take_like;
use crate::{Ema, Error, Params, Result};

/// Iterations of (2), and its coefficients.
const N_ITERATIONS: u32 = 5;
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// Matrices with a side shorter than this are left to Adam: they have too few singular values to balance.
const SHORTEST_SIDE: usize = 8;

/// The constants of [`Muon`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MuonConstants {
    /// μ, the decay of the momentum.
    pub momentum: f64,
    /// λ, decoupled weight decay, per unit of learning rate, for all parameters.
    pub weight_decay: f64,
    /// β₁, β₂ and eps of Adam, for the other parameters.
    pub adam: (f64, f64, f64),
}

impl MuonConstants {
    /// Checks every constant.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        let Self { momentum, weight_decay, adam: (beta1, beta2, eps) } = *self;
        if !(0.0..1.0).contains(&momentum) {
            let expected = "a number from 0 to 1, 1 excluded";
            return Err(Error::OutOfRange { key: "momentum", expected, found: momentum });
        }
        check_constants(beta1, beta2, eps, weight_decay)
    }
}

/// Muon for the matrices, Adam for everything else.
///
/// A matrix is a parameter `*.weight` of two dimensions of at least eight, or of more dimensions,
/// taken as `(d_out, the rest)`; embeddings are excluded.
#[derive(Debug)]
pub struct Muon {
    constants: MuonConstants,
    matrices: Vec<Matrix>,
    rest: Moments,
}

/// A parameter and its momentum.
#[derive(Debug)]
struct Matrix {
    name: String,
    theta: Var,
    momentum: Tensor,
}

/// Whether Muon moves the parameter `name`.
fn is_matrix(name: &str, theta: &Tensor) -> bool {
    let d_out = theta.dims().first().copied().unwrap_or(1);
    let shortest = d_out.min(theta.elem_count() / d_out.max(1));
    theta.rank() >= 2 && shortest >= SHORTEST_SIDE && name.ends_with("weight") && !name.contains("embedding")
}

impl Muon {
    /// Zero momentum for every matrix, zero moments for every other parameter.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a bad constant, [`Error::OptimizerDType`] for matrices other than f32 and f64.
    pub fn new(params: &Params, constants: MuonConstants) -> Result<Self> {
        constants.validate()?;
        let (matrices, rest): (Vec<_>, Vec<_>) =
            params.vars().iter().partition(|(name, theta)| is_matrix(name, theta));
        let matrix = |(name, theta): (&String, &Var)| match theta.dtype() {
            DType::F32 | DType::F64 => {
                Ok(Matrix { name: name.clone(), theta: theta.clone(), momentum: theta.zeros_like()? })
            }
            other => Err(Error::OptimizerDType(other)),
        };
        let matrices = matrices.into_iter().map(matrix).collect::<Result<_>>()?;
        Ok(Self { constants, matrices, rest: Moments::of(rest)? })
    }
}

/// NS, eq. (2).
fn orthogonal(m: &Tensor) -> candle_core::Result<Tensor> {
    let [a, b, c] = COEFFICIENTS;
    // The norm stays on its device; a zero matrix gets the smallest positive number as its norm.
    let norm = m.sqr()?.sum_all()?.sqrt()?;
    let norm = norm.maximum(&filled_like(&norm, f32::MIN_POSITIVE.into())?)?;
    let is_tall = m.dim(0)? > m.dim(1)?;
    let mut x = (if is_tall { m.t()?.contiguous()? } else { m.clone() }).broadcast_div(&norm)?;
    for _ in 0..N_ITERATIONS {
        let square = x.matmul(&x.t()?)?; // A
        let polynomial = ((&square * b)? + (square.matmul(&square)? * c)?)?;
        x = ((&x * a)? + polynomial.matmul(&x)?)?;
    }
    if is_tall { x.t()?.contiguous() } else { Ok(x) }
}

impl Matrix {
    /// Moves the matrix by (1); the momentum takes its new value. With a clip that is not finite nothing changes.
    fn step(
        &self,
        gradient: &Tensor,
        rate: f64,
        keep: f64,
        momentum: f64,
        clip: Option<&Clip>,
    ) -> candle_core::Result<()> {
        let m = ((&self.momentum * momentum)? + gradient)?;
        let direction = (gradient + (&m * momentum)?)?.flatten_from(1)?;
        let (d_out, d_in) = direction.dims2()?;
        let rate = rate * 0.2 * (d_out.max(d_in) as f64).sqrt();
        let update = (orthogonal(&direction)?.reshape(self.theta.shape())? * rate)?;
        let theta = self.theta.as_detached_tensor();
        let moved = ((&theta * keep)? - update)?;
        let (m, moved) = match clip {
            None => (m, moved),
            Some(clip) => (clip.choose(&m, &self.momentum)?, clip.choose(&moved, &theta)?),
        };
        self.momentum.slice_set(&m, 0, 0)?;
        self.theta.set(&moved)
    }

    /// Moves an average toward the matrix, as [`lerp`] does; with a clip that is not finite it stays.
    fn follow(&self, average: &Tensor, decay: f64, clip: Option<&Clip>) -> Result<()> {
        let Some(clip) = clip else { return lerp(average, &self.theta, decay) };
        let moved = ((average * decay)? + (self.theta.as_detached_tensor() * (1.0 - decay))?)?;
        // A copy: what is written must not be what is read.
        Ok(average.slice_set(&clip.choose(&moved, &average.copy()?)?, 0, 0)?)
    }
}

impl Muon {
    /// One update, clipped by a norm that a device keeps if there is one.
    fn advance(
        &mut self,
        gradients: &GradStore,
        lr: f64,
        gradient_scale: f64,
        averages: &mut [Ema],
        norm: Option<&GradientNorm>,
    ) -> Result<()> {
        let MuonConstants { momentum, weight_decay, adam: (beta1, beta2, eps) } = self.constants;
        let keep = 1.0 - lr * weight_decay;
        let clip = norm.map(GradientNorm::clip).transpose()?.flatten();
        let step = |matrix: &Matrix| -> Result<()> {
            let Some(gradient) = gradients.get(&matrix.theta) else { return Ok(()) };
            let gradient = match &clip {
                None => (gradient.detach() * gradient_scale)?,
                Some(clip) => clip.apply(&gradient.detach())?,
            };
            Ok(matrix.step(&gradient, lr, keep, momentum, clip.as_ref())?)
        };
        self.matrices.par_iter().map(step).collect::<Result<()>>()?;
        for matrix in &self.matrices {
            for (average, decay) in averages.iter().filter_map(|ema| ema.follower(&matrix.name)) {
                matrix.follow(average, decay, clip.as_ref())?;
            }
        }
        let k = self.rest.next_step();
        let (bias1, bias2) = (1.0 - beta1.powf(k), 1.0 - beta2.powf(k));
        let root = Some(bias2.sqrt());
        let rule = AdamRule { beta1, beta2, gradient_scale, rate: lr / bias1, root, eps, keep };
        self.rest.step(&rule, gradients, averages, norm) // counts the update of the averages
    }
}

impl Optimizer for Muon {
    fn step_and_average(
        &mut self,
        gradients: &GradStore,
        lr: f64,
        gradient_scale: f64,
        averages: &mut [Ema],
    ) -> Result<()> {
        self.advance(gradients, lr, gradient_scale, averages, None)
    }

    fn step_clipped(
        &mut self,
        gradients: &GradStore,
        lr: f64,
        norm: &GradientNorm,
        averages: &mut [Ema],
    ) -> Result<()> {
        if !norm.is_on_host() {
            return self.advance(gradients, lr, 1.0, averages, Some(norm));
        }
        match norm.factor()? {
            Some(factor) => self.advance(gradients, lr, factor, averages, None),
            None => Ok(()),
        }
    }

    fn n_steps(&self) -> u64 {
        self.rest.n_steps()
    }

    fn uncount_step(&mut self) {
        self.rest.uncount_step();
    }

    fn state(&self) -> BTreeMap<String, Tensor> {
        let mut state = self.rest.state();
        state.extend(self.matrices.iter().map(|m| (format!("first.{}", m.name), m.momentum.clone())));
        state
    }

    fn restore(&mut self, mut state: BTreeMap<String, Tensor>, n_steps: u64) -> Result<()> {
        let take = |m: &Matrix| take_like(&mut state, &format!("first.{}", m.name), &m.momentum);
        let momenta = self.matrices.iter().map(take).collect::<Result<Vec<_>>>()?;
        self.rest.restore(state, n_steps)?;
        self.matrices.iter_mut().zip(momenta).for_each(|(matrix, momentum)| matrix.momentum = momentum);
        Ok(())
    }
}
