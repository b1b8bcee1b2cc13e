//! Claims about metrics.
#![allow(clippy::unwrap_used, missing_docs)]

mod c2st;
mod calibration;
#[cfg(feature = "classifier")]
mod classifier;
mod floors;
mod golden;
mod properties;
