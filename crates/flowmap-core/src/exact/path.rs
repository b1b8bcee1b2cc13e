//! The path of one Gaussian: I_t = α_t x_0 + β_t x_1 with x_0 ~ N(0, σ0² I) and x_1 ~ N(m, C).
//!
//! In the eigenbasis of C = V diag(λ) Vᵀ all directions are independent. With y = Vᵀ (x − β_t m):
//!
//! var_t(λ) = α² σ0² + β² λ,  half of its derivative κ_t(λ) = α α̇ σ0² + β β̇ λ
//! ln ρ_t(x) = −½ Σ_i [ y_i² / var_i + ln 2π var_i ]
//! ∇ ln ρ_t(x) = −V (y / var)
//! b_t(x) = β̇ m + V (y κ / var)
//! ∇b_t = V diag(κ / var) Vᵀ, which is symmetric
//! ∇·b_t = Σ_i κ_i / var_i
//! X_{s,t}(x) = β_t m + V (sd_t / sd_s) Vᵀ (x − β_s m)
//!
//! b_t is E[İ_t | I_t = x] for jointly Gaussian İ_t and I_t, whose covariance is V diag(κ) Vᵀ,
//! and X solves ẏ = (κ / var) y = (d ln sd / dt) y.

use std::f64::consts::TAU;

use super::covariance::{Axes, Covariance};
use super::{checked_dim, checked_finite};
use crate::times::checked;
use crate::{Error, Interpolant, Result};

/// The interpolant and the base at one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instant {
    pub t: f64,
    pub alpha: f64,
    pub beta: f64,
    pub alpha_dot: f64,
    pub beta_dot: f64,
    pub sigma0: f64,
}

impl Instant {
    pub fn at(t: f64, interpolant: &dyn Interpolant, sigma0: f64) -> Result<Self> {
        let t = checked("t", t)?;
        Ok(Self {
            t,
            alpha: interpolant.alpha(t),
            beta: interpolant.beta(t),
            alpha_dot: interpolant.alpha_dot(t),
            beta_dot: interpolant.beta_dot(t),
            sigma0,
        })
    }

    /// var_t(λ); may be 0, at the data of a degenerate Gaussian.
    pub fn variance(&self, lambda: f64) -> f64 {
        (self.alpha * self.sigma0).powi(2) + self.beta * self.beta * lambda
    }

    /// var_t(λ), unless it is 0.
    pub fn density_variance(&self, lambda: f64) -> Result<f64> {
        let variance = self.variance(lambda);
        if variance > 0.0 { Ok(variance) } else { Err(Error::Degenerate { t: self.t }) }
    }

    /// κ_t(λ).
    pub fn half_variance_dot(&self, lambda: f64) -> f64 {
        self.alpha * self.alpha_dot * self.sigma0.powi(2) + self.beta * self.beta_dot * lambda
    }
}

/// Mean and decomposed covariance of the target.
#[derive(Debug, Clone)]
pub(super) struct GaussianPath {
    mean: Vec<f64>,
    axes: Axes,
}

impl GaussianPath {
    pub fn new(mean: Vec<f64>, covariance: &Covariance) -> Result<Self> {
        for coordinate in &mean {
            checked_finite("coordinate of the mean", *coordinate)?;
        }
        let axes = covariance.axes(mean.len())?;
        Ok(Self { mean, axes })
    }

    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    pub fn velocity(&self, at: &Instant, x: &[f64]) -> Result<Vec<f64>> {
        let mut y = self.centered(at, x)?;
        for (y, lambda) in y.iter_mut().zip(&self.axes.variances) {
            *y *= at.half_variance_dot(*lambda) / at.density_variance(*lambda)?;
        }
        Ok(self.shifted(at.beta_dot, &y))
    }

    /// ∇b_tᵀ g.
    pub fn velocity_vjp(&self, at: &Instant, g: &[f64]) -> Result<Vec<f64>> {
        checked_dim(self.dim(), g)?;
        let mut y = self.rotated(g.to_vec());
        for (y, lambda) in y.iter_mut().zip(&self.axes.variances) {
            *y *= at.half_variance_dot(*lambda) / at.density_variance(*lambda)?;
        }
        Ok(self.shifted(0.0, &y))
    }

    pub fn divergence(&self, at: &Instant) -> Result<f64> {
        let rate = |lambda: &f64| Ok(at.half_variance_dot(*lambda) / at.density_variance(*lambda)?);
        self.axes.variances.iter().map(rate).sum()
    }

    pub fn log_density(&self, at: &Instant, x: &[f64]) -> Result<f64> {
        let y = self.centered(at, x)?;
        let mut sum = 0.0;
        for (y, lambda) in y.iter().zip(&self.axes.variances) {
            let variance = at.density_variance(*lambda)?;
            sum += y * y / variance + (TAU * variance).ln();
        }
        Ok(-0.5 * sum)
    }

    pub fn score(&self, at: &Instant, x: &[f64]) -> Result<Vec<f64>> {
        let mut y = self.centered(at, x)?;
        for (y, lambda) in y.iter_mut().zip(&self.axes.variances) {
            *y /= -at.density_variance(*lambda)?;
        }
        Ok(self.shifted(0.0, &y))
    }

    pub fn flow_map(&self, from: &Instant, to: &Instant, x: &[f64]) -> Result<Vec<f64>> {
        let mut y = self.centered(from, x)?;
        for (y, lambda) in y.iter_mut().zip(&self.axes.variances) {
            *y *= (to.variance(*lambda) / from.density_variance(*lambda)?).sqrt();
        }
        Ok(self.shifted(to.beta, &y))
    }

    /// m + V diag(√λ) z for standard normal z.
    pub fn target_sample(&self, mut z: Vec<f64>) -> Vec<f64> {
        for (z, lambda) in z.iter_mut().zip(&self.axes.variances) {
            *z *= lambda.sqrt();
        }
        self.shifted(1.0, &z)
    }

    /// y = Vᵀ (x − β m).
    fn centered(&self, at: &Instant, x: &[f64]) -> Result<Vec<f64>> {
        checked_dim(self.dim(), x)?;
        let offset: Vec<f64> = x.iter().zip(&self.mean).map(|(x, m)| x - at.beta * m).collect();
        Ok(self.rotated(offset))
    }

    /// Vᵀ x.
    fn rotated(&self, x: Vec<f64>) -> Vec<f64> {
        match &self.axes.directions {
            None => x,
            Some(rows) => rows
                .chunks_exact(x.len().max(1))
                .map(|v| v.iter().zip(&x).map(|(v, x)| v * x).sum())
                .collect(),
        }
    }

    /// c m + V y.
    fn shifted(&self, c: f64, y: &[f64]) -> Vec<f64> {
        let mut x: Vec<f64> = self.mean.iter().map(|m| c * m).collect();
        match &self.axes.directions {
            None => x.iter_mut().zip(y).for_each(|(x, y)| *x += y),
            Some(rows) => {
                for (v, y) in rows.chunks_exact(x.len().max(1)).zip(y) {
                    x.iter_mut().zip(v).for_each(|(x, v)| *x += y * v);
                }
            }
        }
        x
    }
}
