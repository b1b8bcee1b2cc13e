//! Claims about duals, their operations and the kernels behind them.
#![allow(clippy::panic, clippy::unwrap_used)]

mod attention;
mod conv;
mod derivatives;
mod fused;
mod gradient;
mod half;
mod magnitude;
mod norm;
mod resize;
mod support;
