//! Activation functions in f32 with their first two derivatives, as code that a compiler turns into vector instructions.
//!
//! No call to a math library, no branch, no fused multiply-add: every width of vector gives the same bits.

use crate::Activation;

/// f(x), f'(x), f''(x) of an activation.
pub(crate) trait Curve {
    /// The value and both derivatives; what is not used costs nothing once inlined.
    fn at(x: f32) -> (f32, f32, f32);
}

/// e^x within 2 ulp for |x| <= 87, clamped beyond: 2^n times a polynomial of the rest.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, so that n ln 2 is exact to more than f32.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 · 2^23 rounds to a whole number and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    // Minimax polynomial of (e^r − 1 − r)/r² on |r| <= ln 2 / 2, from Cephes.
    let p = 1.987_569_1e-4 * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 5.000_000_1e-1;
    let y = p * r * r + r + 1.0;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    y * scale
}

/// σ(x) = 1/(1 + e^−x) and 1 − σ(x), each with all its digits.
#[inline(always)]
fn sigmoid(x: f32) -> (f32, f32) {
    let e = exp(-x);
    let s = 1.0 / (1.0 + e);
    (s, e * s)
}

/// x σ(w) with w(x), its derivative w1 and second derivative w2: what GELU (tanh form) and SiLU have in common.
///
/// `c` is x clamped to where σ is neither 0 nor 1, so that no power of x overflows; w, w1 and w2 are taken there.
#[inline(always)]
fn gated(x: f32, c: f32, w: f32, w1: f32, w2: f32) -> (f32, f32, f32) {
    let (s, rest) = sigmoid(w);
    let slope = s * rest;
    let second = slope * (2.0 * w1 + c * w2 + c * w1 * w1 * (rest - s));
    (x * s, s + c * slope * w1, second)
}

/// (1 + tanh u)/2 = σ(2u) with u = √(2/π)(x + 0.044715 x³).
pub(crate) struct GeluTanh;

impl Curve for GeluTanh {
    #[inline(always)]
    fn at(x: f32) -> (f32, f32, f32) {
        const C: f32 = 1.595_769_1; // 2 √(2/π)
        const A: f32 = 0.044_715;
        let c = x.clamp(-30.0, 30.0);
        let square = c * c;
        gated(x, c, C * c * (1.0 + A * square), C * (1.0 + 3.0 * A * square), 6.0 * C * A * c)
    }
}

/// x σ(x).
pub(crate) struct Silu;

impl Curve for Silu {
    #[inline(always)]
    fn at(x: f32) -> (f32, f32, f32) {
        let c = x.clamp(-100.0, 100.0);
        gated(x, c, c, 1.0, 0.0)
    }
}

/// x Φ(x), Φ by the formula 7.1.26 of Abramowitz and Stegun, absolute error below 1.5e-7.
pub(crate) struct GeluErf;

impl Curve for GeluErf {
    #[inline(always)]
    fn at(x: f32) -> (f32, f32, f32) {
        const FRAC_1_SQRT_2PI: f32 = 0.398_942_3;
        let c = x.clamp(-30.0, 30.0);
        let y = c.abs() * std::f32::consts::FRAC_1_SQRT_2;
        let gauss = exp(-y * y);
        let t = 1.0 / (1.0 + 0.327_591_1 * y);
        let p = 1.061_405_4 * t - 1.453_152;
        let p = p * t + 1.421_413_7;
        let p = p * t - 0.284_496_74;
        let p = p * t + 0.254_829_6;
        let erf = (1.0 - p * t * gauss).copysign(c);
        let (cdf, pdf) = (0.5 * (1.0 + erf), FRAC_1_SQRT_2PI * gauss);
        (x * cdf, cdf + c * pdf, pdf * (2.0 - c * c))
    }
}

/// tanh x = 2σ(2x) − 1.
pub(crate) struct Tanh;

impl Curve for Tanh {
    #[inline(always)]
    fn at(x: f32) -> (f32, f32, f32) {
        let (s, rest) = sigmoid(2.0 * x);
        let y = 2.0 * s - 1.0;
        let slope = 4.0 * s * rest;
        (y, slope, -2.0 * y * slope)
    }
}

/// max(x, 0)².
pub(crate) struct ReluSquared;

impl Curve for ReluSquared {
    #[inline(always)]
    fn at(x: f32) -> (f32, f32, f32) {
        let positive = x.max(0.0);
        (positive * positive, 2.0 * positive, if x > 0.0 { 2.0 } else { 0.0 })
    }
}

/// x: no activation.
pub(crate) struct Identity;

impl Curve for Identity {
    #[inline(always)]
    fn at(x: f32) -> (f32, f32, f32) {
        (x, 1.0, 0.0)
    }
}

/// Something to do with a curve that is known at compile time.
pub(crate) trait WithCurve {
    /// Runs with the curve `C`.
    fn run<C: Curve>(self);
}

/// Runs `task` with the curve of `activation`.
pub(crate) fn with_curve(activation: Activation, task: impl WithCurve) {
    match activation {
        Activation::GeluTanh => task.run::<GeluTanh>(),
        Activation::GeluErf => task.run::<GeluErf>(),
        Activation::Silu => task.run::<Silu>(),
        Activation::Tanh => task.run::<Tanh>(),
        Activation::ReluSquared => task.run::<ReluSquared>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_right_to_a_few_units_in_the_last_place() {
        for i in -8600..=8600 {
            let x = i as f32 * 0.01;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 3e-7, "exp({x}) is off by {error:e}");
        }
    }

    #[test]
    fn extreme_arguments_stay_finite() {
        for x in [-1e30f32, -200.0, 200.0, 1e15] {
            for (f, f1, f2) in [GeluTanh::at(x), Silu::at(x), Tanh::at(x), GeluErf::at(x)] {
                assert!(f.is_finite() && f1.is_finite() && f2.is_finite(), "at {x}: {f} {f1} {f2}");
            }
        }
    }
}
