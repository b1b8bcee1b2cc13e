//! What a model file says of its training: what a sampler or a judge of the model has to know.

use flowmap_core::Coupling;
use flowmap_data::{DataSet, Warning};
use flowmap_nn::EmaStart;
use serde::{Deserialize, Serialize};

use crate::{Config, EvalWeights, Sampling};

/// A larger share of the random start in an average is warned of.
const LARGEST_START: f64 = 0.1;

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
    /// The number of samples of the data; absent for data generated without end.
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
            warnings: data.warnings().iter().cloned().chain(skipped(data)).chain(unmoved(config)).collect(),
        }
    }
}

/// The average that is judged, or that stopped terms follow, if it is its random start still.
fn unmoved(config: &Config) -> Option<Warning> {
    let train = &config.train;
    let rule = train.ema_rule();
    let judged =
        train.ema.iter().copied().reduce(f64::max).filter(|_| config.eval.weights == EvalWeights::Average);
    let target = Some(train.target_ema).filter(|decay| *decay > 0.0);
    let share = |decay: f64| rule.share_of_start(decay, train.steps);
    let uses = [(judged, "what is judged and sampled"), (target, "what stopped terms follow")];
    let (decay, what) = uses
        .into_iter()
        .filter_map(|(decay, what)| Some((decay?, what)))
        .find(|(decay, _)| share(*decay) > LARGEST_START)?;
    let start = match train.ema_start {
        EmaStart::Keep => "keep",
        EmaStart::Forget => "forget",
    };
    Some(Warning {
        subject: "train.ema".to_owned(),
        seen: format!(
            "an average of decay {decay} that moves {} times in {} steps (`train.ema_every` = {}, `train.ema_start` = \"{start}\")",
            train.steps / rule.every.get(),
            train.steps,
            rule.every,
        ),
        consequence: format!("{what} is the random start at {:.0} %", 100.0 * share(decay)),
        remedy: "set `train.ema_every`, `train.ema_start` = \"forget\", a smaller decay in `train.ema`, or `eval.weights` = \"parameters\""
            .to_owned(),
    })
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{ConfigSource, resolve};

    fn warning(sets: &[&str]) -> Option<String> {
        let mut sources = vec![ConfigSource::preset("checkerboard").unwrap()];
        sources.extend(sets.iter().map(|set| ConfigSource::set(set).unwrap()));
        Some(unmoved(&resolve(&sources).unwrap())?.to_string())
    }

    #[test]
    fn average_that_is_its_random_start_is_warned_of_with_the_share() {
        let rare = warning(&["train.steps=200", "train.ema_every=500"]).unwrap();
        for word in ["train.ema", "moves 0 times in 200 steps", "`train.ema_every` = 500", "at 100 %"] {
            assert!(rare.contains(word), "expected `{word}` in: {rare}");
        }
        let kept = ["train.ema_start=keep", "train.ema=[0.9999]"];
        let kept_short = warning(&[&kept[..], &["train.steps=200"]].concat()).unwrap();
        assert!(kept_short.contains("at 98 %") && kept_short.contains("\"keep\""), "{kept_short}");
        assert_eq!(warning(&[&kept[..], &["train.steps=100000"]].concat()), None);
        // A target that never moves is as bad, though it is not judged.
        let target = ["train.steps=100", "train.ema=[0.9]", "train.target_ema=0.9", "train.ema_every=101"];
        let target = warning(&[&target[..], &["eval.weights=parameters"]].concat()).unwrap();
        assert!(target.contains("what stopped terms follow"), "{target}");
        let free = [
            &["train.steps=200"][..],
            &["train.steps=200", "train.ema=[0.9999]"],
            &["train.steps=200", "train.ema=[]"],
            &["train.steps=200", "train.ema_every=500", "eval.weights=parameters"],
        ];
        assert!(free.into_iter().all(|sets| warning(sets).is_none()));
    }
}
