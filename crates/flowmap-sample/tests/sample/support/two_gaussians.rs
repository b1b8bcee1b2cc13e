//! The velocity from N(0, σ0² I) to two Gaussians N(±m, sd² I) along the linear interpolant, in closed form.
//!
//! b_t(x) = (κ/var) x + (1 − t κ/var) m tanh(t m·x / var),  var = (1 − t)² σ0² + t² sd²,  κ = t sd² − (1 − t) σ0²
//!
//! since m tanh(t m·x / var) is the mean of the center given I_t = x.
#![allow(clippy::unwrap_used)]

use candle_core::Tensor;
use flowmap_core::exact::{Component, Covariance, MixtureFlow};
use flowmap_core::{Dop853, Linear};
use flowmap_dual::Dual;
use flowmap_nn::{AverageVelocity, Condition, Result};

use super::exact_gaussian::{SD, SIGMA0};

const CENTER: [f64; 2] = [0.7, 0.4];

/// The network that computes b_t exactly; it knows no jumps.
pub struct TwoGaussians;

impl AverageVelocity for TwoGaussians {
    fn average_velocity(&self, _s: &Dual, t: &Dual, x: &Dual, _: Condition<'_>) -> Result<Dual> {
        let t = t.column(2)?;
        let (alpha, m) = (t.neg()?.shift(1.0)?, Dual::constant(Tensor::new(&CENTER, x.device())?));
        let (noise, data) = (alpha.scale(SIGMA0.powi(2))?, t.scale(SD.powi(2))?);
        let var = alpha.mul(&noise)?.add(&t.mul(&data)?)?;
        let rate = data.sub(&noise)?.div(&var)?; // κ/var
        let center = x.mul(&m)?.sum_keepdim(1)?.mul(&t)?.div(&var)?.tanh()?.mul(&m)?;
        let rest = t.mul(&rate)?.neg()?.shift(1.0)?;
        Ok(x.mul(&rate)?.add(&center.mul(&rest)?)?)
    }
}

/// The same flow from another hand, its map integrated to a few units in the 13th digit.
pub fn reference() -> MixtureFlow {
    let at = |sign: f64| Component {
        weight: 1.0,
        mean: CENTER.map(|c| sign * c).to_vec(),
        covariance: Covariance::Isotropic(SD),
    };
    let flow = MixtureFlow::new(Linear, SIGMA0, &[at(-1.0), at(1.0)]).unwrap();
    flow.with_solver(Dop853::new(1e-13, 1e-14).unwrap())
}
