//! The three interpolants over duals, with quotients in which nothing cancels at t = s.
//!
//! The two on the circle are α = cos θ_t, β = sin θ_t; with Δ the difference from s to t,
//! Δβ/(t − s) = (Δ sin θ/Δθ) (Δθ/(t − s)), and by products of sines
//! Δ sin θ = 2 cos((θ_s + θ_t)/2) sin(Δθ/2),  Δ sin² θ = sin(θ_s + θ_t) sin Δθ,
//! Δ cos πt = −2 sin(π(s + t)/2) sin(π(t − s)/2).

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

use flowmap_core::InterpolantKind;
use flowmap_dual::Dual;
use flowmap_nn::Result;

/// An interpolant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Linear,
    Trigonometric,
    VariancePreserving,
}

impl Path {
    pub const ALL: [Self; 3] = [Self::Linear, Self::Trigonometric, Self::VariancePreserving];

    pub fn interpolant(self) -> InterpolantKind {
        match self {
            Self::Linear => InterpolantKind::Linear,
            Self::Trigonometric => InterpolantKind::Trigonometric,
            Self::VariancePreserving => InterpolantKind::VariancePreserving,
        }
    }

    /// θ_t and its derivative, for the interpolants on the circle.
    fn angle(self, t: &Dual) -> Result<(Dual, Dual)> {
        Ok(match self {
            Self::Linear | Self::Trigonometric => {
                (t.scale(FRAC_PI_2)?, Dual::constant(t.primal().ones_like()?).scale(FRAC_PI_2)?)
            }
            Self::VariancePreserving => {
                let pi_t = t.scale(PI)?;
                (pi_t.cos()?.scale(-FRAC_PI_4)?.shift(FRAC_PI_4)?, pi_t.sin()?.scale(PI * FRAC_PI_4)?)
            }
        })
    }

    /// α_t and β_t.
    pub fn coefficients(self, t: &Dual) -> Result<(Dual, Dual)> {
        if self == Self::Linear {
            return Ok((t.neg()?.shift(1.0)?, t.clone()));
        }
        let (theta, _) = self.angle(t)?;
        Ok((theta.cos()?, theta.sin()?))
    }

    /// The derivatives of α_t and β_t.
    pub fn rates(self, t: &Dual) -> Result<(Dual, Dual)> {
        if self == Self::Linear {
            let one = Dual::constant(t.primal().ones_like()?);
            return Ok((one.neg()?, one));
        }
        let (theta, rate) = self.angle(t)?;
        Ok((theta.sin()?.mul(&rate)?.neg()?, theta.cos()?.mul(&rate)?))
    }

    /// (β_t − β_s)/(t − s), (α_t² − α_s²)/(t − s) and (β_t² − β_s²)/(t − s).
    pub fn quotients(self, s: &Dual, t: &Dual) -> Result<(Dual, Dual, Dual)> {
        let (sum, half_width) = (s.add(t)?, t.sub(s)?.scale(FRAC_PI_2)?);
        let of_angle = match self {
            Self::Linear => {
                return Ok((Dual::constant(s.primal().ones_like()?), sum.shift(-2.0)?, sum));
            }
            Self::Trigonometric => Dual::constant(s.primal().ones_like()?).scale(FRAC_PI_2)?,
            Self::VariancePreserving => {
                let sine = sum.scale(FRAC_PI_2)?.sin()?;
                sine.mul(&sinc(&half_width)?)?.scale(PI * FRAC_PI_4)?
            }
        };
        let (from, to) = (self.angle(s)?.0, self.angle(t)?.0);
        let (p, z) = (from.add(&to)?, to.sub(&from)?);
        let beta = sinc(&z.scale(0.5)?)?.mul(&p.scale(0.5)?.cos()?)?.mul(&of_angle)?;
        let beta_squared = sinc(&z)?.mul(&p.sin()?)?.mul(&of_angle)?;
        Ok((beta, beta_squared.neg()?, beta_squared))
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
