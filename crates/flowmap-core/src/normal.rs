//! The standard normal distribution in f64: density, distribution function, quantiles.
//!
//! [`quantile`] is Wichura's PPND16 (1988, Applied Statistics 37, algorithm AS 241),
//! a ratio of polynomials in q = p − ½ near the median and in r = √(−ln min(p, 1 − p)) in the tails.
//! The approximation uses only +, −, ×, / and √, with a logarithm of our own, so that its bits are the same
//! on every platform that has IEEE 754 doubles; the noise streams are built on it.
//!
//! [`cdf`] is φ(x) times Mills' ratio, whose product with 1 + x is a Chebyshev series in
//! y = (x − 5) / (x + 5), which takes 0 ≤ x ≤ ∞ to −1 ≤ y ≤ 1 (the form of Shepherd and Laframboise 1981,
//! Mathematics of Computation 36; the coefficients are our own, computed with 50 digits).

/// √(2π).
const SQRT_TAU: f64 = 2.506_628_274_631_000_5;

/// Boundary of the central region, |p − ½| ≤ 0.425.
const CENTRAL: f64 = 0.425;
/// Boundary between the near and the far tail, in r.
const FAR: f64 = 5.0;

/// Numerator and denominator of the central region, highest power first.
const CENTRAL_RATIO: [[f64; 8]; 2] = [
    [
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ],
    [
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ],
];

/// Numerator and denominator of the near tail, highest power first.
const NEAR_RATIO: [[f64; 8]; 2] = [
    [
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ],
    [
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ],
];

/// Numerator and denominator of the far tail, highest power first.
const FAR_RATIO: [[f64; 8]; 2] = [
    [
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580e0,
        5.46378491116411436990e0,
        6.65790464350110377720e0,
    ],
    [
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ],
];

/// Chebyshev coefficients of (1 + x) Φ(−x) / φ(x) in y = (x − 5) / (x + 5), lowest degree first.
const MILLS: [f64; 24] = [
    1.15799762213051872,
    -1.63344938845139789e-1,
    -1.36831360557815764e-2,
    3.08220001981000397e-2,
    -1.6220073012046807e-2,
    5.61669101646009349e-3,
    -1.41339337835492163e-3,
    2.50262546072566065e-4,
    -2.468907239728387e-5,
    -1.01079640618375923e-6,
    7.49541917974057291e-7,
    -7.60027426872833688e-8,
    -1.15747714413286447e-8,
    3.33338647259984315e-9,
    7.53803962817134702e-11,
    -1.11042472637274945e-10,
    3.50924377655105883e-12,
    3.68949538617509537e-12,
    -2.33766977763830937e-13,
    -1.32717975235414055e-13,
    9.92170699588827655e-15,
    5.27600499545537907e-15,
    -3.37309769418792183e-16,
    -2.28043387763799456e-16,
];

/// φ(x) = exp(−x²/2) / √(2π), with a relative error of a few 1e-16.
///
/// ```
/// assert!((flowmap_core::normal::pdf(0.0) - 0.3989422804014327).abs() < 1e-16);
/// ```
pub fn pdf(x: f64) -> f64 {
    exp_minus_half_square(x) / SQRT_TAU
}

/// Φ(x), the probability that a standard normal falls below x.
///
/// Relative error about 1e-15 in the lower tail too, where the value is small; NaN at NaN.
/// For an upper tail take `cdf(-x)`.
///
/// ```
/// use flowmap_core::normal;
/// assert_eq!(normal::cdf(0.0), 0.5);
/// assert!((normal::cdf(1.959963984540054) - 0.975).abs() < 1e-15);
/// ```
pub fn cdf(x: f64) -> f64 {
    let tail = pdf(x) * mills(x.abs());
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// Φ⁻¹(p), the point below which a standard normal falls with probability p.
///
/// Relative error about 1e-15; −∞ at 0, +∞ at 1, NaN outside [0, 1].
/// The bits are the same on every platform.
///
/// ```
/// use flowmap_core::normal;
/// assert_eq!(normal::quantile(0.5), 0.0);
/// assert!((normal::quantile(0.975) - 1.959963984540054).abs() < 1e-14);
/// ```
pub fn quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let q = p - 0.5;
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail == 0.0 {
        return f64::INFINITY.copysign(q);
    }
    quantile_of_parts(q, tail)
}

/// Φ⁻¹((k + ½) / 2⁵³) for k < 2⁵³, where every step before the polynomials is exact.
pub(crate) fn quantile_of_bits(k: u64) -> f64 {
    const HALF: u64 = 1 << 52;
    const SCALE: f64 = 1.0 / (1u64 << 54) as f64;
    let folded = if k < HALF { k } else { (1 << 53) - 1 - k };
    let tail = (2 * folded + 1) as f64 * SCALE; // min(p, 1 − p)
    let q = if k < HALF { tail - 0.5 } else { 0.5 - tail };
    quantile_of_parts(q, tail)
}

