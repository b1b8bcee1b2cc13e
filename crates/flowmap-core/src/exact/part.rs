//! One part of a one-dimensional target, normal or uniform, blurred by the base.
//!
//! At time t the part is the law of I_t = α x_0 + β y with x_0 ~ N(0, σ0²) and y from the part.
//! Write s = α σ0 and z = (x − β y) / s, so x_0 = σ0 z. For y uniform on [low, high], with means over y,
//!
//! F_t(x) = ⟨Φ(z)⟩,  ρ_t(x) = ⟨φ(z)⟩ / s
//! j_t(x) = b_t(x) ρ_t(x) = ⟨(α̇ σ0 z + β̇ y) φ(z)⟩ / s
//! ρ_t′ = −⟨z φ⟩ / s²,  j_t′ = ⟨(α̇ σ0 (1 − z²) − β̇ y z) φ⟩ / s²
//!
//! As y runs over the part, z runs over [z_b, z_a] of length δ = β (high − low) / s.
//! Where δ is not small the means are differences of Φ, φ and their moments at the two ends;
//! where it is, those would cancel, and 8 Gauss–Legendre points are exact to rounding.

use super::path::Instant;
use super::{checked_finite, checked_positive};
use crate::{Error, Result, normal};

/// Nodes on [0, 1] of Gauss–Legendre quadrature with 8 points on [−1, 1]; the others mirror them.
const NODES: [f64; 4] =
    [0.183_434_642_495_649_8, 0.525_532_409_916_329, 0.796_666_477_413_626_7, 0.960_289_856_497_536_2];
/// Their weights, halved, so that all 8 sum to 1.
const WEIGHTS: [f64; 4] =
    [0.181_341_891_689_180_98, 0.156_853_322_938_943_64, 0.111_190_517_226_687_24, 0.050_614_268_145_188_13];

/// A part of a one-dimensional target.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// N(mean, std²).
    Normal {
        /// Mean of the Gaussian.
        mean: f64,
        /// Standard deviation of the Gaussian, positive.
        std: f64,
    },
    /// Uniform on [low, high].
    Uniform {
        /// Left end.
        low: f64,
        /// Right end, beyond the left one.
        high: f64,
    },
}

/// Density and flux of a part, with their derivatives in x.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Local {
    /// ρ_t.
    pub density: f64,
    /// ρ_t′.
    pub density_dx: f64,
    /// j_t = b_t ρ_t.
    pub flux: f64,
    /// j_t′.
    pub flux_dx: f64,
}

impl Part {
    pub(super) fn validate(&self) -> Result<()> {
        match *self {
            Self::Normal { mean, std } => {
                checked_finite("mean", mean)?;
                checked_positive("std", std)?;
            }
            Self::Uniform { low, high } => {
                checked_finite("low", low)?;
                checked_finite("high", high)?;
                checked_positive("high - low", high - low)?;
            }
        }
        Ok(())
    }

    /// P(I_t < x), precise in the lower tail.
    pub(super) fn cdf(&self, at: &Instant, x: f64) -> f64 {
        match *self {
            Self::Normal { mean, std } => normal::cdf((x - at.beta * mean) / sd(at, std)),
            Self::Uniform { low, high } => Blur::new(at, x, low, high).cdf(),
        }
    }

    /// P(I_t > x), precise in the upper tail.
    pub(super) fn survival(&self, at: &Instant, x: f64) -> f64 {
        match *self {
            Self::Normal { mean, std } => normal::cdf((at.beta * mean - x) / sd(at, std)),
            Self::Uniform { low, high } => Blur::new(at, -x, -high, -low).cdf(),
        }
    }

    pub(super) fn local(&self, at: &Instant, x: f64) -> Local {
        match *self {
            Self::Normal { mean, std } => normal_local(at, x, mean, std),
            Self::Uniform { low, high } => Blur::new(at, x, low, high).local(),
        }
    }

    /// An interval outside of which f64 sees no mass.
    pub(super) fn hull(&self, at: &Instant) -> (f64, f64) {
        const FAR: f64 = 40.0; // Φ(−40) = 0 in f64
        match *self {
            Self::Normal { mean, std } => {
                let (center, reach) = (at.beta * mean, FAR * sd(at, std));
                (center - reach, center + reach)
            }
            Self::Uniform { low, high } => {
                let reach = FAR * at.alpha * at.sigma0;
                (at.beta * low - reach, at.beta * high + reach)
            }
        }
    }
}

/// Standard deviation at this time; positive, as std is and α and β are never both 0.
fn sd(at: &Instant, std: f64) -> f64 {
    at.variance(std * std).sqrt()
}

