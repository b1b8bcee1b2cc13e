//! Claims about runs.
#![allow(clippy::panic, clippy::unwrap_used)]

mod divergence;
mod guidance;
mod guided_teacher;
mod judgment;
mod own;
mod pairs;
mod precision;
mod resume;
mod trainer;
mod units;
