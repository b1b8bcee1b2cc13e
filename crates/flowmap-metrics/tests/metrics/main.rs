//! Claims about metrics.
#![allow(clippy::unwrap_used, missing_docs)]

#[cfg(feature = "classifier")]
mod classifier;
mod floors;
mod golden;
mod properties;
