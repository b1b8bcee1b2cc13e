//! What several tests need.

pub mod exact_gaussian;
pub mod two_gaussians;
