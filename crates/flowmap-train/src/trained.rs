//! What a model file says of its training: what a sampler or a judge of the model has to know.

use flowmap_core::Coupling;
use flowmap_data::{DataSet, Warning};
use serde::{Deserialize, Serialize};

use crate::{Config, Sampling};

/// How a model was trained, in config.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trained {
    /// How noise and data were paired; the flow that was learned depends on it.
    pub coupling: Coupling,
    /// The names of the objectives that had a share of the batch.
    pub objectives: Vec<String>,
    /// The sampler for what these objectives train.
    pub sampler: Sampling,
    /// Whether labels were hidden, so that the model without a label is trained, which guidance needs.
    pub hidden_labels: bool,
    /// The number of samples of the data; absent where they are generated without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_samples: Option<u64>,
    /// What was probably not meant as it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

impl Trained {
    /// What a run of `config` on `data` does.
    pub(crate) fn new(config: &Config, data: &dyn DataSet) -> Self {
        let terms = || config.objective.iter().filter(|term| term.share > 0.0);
        Self {
            coupling: config.coupling,
            objectives: terms().map(|term| term.objective.name().to_owned()).collect(),
            sampler: config.sampling(),
            hidden_labels: config.conditional
                && terms().any(|term| config.train.label_dropout_of(term) > 0.0),
            n_samples: data.n_samples(),
            warnings: data.warnings().iter().cloned().chain(skipped(data)).collect(),
        }
    }
}

/// The bad records that were passed over, as a warning.
fn skipped(data: &dyn DataSet) -> Option<Warning> {
    let skipped = data.skipped()?;
    let more = if skipped.n > skipped.messages.len() as u64 { " ..." } else { "" };
    Some(Warning {
        subject: "data".to_owned(),
        seen: format!("{} bad records ({}{more})", skipped.n, skipped.messages.join("; ")),
        consequence: "they are left out".to_owned(),
        remedy: "set `data.skip_bad` to false to end at the first".to_owned(),
    })
}
