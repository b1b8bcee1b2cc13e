//! The flow to a one-dimensional target, by quantiles.
//!
//! In one dimension a flow keeps the order of its points, so X_{s,t} = F_t⁻¹ ∘ F_s, where F_t is the
//! distribution function of I_t. For a target made of normal and uniform parts F_t, ρ_t and b_t
//! have closed forms (module `part`), and F_t⁻¹ is found by Newton's method on ln F_t in a shrinking bracket,
//! in the lower or the upper tail, whichever is smaller.
//!
//! Tolerance: the root is found to rounding, so the error of X_{s,t}(x) is the error of F,
//! about 1e-15 F_t / ρ_t plus 1e-15 times the width of the distribution; large only where ρ_t is nearly 0.

use std::sync::Arc;

use super::part::{Local, Part};
use super::path::Instant;
use super::{ExactFlow, checked_dim, checked_sigma0, normalized};
use crate::{Error, Interpolant, Result};

/// Enough to bisect from 80 standard deviations to rounding, with Newton steps between.
const MAX_ITERATIONS: usize = 400;

/// From N(0, σ0²) to a one-dimensional mixture of normal and uniform parts.
///
/// ```
/// use flowmap_core::Linear;
/// use flowmap_core::exact::{ExactFlow, Part, QuantileFlow};
/// let flow = QuantileFlow::new(Linear, 1.0, &[(1.0, Part::Uniform { low: -1.0, high: 1.0 })])?;
/// // Φ(0.6745) = ¾, and ¾ of the target lies below ½.
/// let x1 = flow.flow_map(0.0, 1.0, &[0.674489750196])?;
/// assert!((x1[0] - 0.5).abs() < 1e-12);
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct QuantileFlow {
    interpolant: Arc<dyn Interpolant>,
    sigma0: f64,
    parts: Vec<(f64, Part)>,
}

/// Which tail a probability is counted from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Tail {
    Lower,
    Upper,
}

impl QuantileFlow {
    /// The flow for this interpolant, standard deviation of the base, and weighted parts of the target.
    ///
    /// Weights need not sum to 1.
    ///
    /// # Errors
    /// [`Error::NoComponents`], and [`Error::Parameter`] for a weight, a standard deviation, a length or σ0
    /// that is not positive and finite.
    pub fn new(interpolant: impl Interpolant + 'static, sigma0: f64, parts: &[(f64, Part)]) -> Result<Self> {
        let sigma0 = checked_sigma0(sigma0)?;
        if parts.is_empty() {
            return Err(Error::NoComponents);
        }
        let weights = normalized(parts.iter().map(|(weight, _)| *weight))?;
        for (_, part) in parts {
            part.validate()?;
        }
        let parts = weights.into_iter().zip(parts).map(|(weight, (_, part))| (weight, *part)).collect();
        let interpolant = Arc::new(interpolant);
        Ok(Self { interpolant, sigma0, parts })
    }

    fn at(&self, t: f64) -> Result<Instant> {
        Instant::at(t, &*self.interpolant, self.sigma0)
    }

    /// P(I_t < x) or P(I_t > x).
    fn probability(&self, at: &Instant, tail: Tail, x: f64) -> f64 {
        let of_part = |part: &Part| match tail {
            Tail::Lower => part.cdf(at, x),
            Tail::Upper => part.survival(at, x),
        };
        self.parts.iter().map(|(weight, part)| weight * of_part(part)).sum()
    }

    /// Density and flux with their derivatives.
    fn local(&self, t: f64, x: &[f64]) -> Result<Local> {
        checked_dim(1, x)?;
        self.sum(&self.at(t)?, x[0]).checked(t, x[0])
    }

    fn sum(&self, at: &Instant, x: f64) -> Local {
        let mut sum = Local::default();
        for (weight, part) in &self.parts {
            let local = part.local(at, x);
            sum.density += weight * local.density;
            sum.density_dx += weight * local.density_dx;
            sum.flux += weight * local.flux;
            sum.flux_dx += weight * local.flux_dx;
        }
        sum
    }

    /// The point beyond which the tail has probability p.
    fn quantile(&self, at: &Instant, tail: Tail, p: f64) -> f64 {
        let hulls = self.parts.iter().map(|(_, part)| part.hull(at));
        let (mut low, mut high) =
            hulls.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), hull| (l.min(hull.0), h.max(hull.1)));
        let width = high - low;
        let mut x = 0.5 * (low + high);
        let mut last_step = width;
        for _ in 0..MAX_ITERATIONS {
            let value = self.probability(at, tail, x);
            if value == p {
                return x;
            }
            if (value < p) == (tail == Tail::Lower) {
                low = x;
            } else {
                high = x;
            }
            let step = value * (value / p).ln() / self.sum(at, x).density;
            let newton = if tail == Tail::Lower { x - step } else { x + step };
            // A step that is not a number, leaves the bracket or does not halve gives way to bisection.
            let converges = low < newton && newton < high && step.abs() < 0.5 * last_step;
            let next = if converges { newton } else { 0.5 * (low + high) };
            last_step = (next - x).abs();
            x = next;
            if last_step <= f64::EPSILON * (x.abs() + 0.01 * width) {
                break;
            }
        }
        x
    }
}

impl ExactFlow for QuantileFlow {
    fn dim(&self) -> usize {
        1
    }

    fn velocity(&self, t: f64, x: &[f64]) -> Result<Vec<f64>> {
        let local = self.local(t, x)?;
        Ok(vec![local.flux / local.density])
    }

    fn velocity_vjp(&self, t: f64, x: &[f64], g: &[f64]) -> Result<Vec<f64>> {
        checked_dim(1, g)?;
        Ok(vec![self.divergence(t, x)? * g[0]])
    }

    fn divergence(&self, t: f64, x: &[f64]) -> Result<f64> {
        let local = self.local(t, x)?;
        let b_t = local.flux / local.density;
        Ok((local.flux_dx - b_t * local.density_dx) / local.density)
    }

    fn log_density(&self, t: f64, x: &[f64]) -> Result<f64> {
        Ok(self.local(t, x)?.density.ln())
    }

    fn score(&self, t: f64, x: &[f64]) -> Result<Vec<f64>> {
        let local = self.local(t, x)?;
        Ok(vec![local.density_dx / local.density])
    }

    fn flow_map(&self, s: f64, t: f64, x: &[f64]) -> Result<Vec<f64>> {
        let (from, to) = (self.at(s)?, self.at(t)?);
        checked_dim(1, x)?;
        if s == t {
            return Ok(x.to_vec());
        }
        let below = self.probability(&from, Tail::Lower, x[0]);
        let above = self.probability(&from, Tail::Upper, x[0]);
        let (tail, p) = if below <= above { (Tail::Lower, below) } else { (Tail::Upper, above) };
        let has_mass = p >= f64::MIN_POSITIVE;
        if !has_mass {
            return Err(Error::NoMass { t: s, x: x[0] });
        }
        Ok(vec![self.quantile(&to, tail, p)])
    }
}
