//! Densities that are sampled without end, one file each.

mod checkerboard;
mod eight_gaussians;
mod gaussian_mixture;
mod moons;
mod pinwheel;
mod plane;
mod range;
mod rings;
mod spirals;
mod swiss_roll;

#[cfg(test)]
mod claims;

pub use checkerboard::{Checkerboard, CheckerboardConfig};
pub use eight_gaussians::EightGaussiansConfig;
pub use gaussian_mixture::{GaussianMixture, GaussianMixtureConfig};
pub use moons::{Moons, MoonsConfig};
pub use pinwheel::{Pinwheel, PinwheelConfig};
pub use rings::{Rings, RingsConfig};
pub use spirals::{Spirals, SpiralsConfig};
pub use swiss_roll::{SwissRoll, SwissRollConfig};
