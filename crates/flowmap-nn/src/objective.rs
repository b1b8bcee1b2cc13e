//! Training objectives: one file each, named as the paper names it.
//!
//! Each is a function of the model, a teacher for its stopped terms, a batch and times, and returns one loss per sample;
//! [`METHODS`] lists them with their papers. Those that distill a known flow take it from a [`crate::Context`].
//! For self-distillation the teacher is the model itself off the tape ([`crate::ParamBuilder::frozen`]), or its average.
//! Sums over all dimensions of a sample, no weight; [`Combination`] weighs and averages.

mod align_your_flow;
mod alpha_flow;
mod bins;
mod catalog;
mod columns;
mod combination;
mod consistency;
mod ctm;
mod emd;
mod esd;
mod flow_matching;
mod fmm;
mod guided_flow_matching;
mod guided_mean_flow;
mod improved_mean_flow;
mod kind;
mod lmd;
mod lsd;
mod map_distillation;
mod mean_flow;
mod pfmm;
mod psd;
mod scm;
mod shortcut;
mod solver;
mod term;
mod tvm;

pub use align_your_flow::{AlignYourFlow, AyfLaw, align_your_flow};
pub use alpha_flow::{AlphaFlow, alpha_flow};
pub use bins::{Bin, BinSums, UnreadRows};
pub use catalog::{METHODS, Method, Passes};
pub(crate) use combination::Tile;
pub use combination::{Combination, CombinationLoss, rows_of};
pub use consistency::{Trajectory, consistency};
pub use ctm::ctm;
pub use emd::{EmdStop, emd};
pub use esd::{EsdStop, esd};
pub use flow_matching::flow_matching;
pub use fmm::{FmmLaw, fmm};
pub use guided_flow_matching::guided_flow_matching;
pub use guided_mean_flow::{MeanFlowGuidance, guided_mean_flow};
pub use improved_mean_flow::improved_mean_flow;
pub use kind::Objective;
pub use lmd::{LmdStop, lmd};
pub use lsd::{LsdStop, lsd};
pub use map_distillation::map_distillation;
pub use mean_flow::{MeanFlowVelocity, mean_flow};
pub use pfmm::pfmm;
pub use psd::{PsdForm, PsdStop, psd};
pub(crate) use scm::TrigFlow;
pub use scm::{Scm, ScmVelocity, scm};
pub(crate) use shortcut::StepFn;
pub use shortcut::{Shortcut, SmallestStep, shortcut};
pub use solver::OdeSolver;
pub use term::{DropoutPasses, Term};
pub use tvm::tvm;
