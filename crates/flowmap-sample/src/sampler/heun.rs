//! Heun's method: the mean of the velocities at both ends of an Euler step.
//!
//! The sampler of Karras and others 2022, arXiv:2206.00364, algorithm 1, on b_t.

use super::ButcherTableau;

/// Heun's method, order 2, two evaluations a step.
pub const HEUN: ButcherTableau =
    ButcherTableau { order: 2, c: &[0.0, 1.0], a: &[&[], &[1.0]], w: &[0.5, 0.5] };
