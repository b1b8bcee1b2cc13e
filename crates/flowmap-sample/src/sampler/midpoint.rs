//! The midpoint method: x ← x + h b_{s+h/2}(x + (h/2) b_s(x)).

use super::ButcherTableau;

/// The midpoint method, order 2, two evaluations a step.
pub const MIDPOINT: ButcherTableau =
    ButcherTableau { order: 2, c: &[0.0, 0.5], a: &[&[], &[0.5]], w: &[0.0, 1.0] };
