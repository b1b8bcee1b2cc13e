//! Which sampler goes with what a run trained.
//!
//! | trained | sampler |
//! |---|---|
//! | jumps between any times | jumps of the flow map |
//! | jumps to the data alone (consistency models) | those jumps, with fresh noise between them |
//! | the velocity alone (flow matching) | Euler steps along it, at one evaluation a step like the others |

use std::fmt;
use std::str::FromStr;

use flowmap_core::{Coupling, TimeDistribution};
use flowmap_data::Warning;
use flowmap_nn::loss::Term;
use flowmap_nn::method::{Method, Trains, card_of};
use flowmap_sample::{FlowMapJump, Sampler, SamplerKind};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Config, Error, ModelConfig, Result, Trained};

/// How samples get from noise to data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// A step of this sampler from each time to the next.
    Steps(SamplerKind),
    /// Jumps to the data, with fresh noise between them: [`flowmap_sample::multistep_consistency`].
    Consistency,
}

/// The name of [`Sampling::Consistency`].
const CONSISTENCY: &str = "consistency";

impl Default for Sampling {
    fn default() -> Self {
        Self::Steps(SamplerKind::default())
    }
}

impl Sampling {
    /// The sampler for what these terms train; see the module.
    pub fn suited_to(terms: &[Term]) -> Self {
        let jumps = |term: &&Term| term.share > 0.0 && term.objective.card().trains != Trains::Velocity;
        match terms.iter().filter(jumps).map(ends_at_the_data).reduce(|all, one| all && one) {
            None => Self::Steps(SamplerKind::Euler),
            Some(true) => Self::Consistency,
            Some(false) => Self::default(),
        }
    }

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steps(kind) => kind.name(),
            Self::Consistency => CONSISTENCY,
        }
    }

    /// Evaluations of the network that a step costs.
    pub fn evaluations_per_step(self) -> usize {
        self.steps().evaluations_per_step()
    }

    /// The sampler for what `model` was trained for; jumps if the model file does not say.
    pub fn of_model(model: &ModelConfig) -> Self {
        model.trained.as_ref().map_or_else(Self::default, |trained| trained.sampler)
    }

    /// Refuses fresh noise between steps for a model that learned other pairs than independent ones.
    ///
    /// # Errors
    /// [`Error::SamplerCoupling`].
    pub fn check(self, model: &ModelConfig, n_steps: usize) -> Result<()> {
        let adds_noise = self == Self::Consistency && n_steps > 1;
        match model.trained.as_ref().map(|trained| trained.coupling) {
            None | Some(Coupling::Independent {}) => Ok(()),
            Some(_) if !adds_noise => Ok(()),
            Some(coupling) => Err(Error::SamplerCoupling { n_steps, coupling: name_of(coupling) }),
        }
    }

    /// A warning if the model was not trained for this sampler; `None` if it was, or if that is not known.
    pub fn doubt(self, model: &ModelConfig, n_steps: usize) -> Option<Warning> {
        let trained = model.trained.as_ref().filter(|trained| trained.sampler != self)?;
        let (learned, untrained) = match (trained.sampler, self) {
            (Self::Steps(SamplerKind::Euler), Self::Steps(SamplerKind::FlowMap) | Self::Consistency) => {
                ("the velocity alone", "jumps of its network were never trained")
            }
            (Self::Consistency, Self::Steps(SamplerKind::FlowMap)) if n_steps > 1 => {
                ("jumps to the data alone", "jumps that end before the data were never trained")
            }
            (Self::Consistency, Self::Steps(kind))
                if kind != SamplerKind::FlowMap && !trained.learned_velocity() =>
            {
                ("jumps to the data alone", "its velocity was never trained")
            }
            _ => return None,
        };
        Some(Warning {
            subject: format!("sampler `{self}`"),
            seen: format!("the model learned {learned} ({})", trained.objectives.join(", ")),
            consequence: format!("{untrained}, and the samples show no quality of the model"),
            remedy: format!("leave out `--sampler` for `{}`", trained.sampler),
        })
    }

    /// The steps that it is made of.
    pub(crate) fn steps(self) -> Box<dyn Sampler> {
        match self {
            Self::Steps(kind) => kind.build(),
            Self::Consistency => Box::new(FlowMapJump),
        }
    }
}

impl Config {
    /// The sampler for what the objectives of this run train.
    pub fn sampling(&self) -> Sampling {
        Sampling::suited_to(&self.objective)
    }
}

impl Trained {
    /// Whether the velocity has an objective of its own.
    fn learned_velocity(&self) -> bool {
        self.objectives.iter().filter_map(|name| card_of(name)).any(|card| card.trains == Trains::Velocity)
    }
}

/// The kind of a coupling, as configs have it.
fn name_of(coupling: Coupling) -> &'static str {
    match coupling {
        Coupling::Independent {} => "independent",
        Coupling::Paired {} => "paired",
        Coupling::OptimalTransport { .. } => "optimal_transport",
        Coupling::Sinkhorn { .. } => "sinkhorn",
        _ => "another kind",
    }
}

/// Whether every jump that the term trains ends at the data.
fn ends_at_the_data(term: &Term) -> bool {
    let fixed_end = matches!(term.times, TimeDistribution::FixedEnd {} | TimeDistribution::LogTangent { .. });
    fixed_end || term.objective.card().trains == Trains::JumpsToData
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Sampling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Sampling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Sampling {
    type Err = flowmap_sample::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name == CONSISTENCY {
            return Ok(Self::Consistency);
        }
        name.parse().map(Self::Steps).map_err(|error| match error {
            flowmap_sample::Error::UnknownSampler { name, known } => {
                let known = format!("{known}, `{CONSISTENCY}`");
                flowmap_sample::Error::UnknownSampler { name, known }
            }
            error => error,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(terms: &[&str], expected: &str) {
        let terms: Vec<Term> = terms.iter().map(|text| toml::from_str(text).unwrap()).collect();
        assert_eq!(Sampling::suited_to(&terms).name(), expected);
    }

    #[test]
    fn sampler_is_that_of_what_is_trained() {
        let flow_matching = "kind = \"flow_matching\"\nshare = 0.6";
        check(&[flow_matching], "euler");
        check(&[flow_matching, "kind = \"lsd\"\nshare = 0.4"], "flow_map");
        check(&[flow_matching, "kind = \"lsd\"\nshare = 0.0"], "euler");
        check(&["kind = \"consistency\""], "consistency");
        check(&["kind = \"consistency\"\ntimes = { kind = \"uniform\" }"], "flow_map");
        check(&[flow_matching, "kind = \"scm\"\nshare = 0.4\ntimes = { kind = \"uniform\" }"], "consistency");
        check(&["kind = \"scm\"\nshare = 0.5", "kind = \"psd\"\nshare = 0.5"], "flow_map");
    }

    #[test]
    fn names_round_trip_and_unknown_ones_are_answered_with_all() {
        for sampling in SamplerKind::ALL.map(Sampling::Steps).into_iter().chain([Sampling::Consistency]) {
            assert_eq!(sampling.to_string().parse::<Sampling>().unwrap(), sampling);
        }
        let message = "consistncy".parse::<Sampling>().unwrap_err().to_string();
        assert!(message.contains("`rk4`, `consistency`"), "{message}");
    }
}
