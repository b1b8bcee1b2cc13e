//! Explicit Runge–Kutta methods of fixed steps, as tables.
//!
//! k_i = f(s + c_i h, x + h Σ_{j<i} a_ij k_j),  x ← x + h Σ_i w_i k_i,  h = t − s
//!
//! Hairer, Nørsett, Wanner 1993, Solving Ordinary Differential Equations I, section II.1, eq. (1.8).
//! A table has no tensors: the caller evaluates f and runs through the stages.
//! Cost: one evaluation of f a stage.

/// The coefficients of an explicit Runge–Kutta method.
///
/// ```
/// use flowmap_core::ode::{ButcherTableau, RK4};
/// // One step of ẋ = x from 1 over h = 0.1.
/// let ButcherTableau { a, w, .. } = RK4;
/// let (x, h, mut k) = (1.0, 0.1, Vec::new());
/// let moved = |a: &[f64], k: &[f64]| x + h * a.iter().zip(k).map(|(a, k)| a * k).sum::<f64>();
/// for a_i in a {
///     k.push(moved(a_i, &k));
/// }
/// assert!((moved(w, &k) - 0.1f64.exp()).abs() < 1e-7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ButcherTableau {
    /// Order of convergence.
    pub order: usize,
    /// c_i, the times of the stages.
    pub c: &'static [f64],
    /// a_ij, row i for stage i, j < i.
    pub a: &'static [&'static [f64]],
    /// w_i, the weights of the result.
    pub w: &'static [f64],
}

/// Euler's method x ← x + h f(s, x): order 1, one evaluation a step.
pub const EULER: ButcherTableau = ButcherTableau { order: 1, c: &[0.0], a: &[&[]], w: &[1.0] };

/// The midpoint method x ← x + h f(s + h/2, x + (h/2) f(s, x)): order 2, two evaluations a step.
pub const MIDPOINT: ButcherTableau =
    ButcherTableau { order: 2, c: &[0.0, 0.5], a: &[&[], &[0.5]], w: &[0.0, 1.0] };

/// Heun's method, the mean of the velocities at both ends of an Euler step: order 2, two evaluations a step.
///
/// The sampler of Karras and others 2022, arXiv:2206.00364, algorithm 1.
pub const HEUN: ButcherTableau =
    ButcherTableau { order: 2, c: &[0.0, 1.0], a: &[&[], &[1.0]], w: &[0.5, 0.5] };

/// The classical method of Runge and Kutta: order 4, four evaluations a step.
pub const RK4: ButcherTableau = ButcherTableau {
    order: 4,
    c: &[0.0, 0.5, 0.5, 1.0],
    a: &[&[], &[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
    w: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of at most four coefficients round a few times.
    const TOLERANCE: f64 = 1e-15;

    #[test]
    fn tables_are_explicit_and_consistent() {
        for ButcherTableau { c, a, w, .. } in [EULER, MIDPOINT, HEUN, RK4] {
            assert!((w.iter().sum::<f64>() - 1.0).abs() < TOLERANCE);
            assert_eq!((c.len(), a.len()), (w.len(), w.len()));
            for (stage_idx, (c, a)) in c.iter().zip(a).enumerate() {
                assert!((a.iter().sum::<f64>() - c).abs() < TOLERANCE, "c is the row sum of a");
                assert!(a.len() <= stage_idx, "the method is explicit");
            }
        }
    }

    #[test]
    fn weights_integrate_powers_of_time_up_to_the_order() {
        for ButcherTableau { order, c, w, .. } in [EULER, MIDPOINT, HEUN, RK4] {
            for power in 0..order as i32 {
                let sum: f64 = c.iter().zip(w).map(|(c, w)| w * c.powi(power)).sum();
                assert!((sum - 1.0 / f64::from(power + 1)).abs() < TOLERANCE, "order {order}, power {power}");
            }
        }
    }
}