/// Φ⁻¹ from q = p − ½ and the smaller of p and 1 − p, which is positive.
fn quantile_of_parts(q: f64, tail: f64) -> f64 {
    if q.abs() <= CENTRAL {
        return q * ratio(&CENTRAL_RATIO, CENTRAL * CENTRAL - q * q);
    }
    let r = (-ln(tail)).sqrt();
    let magnitude = if r <= FAR { ratio(&NEAR_RATIO, r - 1.6) } else { ratio(&FAR_RATIO, r - FAR) };
    magnitude.copysign(q)
}

fn ratio([numerator, denominator]: &[[f64; 8]; 2], x: f64) -> f64 {
    let horner = |c: &[f64; 8]| c.iter().skip(1).fold(c[0], |sum, c| sum * x + c);
    horner(numerator) / horner(denominator)
}

/// exp(−x²/2), where the square is split so that its rounding is not blown up by the exponential.
fn exp_minus_half_square(x: f64) -> f64 {
    if x.abs() > 39.0 {
        return 0.0; // below the smallest subnormal
    }
    let coarse = (x * 16.0).trunc() / 16.0; // its square is exact
    let rest = (x - coarse) * (x + coarse);
    (-0.5 * coarse * coarse).exp() * (-0.5 * rest).exp()
}

/// Mills' ratio Φ(−x) / φ(x) for x ≥ 0, by Clenshaw's recurrence.
fn mills(x: f64) -> f64 {
    let y = 1.0 - 10.0 / (x + 5.0);
    let (mut b1, mut b2) = (0.0, 0.0);
    for c in MILLS.iter().skip(1).rev() {
        (b1, b2) = (c + 2.0 * y * b1 - b2, b1);
    }
    (MILLS[0] + y * b1 - b2) / (1.0 + x)
}

