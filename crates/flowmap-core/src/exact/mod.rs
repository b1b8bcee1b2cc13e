//! Flow maps that are known exactly, to test everything else against.
//!
//! The base is N(0, σ0² I), the target has a formula, I_t = α_t x_0 + β_t x_1 with x_0 and x_1 independent.
//! Then the density ρ_t of I_t, the velocity b_t(x) = E[İ_t | I_t = x] and the flow map
//! X_{s,t} of ẋ = b_t(x) are computed in f64:
//!
//! | target | b_t, ρ_t | X_{s,t} |
//! |---|---|---|
//! | [`GaussianFlow`] | closed form | closed form |
//! | [`MixtureFlow`] | closed form | adaptive integrator, tolerance stated |
//! | [`QuantileFlow`], one dimension | closed form | root of a distribution function, tolerance stated |
//! | [`GuidedFlow`], guided between two of them | closed form of b_t | adaptive integrator, tolerance stated |

mod covariance;
mod gaussian;
mod guided;
mod mixture;
mod part;
mod path;
mod quantile;

pub use covariance::{Axes, Covariance};
pub use gaussian::GaussianFlow;
pub use guided::GuidedFlow;
pub use mixture::{Component, MixtureFlow};
pub use part::Part;
pub use quantile::QuantileFlow;

use crate::{Error, Result};

/// A flow from noise to a target whose quantities are known exactly, or to a stated tolerance.
///
/// Points are slices of `dim` numbers, times lie in [0, 1], s and t come in any order.
///
/// # Errors
/// All methods: [`Error::Dimension`] for a point of another dimension,
/// [`Error::TimeOutOfRange`] for a time outside [0, 1],
/// [`Error::Degenerate`] where the distribution at that time has no density,
/// and [`Error::NoMass`] for a point where f64 cannot tell its density from 0.
/// [`ExactFlow::flow_map`] of a mixture also has the errors of the integrator.
pub trait ExactFlow {
    /// Dimension of the space.
    fn dim(&self) -> usize;

    /// b_t(x) = E[İ_t | I_t = x].
    fn velocity(&self, t: f64, x: &[f64]) -> Result<Vec<f64>>;

    /// ∇b_t(x)ᵀ g: what a reverse pass through the velocity needs; `g` has `dim` entries.
    fn velocity_vjp(&self, t: f64, x: &[f64], g: &[f64]) -> Result<Vec<f64>>;

    /// ∇·b_t(x).
    fn divergence(&self, t: f64, x: &[f64]) -> Result<f64>;

    /// ln ρ_t(x), where ρ_t is the density of I_t.
    fn log_density(&self, t: f64, x: &[f64]) -> Result<f64>;

    /// ∇ ln ρ_t(x).
    fn score(&self, t: f64, x: &[f64]) -> Result<Vec<f64>>;

    /// X_{s,t}(x): where the point that is x at time s is at time t.
    fn flow_map(&self, s: f64, t: f64, x: &[f64]) -> Result<Vec<f64>>;

    /// v_{s,t}(x) = (X_{s,t}(x) − x) / (t − s), and v_{t,t} = b_t, its limit.
    fn average_velocity(&self, s: f64, t: f64, x: &[f64]) -> Result<Vec<f64>> {
        if s == t {
            return self.velocity(t, x);
        }
        let x_st = self.flow_map(s, t, x)?;
        Ok(x_st.iter().zip(x).map(|(x_st, x)| (x_st - x) / (t - s)).collect())
    }
}

/// The standard deviation of the base, if it is one.
fn checked_sigma0(sigma0: f64) -> Result<f64> {
    checked_positive("sigma0", sigma0)
}

fn checked_positive(name: &'static str, value: f64) -> Result<f64> {
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    Err(Error::Parameter { name, expected: "positive and finite", found: value })
}

fn checked_finite(name: &'static str, value: f64) -> Result<f64> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Error::Parameter { name, expected: "finite", found: value })
    }
}

fn checked_dim(expected: usize, x: &[f64]) -> Result<()> {
    if x.len() == expected { Ok(()) } else { Err(Error::Dimension { expected, found: x.len() }) }
}

/// Weights divided by their sum.
fn normalized(weights: impl Iterator<Item = f64> + Clone) -> Result<Vec<f64>> {
    let mut sum = 0.0;
    for weight in weights.clone() {
        sum += checked_positive("weight", weight)?;
    }
    checked_positive("sum of weights", sum)?;
    Ok(weights.map(|weight| weight / sum).collect())
}
