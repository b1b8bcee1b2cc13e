//! Distances between samples: histogram KL, Wasserstein, energy, MMD, C2ST, column by column, law errors.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod c2st;
#[cfg(feature = "classifier")]
mod classifier;
mod columns;
mod energy;
mod error;
mod frechet;
mod histogram_kl;
mod laws;
mod mmd;
mod pairwise;
mod quantiles;
mod samples;
mod sbc;
mod sliced_wasserstein;
mod tarp;
mod wasserstein;

pub use c2st::{C2st, c2st};
#[cfg(feature = "classifier")]
pub use classifier::{ClassAccuracy, Classifier, ClassifierError, ClassifierResult, Labelled, Verdict};
pub use columns::{ColumnDistance, ColumnDistances, column_distances};
pub use energy::{EnergyDistance, energy_distance};
pub use error::{Error, Result};
pub use frechet::{Frechet, Moments, frechet};
pub use histogram_kl::{
    CellMasses, Checkerboard, ExactKl, PaperKl, PaperTarget, SquareGrid, exact_kl, paper_kl,
};
pub use laws::{SquaredError, mean_squared_error};
pub use mmd::{Bandwidths, Mmd2, mmd2};
pub use samples::Samples;
pub use sbc::{Ranks, Uniformity};
pub use sliced_wasserstein::{Directions, SlicedWasserstein, sliced_wasserstein};
pub use tarp::{Tarp, tarp};
pub use wasserstein::{Wasserstein, wasserstein};
