//! The methods by name, with their choices, as a config has them: the one place that knows all of them.

use flowmap_core::{MiddleTime, TimeDistribution};
use serde::{Deserialize, Serialize};

use super::{
    AlignYourFlow, AlphaFlow, Card, Consistency, Ctm, Emd, Esd, FlowMatching, Fmm, GuidedMeanFlow,
    ImprovedMeanFlow, LearnsGuidance, Lmd, Lsd, MapDistillation, MeanFlow, Method, Needs, Own, Pass, Passes,
    Pfmm, Psd, Scm, Shortcut, SoFlow, SplitMeanFlow, Tvm, align_your_flow, alpha_flow, consistency, ctm, emd,
    esd, flow_matching, fmm, guided_mean_flow, improved_mean_flow, lmd, lsd, map_distillation, mean_flow,
    pfmm, psd, scm, shortcut, soflow, split_mean_flow, tvm,
};
use crate::times::Column;
use crate::{Error, PerSample, Result};

/// A method and its choices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Objective {
    /// Flow matching on the diagonal, guided if the network is given a scale.
    FlowMatching(FlowMatching),
    /// Lagrangian self-distillation.
    Lsd(Lsd),
    /// Eulerian self-distillation.
    Esd(Esd),
    /// Progressive self-distillation.
    Psd(Psd),
    /// SplitMeanFlow: PSD with a uniform middle time.
    SplitMeanFlow(SplitMeanFlow),
    /// Mean Flow.
    MeanFlow(MeanFlow),
    /// Improved Mean Flow, a regression on the velocity.
    ImprovedMeanFlow(ImprovedMeanFlow),
    /// Mean Flow with guidance in its target.
    GuidedMeanFlow(GuidedMeanFlow),
    /// Shortcut models.
    Shortcut(Shortcut),
    /// α-Flow, from trajectory flow matching to Mean Flow.
    AlphaFlow(AlphaFlow),
    /// Solution flow models.
    #[serde(rename = "soflow")]
    SoFlow(SoFlow),
    /// Terminal velocity matching.
    Tvm(Tvm),
    /// Consistency training or distillation in discrete time.
    Consistency(Consistency),
    /// Continuous-time consistency model in TrigFlow.
    Scm(Scm),
    /// Soft consistency of consistency trajectory models.
    Ctm(Ctm),
    /// Flow map matching, direct.
    Fmm(Fmm),
    /// Lagrangian map distillation.
    Lmd(Lmd),
    /// Eulerian map distillation.
    Emd(Emd),
    /// Align Your Flow, distillation with stopped tangents.
    AlignYourFlow(AlignYourFlow),
    /// Progressive flow map matching.
    Pfmm(Pfmm),
    /// Distillation of a solver's solution of the teacher's equation.
    MapDistillation(MapDistillation),
    /// A method of another crate.
    Own(Own),
}

/// The cards of all methods: first those that learn from data, then those that distill a known flow.
pub const METHODS: &[&Card] = &[
    &flow_matching::CARD,
    &lsd::CARD,
    &esd::CARD,
    &psd::CARD,
    &split_mean_flow::CARD,
    &mean_flow::CARD,
    &improved_mean_flow::CARD,
    &guided_mean_flow::CARD,
    &shortcut::CARD,
    &alpha_flow::CARD,
    &soflow::CARD,
    &tvm::CARD,
    &consistency::CARD,
    &scm::CARD,
    &ctm::CARD,
    &fmm::CARD,
    &lmd::CARD,
    &emd::CARD,
    &align_your_flow::CARD,
    &pfmm::CARD,
    &map_distillation::CARD,
];

/// The card of the method of this name, `None` if the name is unknown.
pub fn card_of(name: &str) -> Option<&'static Card> {
    METHODS.iter().copied().find(|card| card.name == name)
}

impl Objective {
    /// A method of another crate.
    pub fn own(method: impl Method + 'static) -> Self {
        Self::Own(Own::new(method))
    }

    /// The method.
    pub fn method(&self) -> &dyn Method {
        match self {
            Self::FlowMatching(method) => method,
            Self::Lsd(method) => method,
            Self::Esd(method) => method,
            Self::Psd(method) => method,
            Self::SplitMeanFlow(method) => method,
            Self::MeanFlow(method) => method,
            Self::ImprovedMeanFlow(method) => method,
            Self::GuidedMeanFlow(method) => method,
            Self::Shortcut(method) => method,
            Self::AlphaFlow(method) => method,
            Self::SoFlow(method) => method,
            Self::Tvm(method) => method,
            Self::Consistency(method) => method,
            Self::Scm(method) => method,
            Self::Ctm(method) => method,
            Self::Fmm(method) => method,
            Self::Lmd(method) => method,
            Self::Emd(method) => method,
            Self::AlignYourFlow(method) => method,
            Self::Pfmm(method) => method,
            Self::MapDistillation(method) => method,
            Self::Own(method) => method,
        }
    }

    /// The name in configs and logs.
    pub fn name(&self) -> &'static str {
        self.card().name
    }

    /// Refuses a method of another program, of which this program has only the name.
    ///
    /// # Errors
    /// [`Error::UnknownOwn`].
    pub fn check_known(&self) -> Result<()> {
        match self {
            Self::Own(own) => own.known().map(drop),
            _ => Ok(()),
        }
    }

    /// Refuses methods that cannot learn guidance with its scale as an input.
    ///
    /// # Errors
    /// [`Error::NoGuidance`].
    pub fn check_guidance(&self) -> Result<()> {
        if self.learns_guidance() {
            return Ok(());
        }
        let known = METHODS.iter().filter_map(|card| match card.guidance {
            LearnsGuidance::No => None,
            LearnsGuidance::Yes => Some(card.name.to_owned()),
            LearnsGuidance::With(choices) => Some(format!("{} with {choices}", card.name)),
        });
        Err(Error::NoGuidance { objective: self.name(), known: known.collect::<Vec<_>>().join(", ") })
    }
}

/// Forwards to the method.
impl Method for Objective {
    fn card(&self) -> &'static Card {
        self.method().card()
    }

    fn needs(&self) -> Needs {
        self.method().needs()
    }

    fn times(&self) -> TimeDistribution {
        self.method().times()
    }

    fn middle(&self) -> MiddleTime {
        self.method().middle()
    }

    fn columns(&self, step: u64) -> Vec<Column> {
        self.method().columns(step)
    }

    fn validate(&self, times: &TimeDistribution, middle: &MiddleTime) -> Result<()> {
        self.method().validate(times, middle)
    }

    fn passes(&self, times: &TimeDistribution) -> Passes {
        self.method().passes(times)
    }

    fn learns_guidance(&self) -> bool {
        self.method().learns_guidance()
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        self.method().loss(p)
    }
}
