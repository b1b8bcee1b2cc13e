//! The objectives by name, with their choices, as a config has them.

use flowmap_core::{MiddleTime, TimeDistribution};
use serde::{Deserialize, Serialize};

use super::{
    AlignYourFlow, AlphaFlow, EmdStop, EsdStop, FmmLaw, LmdStop, LsdStop, MeanFlowGuidance, MeanFlowVelocity,
    OdeSolver, PsdForm, PsdStop, Scm, Shortcut, SmallestStep, Trajectory, align_your_flow, alpha_flow,
    consistency, ctm, emd, esd, fmm, guided_flow_matching, guided_mean_flow, improved_mean_flow, lmd, lsd,
    map_distillation, mean_flow, pfmm, psd, scm, shortcut, tvm,
};
use crate::{AverageVelocity, Batch, Context, Error, FlowMap, PerSample, Result, Times};

/// One over the time between the points of consistency models, whose training goes from 2 to 150 steps.
const CONSISTENCY_STEPS: u32 = 64;

/// One objective and its choices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Objective {
    /// Flow matching on the diagonal, guided where the network is given a scale.
    FlowMatching {},
    /// Lagrangian self-distillation.
    Lsd {
        /// Where the gradient stops.
        #[serde(default)]
        stop: LsdStop,
    },
    /// Eulerian self-distillation.
    Esd {
        /// Where the gradient stops.
        #[serde(default)]
        stop: EsdStop,
    },
    /// Progressive self-distillation.
    Psd {
        /// What is compared.
        #[serde(default)]
        form: PsdForm,
        /// Where the gradient stops.
        #[serde(default)]
        stop: PsdStop,
    },
    /// Mean Flow.
    MeanFlow {
        /// Which velocity its target is made of.
        #[serde(default)]
        velocity: MeanFlowVelocity,
    },
    /// Improved Mean Flow, a regression on the velocity.
    ImprovedMeanFlow {},
    /// Shortcut models.
    Shortcut(Shortcut),
    /// Mean Flow with guidance in its target.
    GuidedMeanFlow(MeanFlowGuidance),
    /// α-Flow, from trajectory flow matching to Mean Flow.
    AlphaFlow(AlphaFlow),
    /// Terminal velocity matching.
    Tvm {},
    /// Consistency training or distillation in discrete time.
    Consistency {
        /// Where the second point comes from.
        #[serde(default)]
        trajectory: Trajectory,
        /// One over the time between the two points.
        #[serde(default = "consistency_steps")]
        n_steps: u32,
    },
    /// Continuous-time consistency model in TrigFlow.
    Scm(Scm),
    /// Soft consistency of consistency trajectory models.
    Ctm {
        /// Where the second point comes from.
        #[serde(default)]
        trajectory: Trajectory,
    },
    /// Flow map matching, direct.
    Fmm {
        /// Which law is fitted.
        #[serde(default)]
        law: FmmLaw,
        /// λ, the weight of the inversion term.
        #[serde(default = "one")]
        inversion: f64,
    },
    /// Lagrangian map distillation.
    Lmd {
        /// Where the gradient stops.
        #[serde(default)]
        stop: LmdStop,
    },
    /// Eulerian map distillation.
    Emd {
        /// Where the gradient stops.
        #[serde(default)]
        stop: EmdStop,
    },
    /// Align Your Flow, distillation with stopped tangents.
    AlignYourFlow(AlignYourFlow),
    /// Progressive flow map matching.
    Pfmm {
        /// Number of the teacher's jumps.
        #[serde(default = "two")]
        n_steps: u32,
    },
    /// Distillation of a solver's solution of the teacher's equation.
    MapDistillation {
        /// The solver.
        #[serde(default)]
        solver: OdeSolver,
        /// Number of its steps.
        #[serde(default = "eight")]
        n_steps: u32,
    },
}

fn consistency_steps() -> u32 {
    CONSISTENCY_STEPS
}

fn one() -> f64 {
    1.0
}

fn two() -> u32 {
    2
}

fn eight() -> u32 {
    8
}

