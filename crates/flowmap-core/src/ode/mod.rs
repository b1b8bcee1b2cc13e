//! Ordinary differential equations ẋ = f(t, x): to a stated tolerance, and in fixed steps.
//!
//! [`Dop853`] chooses its steps and works in f64; a [`ButcherTableau`] is a method of fixed steps,
//! usable with any evaluation of f, in any precision and on tensors.

mod dop853;
mod runge_kutta;

pub use dop853::Dop853;
pub use runge_kutta::{ButcherTableau, EULER, HEUN, MIDPOINT, RK4};
