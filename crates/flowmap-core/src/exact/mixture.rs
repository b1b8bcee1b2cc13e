//! The flow to a mixture of Gaussians: velocity, density and score exact, the map by integration.
//!
//! With the quantities of each component k as in the module `path`:
//!
//! ρ_t = Σ_k w_k ρ_{t,k}
//! r_k(x) = w_k ρ_{t,k}(x) / ρ_t(x)
//! b_t(x) = Σ_k r_k(x) b_{t,k}(x)
//! ∇ ln ρ_t(x) = Σ_k r_k(x) ∇ ln ρ_{t,k}(x)
//! ∇b_tᵀ g = Σ_k r_k [ ∇b_{t,k}ᵀ g + (∇ ln ρ_{t,k} − ∇ ln ρ_t) (b_{t,k} · g) ]
//! ∇·b_t = Σ_k r_k [ ∇·b_{t,k} + (∇ ln ρ_{t,k} − ∇ ln ρ_t) · b_{t,k} ]
//!
//! the last two because ∇ r_k = r_k (∇ ln ρ_{t,k} − ∇ ln ρ_t).
//! X_{s,t} solves ẋ = b_t(x) by [`Dop853`], with rtol 1e-10 and atol 1e-12 σ0 a step unless told otherwise;
//! the error of the map is a small multiple of that, more where the flow stretches.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::covariance::Covariance;
use super::path::{GaussianPath, Instant};
use super::{ExactFlow, checked_dim, checked_sigma0, normalized};
use crate::{Dop853, Error, Interpolant, Noise, Result};

/// One Gaussian of a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Weight of the component, positive; weights need not sum to 1.
    pub weight: f64,
    /// Mean of the component, `(dim,)`.
    pub mean: Vec<f64>,
    /// Covariance of the component.
    pub covariance: Covariance,
}

/// From N(0, σ0² I) to Σ_k w_k N(m_k, C_k).
///
/// ```
/// use flowmap_core::Linear;
/// use flowmap_core::exact::{Component, Covariance, ExactFlow, MixtureFlow};
/// let component = |x: f64| Component {
///     weight: 1.0,
///     mean: vec![x, 0.0],
///     covariance: Covariance::Isotropic(0.2),
/// };
/// let flow = MixtureFlow::new(Linear, 1.0, &[component(-1.0), component(1.0)])?;
/// let x1 = flow.flow_map(0.0, 1.0, &[0.5, 0.0])?;
/// assert!((x1[0] - 1.0).abs() < 0.3); // the right half of the noise goes to the right component
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MixtureFlow {
    interpolant: Arc<dyn Interpolant>,
    sigma0: f64,
    weights: Vec<f64>,
    paths: Vec<GaussianPath>,
    solver: Dop853,
}

/// Contributions of all components at one point.
struct Share<'a> {
    /// r_k.
    responsibility: f64,
    path: &'a GaussianPath,
}

impl MixtureFlow {
    /// The flow for this interpolant, standard deviation of the base, and components of the target.
    ///
    /// # Errors
    /// [`Error::NoComponents`], [`Error::Dimension`] where means differ in length, [`Error::Parameter`] for
    /// a weight or σ0 that is not positive, and the errors of [`Covariance::validate`].
    pub fn new(
        interpolant: impl Interpolant + 'static,
        sigma0: f64,
        components: &[Component],
    ) -> Result<Self> {
        let sigma0 = checked_sigma0(sigma0)?;
        let first = components.first().ok_or(Error::NoComponents)?;
        let mut paths = Vec::with_capacity(components.len());
        for component in components {
            checked_dim(first.mean.len(), &component.mean)?;
            paths.push(GaussianPath::new(component.mean.clone(), &component.covariance)?);
        }
        let weights = normalized(components.iter().map(|component| component.weight))?;
        let interpolant = Arc::new(interpolant);
        Ok(Self { interpolant, sigma0, weights, paths, solver: Dop853::default().at_scale(sigma0) })
    }

    /// A flow whose map is integrated by another solver.
    pub fn with_solver(self, solver: Dop853) -> Self {
        Self { solver, ..self }
    }

    /// One sample of the target, x_1; takes 1 uniform and `dim` normals.
    pub fn sample(&self, noise: &mut Noise) -> Vec<f64> {
        let mut left = noise.uniform();
        let mut z = vec![0.0; self.dim()];
        noise.fill_normal(&mut z);
        let last = self.paths.len() - 1;
        for (weight, path) in self.weights[..last].iter().zip(&self.paths) {
            if left < *weight {
                return path.target_sample(z);
            }
            left -= weight;
        }
        self.paths[last].target_sample(z)
    }

