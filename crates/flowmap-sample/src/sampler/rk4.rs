//! The classical method of Runge and Kutta.

use super::ButcherTableau;

/// The classical Runge-Kutta method, order 4, four evaluations a step.
pub const RK4: ButcherTableau = ButcherTableau {
    order: 4,
    c: &[0.0, 0.5, 0.5, 1.0],
    a: &[&[], &[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
    w: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
};
