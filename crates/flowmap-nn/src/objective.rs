//! Training objectives: one file each, named as the paper names it.
//!
//! Each is a function of the model, a teacher for its stopped terms, a batch and times, and returns one loss per sample.
//! For self-distillation the teacher is the model itself off the tape ([`crate::ParamBuilder::frozen`]), or its average.
//! Sums over all dimensions of a sample, no weight; [`Combination`] weighs and averages.

mod combination;
mod esd;
mod flow_matching;
mod improved_mean_flow;
mod kind;
mod lsd;
mod mean_flow;
mod psd;
mod shortcut;
mod term;

pub(crate) use combination::Tile;
pub use combination::{Combination, CombinationLoss};
pub use esd::{EsdStop, esd};
pub use flow_matching::flow_matching;
pub use improved_mean_flow::improved_mean_flow;
pub use kind::Objective;
pub use lsd::{LsdStop, lsd};
pub use mean_flow::{MeanFlowVelocity, mean_flow};
pub use psd::{PsdForm, PsdStop, psd};
pub use shortcut::shortcut;
pub use term::Term;