/// Natural logarithm of a positive finite number, with bits that no platform changes.
///
/// x = 2ᵉ m with m in [√½, √2); ln x = e ln 2 + 2 artanh z, z = (m − 1)/(m + 1), |z| < 0.1716,
/// by the odd power series up to z²³, whose rest is below 2⁻⁵⁶ of the sum.
fn ln(x: f64) -> f64 {
    const LN_2_HIGH: f64 = 0.693_147_180_369_123_8; // trailing zeros: e times it is exact
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const MANTISSA: u64 = (1 << 52) - 1;
    let (x, shift) = if x < f64::MIN_POSITIVE { (x * (1u64 << 54) as f64, 54) } else { (x, 0) };
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i32 - 1023 - shift;
    let mut m = f64::from_bits((bits & MANTISSA) | (1023 << 52));
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    let z = (m - 1.0) / (m + 1.0);
    let z2 = z * z;
    let series = (1..12).rev().fold(0.0, |sum, n| (sum + 1.0 / f64::from(2 * n + 1)) * z2);
    let e = f64::from(exponent);
    e * LN_2_HIGH + (2.0 * z + (2.0 * z * series + e * LN_2_LOW))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against exact values: the published relative error of AS 241 is about 1e-16, and a few roundings.
    const QUANTILE_TOLERANCE: f64 = 2e-15;

    /// Against exact values: the exponential, the series and the product round a few times.
    const CDF_TOLERANCE: f64 = 2e-15;

    #[test]
    fn cdf_agrees_with_known_values_far_into_the_tail() {
        for (x, exact) in KNOWN_CDF {
            let error = (cdf(x) - exact).abs() / exact;
            assert!(error < CDF_TOLERANCE, "x = {x}: relative error {error:e}");
        }
    }

    #[test]
    fn cdf_is_total_and_symmetric() {
        assert_eq!(cdf(0.0), 0.5);
        assert_eq!((cdf(f64::NEG_INFINITY), cdf(f64::INFINITY)), (0.0, 1.0));
        assert!(cdf(f64::NAN).is_nan() && pdf(f64::NAN).is_nan());
        for i in 0..800 {
            let x = f64::from(i) / 100.0;
            assert!((cdf(x) + cdf(-x) - 1.0).abs() <= f64::EPSILON);
        }
    }

    #[test]
    fn pdf_is_the_derivative_of_cdf() {
        const STEP: f64 = 1e-5;
        for i in -60..=60 {
            let x = f64::from(i) / 10.0;
            let difference = (cdf(x + STEP) - cdf(x - STEP)) / (2.0 * STEP);
            assert!((pdf(x) - difference).abs() < 1e-10, "x = {x}"); // ε / STEP
        }
    }

    #[test]
    fn quantile_inverts_cdf() {
        for i in -370..=0 {
            let x = f64::from(i) / 10.0;
            let error = (quantile(cdf(x)) - x).abs();
            assert!(error <= 1e-14 * (1.0 + x.abs()), "x = {x}: {error:e}");
        }
    }

    #[test]
    fn quantile_agrees_with_known_values() {
        for (p, exact) in KNOWN_QUANTILES {
            let error = (quantile(p) - exact).abs() / exact.abs();
            assert!(error < QUANTILE_TOLERANCE, "p = {p:e}: relative error {error:e}");
        }
    }

    #[test]
    fn quantile_is_odd_monotone_and_total() {
        assert_eq!(quantile(0.5), 0.0);
        assert_eq!(quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(quantile(1.0), f64::INFINITY);
        assert!(quantile(-1e-9).is_nan() && quantile(1.1).is_nan() && quantile(f64::NAN).is_nan());
        let n = 4096;
        let values: Vec<f64> = (1..n).map(|i| quantile(f64::from(i) / f64::from(n))).collect();
        assert!(values.windows(2).all(|w| w[0] < w[1]));
        assert!(values.iter().zip(values.iter().rev()).all(|(a, b)| *a == -b));
    }

    #[test]
    fn quantile_of_bits_is_quantile_of_the_middle_of_the_cell() {
        for k in [0, 1, 12345, (1 << 51) + 3, (1 << 52) - 1, 1 << 52, (1 << 53) - 1] {
            let p = (k as f64 + 0.5) / (1u64 << 53) as f64;
            let mirrored = -quantile_of_bits((1 << 53) - 1 - k);
            assert_eq!(quantile_of_bits(k), mirrored);
            if k < 1 << 52 {
                assert_eq!(quantile_of_bits(k), quantile(p));
            }
        }
        assert!(quantile_of_bits(0) > -8.3 && quantile_of_bits(0) < -8.2);
    }

    #[test]
    fn ln_agrees_with_the_platform() {
        for x in [1e-320, 1e-300, 2.3e-16, 0.01, 0.5, 0.7, 0.71, 1.0, 1.41, 1.42, 3.0, 1e300] {
            let error = (ln(x) - f64::ln(x)).abs();
            assert!(error <= 4.0 * f64::EPSILON * f64::ln(x).abs(), "x = {x:e}: {error:e}");
        }
    }

    /// Computed with 60 digits.
    const KNOWN_QUANTILES: [(f64, f64); 22] = [
        (1e-300, -37.047096299361199237),
        (1e-100, -21.273453560965324294),
        (1e-20, -9.2623400897984075796),
        (1.1e-11, -6.6920936440643116557),
        (1.5e-11, -6.6465708874771128614),
        (1e-06, -4.7534243088228989573),
        (0.001, -3.0902323061678135354),
        (0.02425, -1.9729610513118848376),
        (0.074, -1.4466320671589785099),
        (0.0749, -1.4402382675279636631),
        (0.0751, -1.4388253927525399824),
        (0.1, -1.2815515655446004353),
        (0.25, -0.6744897501960817432),
        (0.4, -0.25334710313579974132),
        (0.499, -0.0025066308995717662317),
        (0.500000001, 2.5066282037387114376e-9),
        (0.6, 0.25334710313579974132),
        (0.75, 0.6744897501960817432),
        (0.9, 1.2815515655446005935),
        (0.925, 1.4395314709384562291),
        (0.99, 2.3263478740408407676),
        (0.999999, 4.7534243088170877657),
    ];

    /// Computed with 50 digits.
    const KNOWN_CDF: [(f64, f64); 20] = [
        (-37.0, 5.7255712225245768227e-300),
        (-30.0, 4.9067139271481870595e-198),
        (-20.0, 2.7536241186062336951e-89),
        (-12.345, 2.5917120678961969852e-35),
        (-8.0, 6.2209605742717841235e-16),
        (-5.0, 2.8665157187919391167e-7),
        (-3.3, 0.0004834241423837775071),
        (-2.0, 0.0227501319481792072),
        (-1.1, 0.13566606094638265582),
        (-0.5, 0.30853753872598689636),
        (-0.001, 0.49960105778608893741),
        (0.0, 0.5),
        (1e-08, 0.50000000398942280401),
        (0.3, 0.61791142218895263307),
        (1.0, 0.84134474606854294859),
        (1.9, 0.97128344018399819477),
        (2.7, 0.99653302619695933336),
        (4.0, 0.99996832875816688008),
        (6.0, 0.99999999901341235496),
        (8.0, 0.9999999999999993779),
    ];
}
