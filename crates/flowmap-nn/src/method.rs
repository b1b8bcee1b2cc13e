//! Training methods: one file each, named as the paper names it.
//!
//! A file holds all of its method: formula and source, card, needs, choices, times, columns and loss, as an
//! implementation of [`Method`]. [`Objective`] is the enum of configs over them; [`METHODS`] lists the cards.
//! A loss sums over all dimensions of a sample and has no weight; [`crate::loss::Combination`] weighs and averages.
//!
//! The *model* is trained; its *frozen* copy, off the tape, gives what a stop-gradient sg\[..\] holds; the *teacher* is
//! a known flow to distill from.

mod align_your_flow;
mod alpha_flow;
mod card;
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
mod own;
mod pass;
mod pfmm;
mod psd;
mod scm;
mod shortcut;
mod soflow;
mod solver;
mod split_mean_flow;
mod tvm;

use std::fmt;

use flowmap_core::{InterpolantKind, MiddleTime, TimeDistribution};

pub use align_your_flow::{AlignYourFlow, AyfLaw};
pub use alpha_flow::AlphaFlow;
pub use card::{Card, Evaluations, LearnsGuidance, Passes, Trains};
pub use consistency::{Consistency, Trajectory};
pub use ctm::Ctm;
pub use emd::{Emd, EmdStop};
pub use esd::{Esd, EsdStop};
pub use flow_matching::FlowMatching;
pub use fmm::{Fmm, FmmLaw};
pub use guided_mean_flow::GuidedMeanFlow;
pub use improved_mean_flow::ImprovedMeanFlow;
pub use kind::{METHODS, Objective, card_of};
pub use lmd::{Lmd, LmdStop};
pub use lsd::{Lsd, LsdStop};
pub use map_distillation::MapDistillation;
pub use mean_flow::{MeanFlow, MeanFlowVelocity};
pub use own::Own;
pub use pass::{Context, Pass};
pub use pfmm::Pfmm;
pub use psd::{Psd, PsdForm, PsdStop};
pub use scm::{Scm, ScmVelocity};
pub use shortcut::{Shortcut, SmallestStep};
pub use soflow::SoFlow;
pub use solver::OdeSolver;
pub use split_mean_flow::SplitMeanFlow;
pub use tvm::Tvm;

use crate::times::Column;
use crate::{PerSample, Result};

/// A training method: its name, its needs, its distribution of times and its loss.
///
/// A method of another crate is trained like ours: `Objective::own(MyMethod)` makes it an objective.
pub trait Method: fmt::Debug + Send + Sync {
    /// Name, paper, cost and use.
    fn card(&self) -> &'static Card;

    /// What the method needs of a run; nothing unless it says so.
    fn needs(&self) -> Needs {
        Needs::NOTHING
    }

    /// The distribution of (s, t) of the paper, the default of a term.
    /// The default of the trait is independent uniform times.
    fn times(&self) -> TimeDistribution {
        TimeDistribution::Uniform {}
    }

    /// The middle time u of the paper, the default of a term. The default of the trait is the midpoint.
    fn middle(&self) -> MiddleTime {
        MiddleTime::Midpoint
    }

    /// The functions of times that [`Method::loss`] takes at a step, which go to the device in one piece.
    ///
    /// A function that is missing here is sent separately: slower on a device, with the same result.
    fn columns(&self, _step: u64) -> Vec<Column> {
        Vec::new()
    }

    /// Checks the choices of the method, and that the times of its term agree with them.
    ///
    /// # Errors
    /// [`crate::Error::OutOfRange`] with the key at fault.
    fn validate(&self, _times: &TimeDistribution, _middle: &MiddleTime) -> Result<()> {
        Ok(())
    }

    /// Network evaluations of a sample with the choices of the method and the times of its term.
    fn passes(&self, _times: &TimeDistribution) -> Passes {
        self.card().passes()
    }

    /// Whether the method learns guidance with these choices.
    fn learns_guidance(&self) -> bool {
        self.card().guidance == LearnsGuidance::Yes
    }

    /// The loss of each sample: a sum over its dimensions, without weight.
    ///
    /// # Errors
    /// An error that names what is missing, such as [`crate::Error::NoTeacher`]; an error of the networks.
    fn loss(&self, p: &Pass<'_>) -> Result<PerSample>;
}

/// What a method needs of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// A flow to distill from.
    pub teacher: Option<TeacherNeed>,
    /// Labels, some of them hidden: the method guides away from no label.
    pub labels: bool,
    /// The only interpolant that the method is defined for.
    pub interpolant: Option<InterpolantKind>,
}

impl Needs {
    /// Nothing but data.
    pub const NOTHING: Self = Self { teacher: None, labels: false, interpolant: None };
    /// A flow whose velocity is known.
    pub const VELOCITY: Self = Self { teacher: Some(TeacherNeed::Velocity), ..Self::NOTHING };
    /// A flow whose jumps are known.
    pub const MAP: Self = Self { teacher: Some(TeacherNeed::Map), ..Self::NOTHING };
}

/// What must be known of the flow to distill from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeacherNeed {
    /// The velocity.
    Velocity,
    /// The flow map: a velocity field has no jumps.
    Map,
}

/// Refuses a number of steps of 0.
fn at_least_one_step(n_steps: u32) -> Result<()> {
    match n_steps {
        0 => Err(crate::Error::OutOfRange { key: "n_steps", expected: "at least 1", found: 0.0 }),
        _ => Ok(()),
    }
}
