//! KL divergence between a known density in the plane and a histogram of samples, by two protocols.
//!
//! The number depends on bins, smoothing and sample count as much as on the samples, so each result carries
//! the name of its protocol and the floor, which is the value that exact samples of the same size score on
//! average.

mod binomial;
mod checkerboard;
mod exact;
mod grid;
mod paper;

pub use checkerboard::Checkerboard;
pub use exact::{CellMasses, ExactKl, exact_kl};
pub use grid::SquareGrid;
pub use paper::{PaperKl, PaperTarget, paper_kl};
