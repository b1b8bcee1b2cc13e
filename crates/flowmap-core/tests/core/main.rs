//! Claims about interpolants, times and exact flows.
#![allow(clippy::unwrap_used)]

mod checks;
mod gaussian;
mod laws;
mod mixture;
mod quantile;
