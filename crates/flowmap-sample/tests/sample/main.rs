//! Claims about samplers.
#![allow(clippy::panic, clippy::unwrap_used)]

mod multistep;
mod order;
mod sampling;
mod support;
