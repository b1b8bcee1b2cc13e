//! The flow map from N(0, σ0² I) to N(m, sd² I) along the linear interpolant, in closed form.
//!
//! X_{s,t}(x) = t m + (sd_t / sd_s)(x − s m),  sd_t² = (1 − t)² σ0² + t² sd²
//! v_{s,t}(x) = m + (x − s m) ((s + t) sd² − (2 − s − t) σ0²) / (sd_s (sd_s + sd_t)), without a quotient by t − s
#![allow(clippy::unwrap_used)]

use candle_core::Tensor;
use flowmap_core::exact::{Covariance, GaussianFlow};
use flowmap_core::{Linear, NoiseStream, Stream};
use flowmap_dual::Dual;
use flowmap_nn::{AverageVelocity, Condition, Result};

pub const MEAN: f64 = 1.2;
pub const SD: f64 = 0.4;
pub const SIGMA0: f64 = 0.9;
pub const DIM: usize = 2;

/// The network that computes v_{s,t} exactly.
pub struct ExactGaussian;

impl AverageVelocity for ExactGaussian {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, _: Condition<'_>) -> Result<Dual> {
        let (s, t) = (s.column(2)?, t.column(2)?);
        let sd_at = |time: &Dual| -> Result<Dual> {
            let noise = time.neg()?.shift(1.0)?.scale(SIGMA0)?;
            Ok(noise.sqr()?.add(&time.scale(SD)?.sqr()?)?.sqrt()?)
        };
        let (sd_s, sd_t, sum) = (sd_at(&s)?, sd_at(&t)?, s.add(&t)?);
        let d_variance = sum.scale(SD.powi(2))?.add(&sum.shift(-2.0)?.scale(SIGMA0.powi(2))?)?;
        let stretch = d_variance.div(&sd_s.mul(&sd_s.add(&sd_t)?)?)?;
        Ok(x.sub(&s.scale(MEAN)?)?.mul(&stretch)?.shift(MEAN)?)
    }
}

/// The same flow, from another hand.
pub fn reference() -> GaussianFlow {
    GaussianFlow::new(Linear, SIGMA0, vec![MEAN; DIM], &Covariance::Isotropic(SD)).unwrap()
}

/// `n` standard normal points in f64, `(n, DIM)`.
pub fn normals(stream: Stream, n: usize) -> Tensor {
    let mut values = vec![0.0; n * DIM];
    NoiseStream::new(4, stream).at(0).fill_normal(&mut values);
    Tensor::from_vec(values, (n, DIM), &candle_core::Device::Cpu).unwrap()
}
