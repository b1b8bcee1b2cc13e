//! Coefficients of Dormand and Prince's Runge–Kutta pair 8(5,3) with 12 stages (DOP853).
//!
//! Hairer, Nørsett, Wanner 1993, Solving Ordinary Differential Equations I, second edition, section II.10.
//! Rounded to f64. The tests below check the order conditions.

/// Evaluations of the right-hand side per step.
pub(super) const N_STAGES: usize = 12;

/// Nodes c_i.
pub(super) const C: [f64; N_STAGES] = [
    0.0,
    0.05260015195876773,
    0.0789002279381516,
    0.1183503419072274,
    0.2816496580927726,
    0.3333333333333333,
    0.25,
    0.3076923076923077,
    0.6512820512820513,
    0.6,
    0.8571428571428571,
    1.0,
];

/// Stage weights a_ij, the lower triangle, row by row from the second stage on; zeros are written out.
pub(super) const A: [&[f64]; N_STAGES - 1] = [
    &[0.05260015195876773],
    &[0.0197250569845379, 0.0591751709536137],
    &[0.02958758547680685, 0.0, 0.08876275643042054],
    &[0.2413651341592667, 0.0, -0.8845494793282861, 0.924834003261792],
    &[0.037037037037037035, 0.0, 0.0, 0.17082860872947386, 0.12546768756682242],
    &[0.037109375, 0.0, 0.0, 0.17025221101954405, 0.06021653898045596, -0.017578125],
    &[
        0.03709200011850479,
        0.0,
        0.0,
        0.17038392571223998,
        0.10726203044637328,
        -0.015319437748624402,
        0.008273789163814023,
    ],
    &[
        0.6241109587160757,
        0.0,
        0.0,
        -3.3608926294469414,
        -0.868219346841726,
        27.59209969944671,
        20.154067550477894,
        -43.48988418106996,
    ],
    &[
        0.47766253643826434,
        0.0,
        0.0,
        -2.4881146199716677,
        -0.590290826836843,
        21.230051448181193,
        15.279233632882423,
        -33.28821096898486,
        -0.020331201708508627,
    ],
    &[
        -0.9371424300859873,
        0.0,
        0.0,
        5.186372428844064,
        1.0914373489967295,
        -8.149787010746927,
        -18.52006565999696,
        22.739487099350505,
        2.4936055526796523,
        -3.0467644718982196,
    ],
    &[
        2.273310147516538,
        0.0,
        0.0,
        -10.53449546673725,
        -2.0008720582248625,
        -17.9589318631188,
        27.94888452941996,
        -2.8589982771350235,
        -8.87285693353063,
        12.360567175794303,
        0.6433927460157636,
    ],
];

/// Weights b_i of the solution of order 8.
pub(super) const B: [f64; N_STAGES] = [
    0.054293734116568765,
    0.0,
    0.0,
    0.0,
    0.0,
    4.450312892752409,
    1.8915178993145003,
    -5.801203960010585,
    0.3111643669578199,
    -0.1521609496625161,
    0.20136540080403034,
    0.04471061572777259,
];

/// Weights of the error estimate of order 5.
pub(super) const E5: [f64; N_STAGES] = [
    0.01312004499419488,
    0.0,
    0.0,
    0.0,
    0.0,
    -1.2251564463762044,
    -0.4957589496572502,
    1.6643771824549864,
    -0.35032884874997366,
    0.3341791187130175,
    0.08192320648511571,
    -0.022355307863886294,
];

/// Weights of the error estimate of order 3.
pub(super) const E3: [f64; N_STAGES] = [
    -0.18980075407240762,
    0.0,
    0.0,
    0.0,
    0.0,
    4.450312892752409,
    1.8915178993145003,
    -5.801203960010585,
    -0.4226823213237919,
    -0.1521609496625161,
    0.20136540080403034,
    0.02265179219836082,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A few dozen roundings of coefficients up to 44.
    const TOLERANCE: f64 = 1e-13;

    #[test]
    fn stages_are_consistent() {
        assert_eq!(C[0], 0.0);
        for (c, row) in C[1..].iter().zip(A) {
            assert!((row.iter().sum::<f64>() - c).abs() < TOLERANCE);
        }
    }

    #[test]
    fn quadrature_conditions_hold_up_to_order_8() {
        for k in 0..8 {
            let sum: f64 = B.iter().zip(C).map(|(b, c)| b * c.powi(k)).sum();
            assert!((sum - 1.0 / f64::from(k + 1)).abs() < TOLERANCE, "sum b c^{k}");
        }
    }

    #[test]
    fn error_weights_vanish_on_low_polynomials() {
        // A difference of two solutions of orders p and 8 integrates polynomials below degree p to 0.
        for (weights, order) in [(E5, 5), (E3, 3)] {
            for k in 0..order {
                let sum: f64 = weights.iter().zip(C).map(|(e, c)| e * c.powi(k)).sum();
                assert!(sum.abs() < TOLERANCE, "order {order}: sum e c^{k} = {sum:e}");
            }
        }
    }
}