    fn at(&self, t: f64) -> Result<Instant> {
        Instant::at(t, &*self.interpolant, self.sigma0)
    }

    /// ln ρ_t(x) and the responsibilities.
    fn shares(&self, at: &Instant, x: &[f64]) -> Result<(f64, Vec<Share<'_>>)> {
        let mut logs = Vec::with_capacity(self.paths.len());
        for (weight, path) in self.weights.iter().zip(&self.paths) {
            logs.push(weight.ln() + path.log_density(at, x)?);
        }
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().map(|log| (log - largest).exp()).sum();
        let share = |(log, path)| Share { responsibility: f64::exp(log - largest) / sum, path };
        Ok((largest + sum.ln(), logs.into_iter().zip(&self.paths).map(share).collect()))
    }

    /// Σ_k r_k f_k.
    fn average(
        &self,
        at: &Instant,
        x: &[f64],
        f: impl Fn(&GaussianPath) -> Result<Vec<f64>>,
    ) -> Result<Vec<f64>> {
        let mut average = vec![0.0; self.dim()];
        for share in self.shares(at, x)?.1 {
            for (sum, value) in average.iter_mut().zip(f(share.path)?) {
                *sum += share.responsibility * value;
            }
        }
        Ok(average)
    }
}

impl ExactFlow for MixtureFlow {
    fn dim(&self) -> usize {
        self.paths[0].dim()
    }

    fn velocity(&self, t: f64, x: &[f64]) -> Result<Vec<f64>> {
        let at = self.at(t)?;
        self.average(&at, x, |path| path.velocity(&at, x))
    }

    fn velocity_vjp(&self, t: f64, x: &[f64], g: &[f64]) -> Result<Vec<f64>> {
        checked_dim(self.dim(), g)?;
        let at = self.at(t)?;
        let shares = self.shares(&at, x)?.1;
        let score_k = shares.iter().map(|share| share.path.score(&at, x)).collect::<Result<Vec<_>>>()?;
        let mut score = vec![0.0; self.dim()];
        for (share, score_k) in shares.iter().zip(&score_k) {
            score.iter_mut().zip(score_k).for_each(|(sum, s_k)| *sum += share.responsibility * s_k);
        }
        let mut vjp = vec![0.0; self.dim()];
        for (share, score_k) in shares.iter().zip(&score_k) {
            let b_k = share.path.velocity(&at, x)?;
            let b_dot_g: f64 = b_k.iter().zip(g).map(|(b, g)| b * g).sum();
            let straight = share.path.velocity_vjp(&at, g)?;
            for (i, sum) in vjp.iter_mut().enumerate() {
                *sum += share.responsibility * (straight[i] + (score_k[i] - score[i]) * b_dot_g);
            }
        }
        Ok(vjp)
    }

    fn divergence(&self, t: f64, x: &[f64]) -> Result<f64> {
        let at = self.at(t)?;
        let score = self.average(&at, x, |path| path.score(&at, x))?;
        let mut divergence = 0.0;
        for share in self.shares(&at, x)?.1 {
            let (b_k, score_k) = (share.path.velocity(&at, x)?, share.path.score(&at, x)?);
            let tilt: f64 = b_k.iter().zip(&score_k).zip(&score).map(|((b, s_k), s)| b * (s_k - s)).sum();
            divergence += share.responsibility * (share.path.divergence(&at)? + tilt);
        }
        Ok(divergence)
    }

    fn log_density(&self, t: f64, x: &[f64]) -> Result<f64> {
        Ok(self.shares(&self.at(t)?, x)?.0)
    }

    fn score(&self, t: f64, x: &[f64]) -> Result<Vec<f64>> {
        let at = self.at(t)?;
        self.average(&at, x, |path| path.score(&at, x))
    }

    fn flow_map(&self, s: f64, t: f64, x: &[f64]) -> Result<Vec<f64>> {
        checked_dim(self.dim(), x)?;
        let (s, t) = (self.at(s)?.t, self.at(t)?.t);
        let b = |time: f64, x: &[f64], x_dot: &mut [f64]| {
            // The last stage may round to a hair outside [0, 1].
            x_dot.copy_from_slice(&self.velocity(time.clamp(0.0, 1.0), x)?);
            Ok(())
        };
        self.solver.integrate(b, s, t, x)
    }
}