impl Objective {
    /// The name in configs and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FlowMatching {} => "flow_matching",
            Self::Lsd { .. } => "lsd",
            Self::Esd { .. } => "esd",
            Self::Psd { .. } => "psd",
            Self::MeanFlow { .. } => "mean_flow",
            Self::ImprovedMeanFlow {} => "improved_mean_flow",
            Self::Shortcut(_) => "shortcut",
            Self::GuidedMeanFlow(_) => "guided_mean_flow",
            Self::AlphaFlow(_) => "alpha_flow",
            Self::Tvm {} => "tvm",
            Self::Consistency { .. } => "consistency",
            Self::Scm(_) => "scm",
            Self::Ctm { .. } => "ctm",
            Self::Fmm { .. } => "fmm",
            Self::Lmd { .. } => "lmd",
            Self::Emd { .. } => "emd",
            Self::AlignYourFlow(_) => "align_your_flow",
            Self::Pfmm { .. } => "pfmm",
            Self::MapDistillation { .. } => "map_distillation",
        }
    }

    /// Whether it evaluates the model at s = t alone, the pass for which the papers of flow maps have dropout on.
    pub fn is_diagonal(&self) -> bool {
        matches!(self, Self::FlowMatching {})
    }

    /// The distribution of (s, t) of its paper, which a term has unless told otherwise.
    pub fn default_times(&self) -> TimeDistribution {
        match *self {
            Self::MeanFlow { .. }
            | Self::ImprovedMeanFlow {}
            | Self::GuidedMeanFlow(_)
            | Self::AlphaFlow(_) => TimeDistribution::LogitNormal { mean: 0.4, std: 1.0 },
            Self::Consistency { .. } => TimeDistribution::FixedEnd {},
            Self::Scm(_) => TimeDistribution::LogTangent { mean: -0.3, std: 1.4 },
            Self::Shortcut(Shortcut { n_steps, .. }) => TimeDistribution::dyadic(n_steps),
            _ => TimeDistribution::Uniform {},
        }
    }

    /// The middle time of its paper, which a term has unless told otherwise.
    pub fn default_middle(&self) -> MiddleTime {
        match *self {
            Self::Consistency { n_steps, .. } => MiddleTime::Ahead { n_steps },
            // Points of one pair are on one trajectory of the flow only where they are near.
            Self::Ctm { trajectory: Trajectory::Data } => MiddleTime::Ahead { n_steps: CONSISTENCY_STEPS },
            Self::Ctm { .. } => MiddleTime::Uniform,
            _ => MiddleTime::Midpoint,
        }
    }

    /// Whether it needs a flow to distill from, [`Context::teacher`].
    pub fn needs_teacher(&self) -> bool {
        match *self {
            Self::Lmd { .. }
            | Self::Emd { .. }
            | Self::AlignYourFlow(_)
            | Self::Pfmm { .. }
            | Self::MapDistillation { .. } => true,
            Self::Consistency { trajectory, .. } | Self::Ctm { trajectory } => trajectory != Trajectory::Data,
            Self::Scm(Scm { velocity, .. }) => velocity == super::ScmVelocity::Teacher,
            _ => false,
        }
    }

    /// Whether that flow must be a map: a velocity field has no jumps.
    pub fn needs_map(&self) -> bool {
        matches!(self, Self::Pfmm { .. })
    }

    /// Refuses objectives that cannot learn guidance with its scale as an input.
    ///
    /// Self-distillation learns the map of whatever velocity the diagonal has, and needs no change; a regression on the
    /// velocity of a pair needs the guided one. Distillation has its velocity from elsewhere.
    ///
    /// # Errors
    /// [`Error::NoGuidance`].
    pub fn check_guidance(&self) -> Result<()> {
        const KNOWN: [&str; 8] = [
            "flow_matching",
            "lsd",
            "esd",
            "psd",
            "shortcut with smallest = \"velocity\" and no guidance",
            "tvm",
            "guided_mean_flow",
            "mean_flow with velocity = \"model\"",
        ];
        match *self {
            Self::FlowMatching {}
            | Self::Lsd { .. }
            | Self::Esd { .. }
            | Self::Psd { .. }
            | Self::Shortcut(Shortcut { smallest: SmallestStep::Velocity, guidance: None, .. })
            | Self::Tvm {}
            | Self::GuidedMeanFlow(_)
            | Self::MeanFlow { velocity: MeanFlowVelocity::Model } => Ok(()),
            _ => Err(Error::NoGuidance { objective: self.name(), known: KNOWN.join(", ") }),
        }
    }

    /// Checks the numbers among its choices.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::Shortcut(choices) => choices.validate(),
            Self::GuidedMeanFlow(guidance) => guidance.validate(),
            Self::AlphaFlow(choices) => choices.validate(),
            Self::Scm(choices) => choices.validate(),
            Self::AlignYourFlow(choices) => choices.validate(),
            Self::Fmm { inversion, .. } if !(inversion >= 0.0 && inversion.is_finite()) => {
                let expected = "a number of at least 0";
                Err(Error::OutOfRange { key: "inversion", expected, found: inversion })
            }
            Self::Consistency { n_steps, .. }
            | Self::Pfmm { n_steps }
            | Self::MapDistillation { n_steps, .. }
                if n_steps == 0 =>
            {
                Err(Error::OutOfRange { key: "n_steps", expected: "at least 1", found: 0.0 })
            }
            _ => Ok(()),
        }
    }

    /// The loss of each sample, at step 0 and without a flow to distill from.
    ///
    /// # Errors
    /// As [`Objective::per_sample_in`].
    pub fn per_sample<M, T>(
        &self,
        model: FlowMap<'_, M>,
        teacher: FlowMap<'_, T>,
        batch: &Batch<'_>,
        times: &Times,
    ) -> Result<PerSample>
    where
        M: AverageVelocity + ?Sized,
        T: AverageVelocity + ?Sized,
    {
        self.per_sample_in(&Context::default(), model, teacher, batch, times)
    }

    /// The loss of each sample; `teacher` is the model off the tape for stopped terms, the context has the rest.
    ///
    /// # Errors
    /// [`Error::NoTeacher`] where a flow to distill from is missing; as the networks.
    pub fn per_sample_in<M, T>(
        &self,
        context: &Context<'_>,
        model: FlowMap<'_, M>,
        teacher: FlowMap<'_, T>,
        batch: &Batch<'_>,
        times: &Times,
    ) -> Result<PerSample>
    where
        M: AverageVelocity + ?Sized,
        T: AverageVelocity + ?Sized,
    {
        match *self {
            Self::FlowMatching {} => guided_flow_matching(model, teacher, batch, times, context),
            Self::Lsd { stop } => lsd(model, teacher, batch, times, stop),
            Self::Esd { stop } => esd(model, teacher, batch, times, stop),
            Self::Psd { form, stop } => psd(model, teacher, batch, times, form, stop),
            Self::MeanFlow { velocity } => mean_flow(model, teacher, batch, times, velocity),
            Self::ImprovedMeanFlow {} => improved_mean_flow(model, teacher, batch, times),
            Self::Shortcut(ref choices) => shortcut(model, teacher, batch, times, context, choices),
            Self::GuidedMeanFlow(ref guidance) => {
                guided_mean_flow(model, teacher, batch, times, context, guidance)
            }
            Self::AlphaFlow(ref choices) => alpha_flow(model, teacher, batch, times, context, choices),
            Self::Tvm {} => tvm(model, teacher, batch, times, context),
            Self::Consistency { trajectory, .. } => {
                consistency(model, teacher, batch, times, context, trajectory)
            }
            Self::Scm(ref choices) => scm(model, teacher, batch, times, context, choices),
            Self::Ctm { trajectory } => ctm(model, teacher, batch, times, context, trajectory),
            Self::Fmm { law, inversion } => fmm(model, batch, times, law, inversion),
            Self::Lmd { stop } => lmd(model, context.known()?, batch, times, stop),
            Self::Emd { stop } => emd(model, teacher, context.known()?, batch, times, stop),
            Self::AlignYourFlow(ref choices) => {
                align_your_flow(model, teacher, batch, times, context, choices)
            }
            Self::Pfmm { n_steps } => pfmm(model, context.known()?, batch, times, n_steps),
            Self::MapDistillation { solver, n_steps } => {
                map_distillation(model, context.known()?, batch, times, solver, n_steps)
            }
        }
    }
}