fn normal_local(at: &Instant, x: f64, mean: f64, std: f64) -> Local {
    let sd = sd(at, std);
    let z = (x - at.beta * mean) / sd;
    let rate = at.half_variance_dot(std * std) / (sd * sd);
    let b_t = at.beta_dot * mean + rate * sd * z;
    let density = normal::pdf(z) / sd;
    let density_dx = -z * density / sd;
    Local { density, density_dx, flux: b_t * density, flux_dx: rate * density + b_t * density_dx }
}

/// A uniform part at one time, seen from one point.
struct Blur<'a> {
    at: &'a Instant,
    x: f64,
    low: f64,
    high: f64,
    /// s = α σ0, the width of the blur.
    s: f64,
}

impl<'a> Blur<'a> {
    fn new(at: &'a Instant, x: f64, low: f64, high: f64) -> Self {
        Self { at, x, low, high, s: at.alpha * at.sigma0 }
    }

    fn z(&self, y: f64) -> f64 {
        (self.x - self.at.beta * y) / self.s
    }

    fn mass(&self) -> f64 {
        self.at.beta * (self.high - self.low)
    }

    /// Whether the differences of the closed form would cancel.
    fn is_narrow(&self) -> bool {
        let middle = self.z(0.5 * (self.low + self.high)).abs();
        self.mass() / self.s * middle.max(1.0) < 1.0
    }

