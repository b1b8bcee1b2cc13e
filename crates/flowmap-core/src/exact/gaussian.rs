//! The flow to a Gaussian of any mean and covariance, in closed form.
//!
//! X_{s,t}(x) = β_t m + V diag(sd_t / sd_s) Vᵀ (x − β_s m),  sd_t² = α_t² σ0² + β_t² λ
//!
//! with C = V diag(λ) Vᵀ; the other formulas are in the module `path`, where they are derived.
//! The map is affine and, as the covariances at all times commute, also the optimal one in W₂.

use std::sync::Arc;

use super::covariance::Covariance;
use super::path::{GaussianPath, Instant};
use super::{ExactFlow, checked_sigma0};
use crate::{Interpolant, Result};

/// From N(0, σ0² I) to N(m, C).
///
/// C may be singular: then X_{s,1} is still defined (it projects), while the density, the velocity
/// and maps that start at t = 1 are refused as degenerate.
///
/// ```
/// use flowmap_core::Linear;
/// use flowmap_core::exact::{Covariance, ExactFlow, GaussianFlow};
/// let covariance = Covariance::Full(vec![vec![1.0, 0.5], vec![0.5, 2.0]]);
/// let flow = GaussianFlow::new(Linear, 1.0, vec![3.0, -1.0], &covariance)?;
/// let x0 = [0.3, 0.7];
/// let x1 = flow.flow_map(0.0, 1.0, &x0)?;
/// let back = flow.flow_map(1.0, 0.0, &x1)?;
/// assert!((back[0] - x0[0]).abs() < 1e-14 && (back[1] - x0[1]).abs() < 1e-14);
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GaussianFlow {
    interpolant: Arc<dyn Interpolant>,
    sigma0: f64,
    path: GaussianPath,
}

impl GaussianFlow {
    /// The flow for this interpolant, standard deviation of the base, and mean and covariance of the target.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) unless σ0 is positive and the mean finite, and
    /// the errors of [`Covariance::validate`].
    pub fn new(
        interpolant: impl Interpolant + 'static,
        sigma0: f64,
        mean: Vec<f64>,
        covariance: &Covariance,
    ) -> Result<Self> {
        let sigma0 = checked_sigma0(sigma0)?;
        let interpolant = Arc::new(interpolant);
        Ok(Self { interpolant, sigma0, path: GaussianPath::new(mean, covariance)? })
    }

    fn at(&self, t: f64) -> Result<Instant> {
        Instant::at(t, &*self.interpolant, self.sigma0)
    }
}

impl ExactFlow for GaussianFlow {
    fn dim(&self) -> usize {
        self.path.dim()
    }

    fn velocity(&self, t: f64, x: &[f64]) -> Result<Vec<f64>> {
        self.path.velocity(&self.at(t)?, x)
    }

    fn velocity_vjp(&self, t: f64, x: &[f64], g: &[f64]) -> Result<Vec<f64>> {
        super::checked_dim(self.dim(), x)?;
        self.path.velocity_vjp(&self.at(t)?, g)
    }

    fn divergence(&self, t: f64, x: &[f64]) -> Result<f64> {
        super::checked_dim(self.dim(), x)?;
        self.path.divergence(&self.at(t)?)
    }

    fn log_density(&self, t: f64, x: &[f64]) -> Result<f64> {
        self.path.log_density(&self.at(t)?, x)
    }

    fn score(&self, t: f64, x: &[f64]) -> Result<Vec<f64>> {
        self.path.score(&self.at(t)?, x)
    }

    fn flow_map(&self, s: f64, t: f64, x: &[f64]) -> Result<Vec<f64>> {
        let (from, to) = (self.at(s)?, self.at(t)?);
        if s == t {
            super::checked_dim(self.dim(), x)?;
            return Ok(x.to_vec());
        }
        self.path.flow_map(&from, &to, x)
    }
}
