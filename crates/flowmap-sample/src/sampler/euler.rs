//! Euler's method: x ← x + h b_s(x).

use super::ButcherTableau;

/// Euler's method, order 1, one evaluation a step.
pub const EULER: ButcherTableau = ButcherTableau { order: 1, c: &[0.0], a: &[&[]], w: &[1.0] };