    fn cdf(&self) -> f64 {
        if self.s == 0.0 {
            return ((self.x / self.at.beta - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        }
        if self.is_narrow() {
            return self.mean(|_, z| normal::cdf(z));
        }
        // The integral of Φ is z Φ + φ.
        let integral = |z: f64| z * normal::cdf(z) + normal::pdf(z);
        let (z_a, z_b) = (self.z(self.low), self.z(self.high));
        ((integral(z_a) - integral(z_b)) * self.s / self.mass()).clamp(0.0, 1.0)
    }

    fn local(&self) -> Local {
        if self.s == 0.0 {
            self.local_of_data()
        } else if self.is_narrow() {
            self.local_of_narrow()
        } else {
            self.local_of_wide()
        }
    }

    /// At α = 0: I_t = β y, and x_0 does not depend on it, so b_t = β̇ y.
    fn local_of_data(&self) -> Local {
        let y = self.x / self.at.beta;
        if !(self.low..=self.high).contains(&y) {
            return Local::default();
        }
        let (density, rate) = (1.0 / self.mass(), self.at.beta_dot / self.at.beta);
        Local { density, density_dx: 0.0, flux: rate * self.x * density, flux_dx: rate * density }
    }

    fn local_of_narrow(&self) -> Local {
        let (drift, s) = (self.at.alpha_dot * self.at.sigma0, self.s);
        let beta_dot = self.at.beta_dot;
        let mean = |f: &dyn Fn(f64, f64) -> f64| self.mean(|y, z| f(y, z) * normal::pdf(z));
        Local {
            density: mean(&|_, _| 1.0) / s,
            density_dx: mean(&|_, z| -z) / (s * s),
            flux: mean(&|y, z| drift * z + beta_dot * y) / s,
            flux_dx: mean(&|y, z| drift * (1.0 - z * z) - beta_dot * y * z) / (s * s),
        }
    }

    /// By ∫φ = Φ, ∫zφ = −φ, ∫z²φ = Φ − zφ over [z_b, z_a], and y = (x − s z) / β.
    fn local_of_wide(&self) -> Local {
        let (drift, s, mass) = (self.at.alpha_dot * self.at.sigma0, self.s, self.mass());
        let (z_a, z_b) = (self.z(self.low), self.z(self.high));
        let (phi_a, phi_b) = (normal::pdf(z_a), normal::pdf(z_b));
        let zeroth = if z_b > 0.0 {
            normal::cdf(-z_b) - normal::cdf(-z_a)
        } else {
            normal::cdf(z_a) - normal::cdf(z_b)
        };
        let first = phi_b - phi_a;
        let second = zeroth - (z_a * phi_a - z_b * phi_b);
        let growth = self.at.beta_dot / self.at.beta;
        let y_zeroth = growth * (self.x * zeroth - s * first); // β̇ ∫ y φ
        let y_first = growth * (self.x * first - s * second); // β̇ ∫ y z φ
        Local {
            density: zeroth / mass,
            density_dx: -first / (mass * s),
            flux: (drift * first + y_zeroth) / mass,
            flux_dx: (drift * (zeroth - second) - y_first) / (mass * s),
        }
    }

    /// ⟨f(y, z)⟩ by quadrature.
    fn mean(&self, f: impl Fn(f64, f64) -> f64) -> f64 {
        let (middle, half) = (0.5 * (self.low + self.high), 0.5 * (self.high - self.low));
        let pair = |(node, weight): (&f64, &f64)| {
            let (left, right) = (middle - half * node, middle + half * node);
            weight * (f(left, self.z(left)) + f(right, self.z(right)))
        };
        NODES.iter().zip(&WEIGHTS).map(pair).sum()
    }
}

impl Local {
    /// The density, where f64 can hold it.
    pub(super) fn checked(self, t: f64, x: f64) -> Result<Self> {
        let holds = self.density >= f64::MIN_POSITIVE && self.density.is_finite();
        if holds { Ok(self) } else { Err(Error::NoMass { t, x }) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Linear, Trigonometric};

    const PART: Part = Part::Uniform { low: -0.3, high: 1.1 };

    #[test]
    fn quadrature_is_exact_for_degree_15() {
        let at = Instant::at(0.5, &Linear, 1.0).unwrap();
        let blur = Blur::new(&at, 0.0, 0.0, 1.0);
        for degree in 0..16 {
            let exact = 1.0 / f64::from(degree + 1);
            assert!((blur.mean(|y, _| y.powi(degree)) - exact).abs() < 1e-15);
        }
    }

    #[test]
    fn narrow_and_wide_formulas_agree_where_both_hold() {
        // Cancellation in the closed form costs about 1 / δ².
        const TOLERANCE: f64 = 1e-12;
        let mut n_compared = 0;
        for t in [0.1, 0.2, 0.3] {
            let at = Instant::at(t, &Trigonometric, 0.8).unwrap();
            for x in [-2.0, -0.5, 0.1, 0.9, 2.0] {
                let blur = Blur::new(&at, x, -0.3, 1.1);
                if !blur.is_narrow() {
                    continue;
                }
                n_compared += 1;
                let (narrow, wide) = (blur.local_of_narrow(), blur.local_of_wide());
                for (a, b) in [
                    (narrow.density, wide.density),
                    (narrow.density_dx, wide.density_dx),
                    (narrow.flux, wide.flux),
                    (narrow.flux_dx, wide.flux_dx),
                ] {
                    assert!((a - b).abs() < TOLERANCE, "t = {t}, x = {x}: {a} and {b}");
                }
            }
        }
        assert!(n_compared >= 10, "only {n_compared} points were narrow");
    }

    #[test]
    fn density_and_flux_have_their_derivatives() {
        const STEP: f64 = 1e-5;
        const TOLERANCE: f64 = 1e-8; // STEP² times a third derivative
        for part in [PART, Part::Normal { mean: 0.4, std: 0.3 }] {
            for t in [0.01, 0.2, 0.6, 0.9] {
                let at = Instant::at(t, &Linear, 1.0).unwrap();
                for x in [-1.0, -0.2, 0.3, 1.3] {
                    let slope = |f: &dyn Fn(f64) -> f64| (f(x + STEP) - f(x - STEP)) / (2.0 * STEP);
                    let local = part.local(&at, x);
                    for (found, exact) in [
                        (slope(&|x| part.cdf(&at, x)), local.density),
                        (slope(&|x| -part.survival(&at, x)), local.density),
                        (slope(&|x| part.local(&at, x).density), local.density_dx),
                        (slope(&|x| part.local(&at, x).flux), local.flux_dx),
                    ] {
                        let error = (found - exact).abs();
                        assert!(
                            error < TOLERANCE * (1.0 + exact.abs()) / (1.0 - t),
                            "{part:?} {t} {x}: {error:e}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn tails_sum_to_one_and_reach_the_ends_of_the_hull() {
        for t in [0.0, 1e-6, 0.1, 0.5, 0.999, 1.0] {
            let at = Instant::at(t, &Linear, 1.3).unwrap();
            for part in [PART, Part::Normal { mean: 0.4, std: 0.3 }] {
                for i in -30..=30 {
                    let x = f64::from(i) / 10.0;
                    let sum = part.cdf(&at, x) + part.survival(&at, x);
                    assert!((sum - 1.0).abs() < 1e-14, "{part:?} at t = {t}, x = {x}: {sum}");
                }
                let (low, high) = part.hull(&at);
                assert_eq!((part.cdf(&at, low), part.survival(&at, high)), (0.0, 0.0));
            }
        }
    }
}
