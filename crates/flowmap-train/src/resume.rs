//! What a resumed run may change.
//!
//! A run goes on from its weights, its averages and the moments of its optimizer, at its place in the data.
//! Whatever these belong to stays as it was; whatever only says how to go on from here may change:
//!
//! | may change | stays |
//! |---|---|
//! | the loop: steps, batch, rate, schedule, clipping, log, checkpoints, memory, precision | seed |
//! | an objective's share, weight, times, norm and other choices | kinds and number of objectives, learned weights |
//! | constants of the optimizer | its kind |
//! | fewer averages, and how they move | averages that the checkpoint has not |
//! | augmentation that the network is not told of, dropout | network, labels, guidance, interpolant |
//! | where data and teacher lie | what they are, coupling, `sigma_data` |
//! | name, judgment | |
//!
//! Keys are compared one by one, and one that no rule names stays: a new key is safe before someone thinks of it.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::teacher::known;
use crate::{Checkpoint, Config, Error, ModelConfig, Result};

/// How far a standard deviation may be off, relative: readers of images may round differently on another machine.
const SIGMA_TOLERANCE: f64 = 1e-4;
/// What stands for a key that is not there.
const NONE: &str = "none";

/// Refuses a config, or data, that the checkpoint cannot go on with.
///
/// `model` is what the config and its data make; the data are told by their print.
pub(crate) fn check(config: &Config, model: &ModelConfig, checkpoint: &Checkpoint) -> Result<()> {
    let Checkpoint { config: old_model, state, run, .. } = checkpoint;
    match run {
        Some(old) => check_keys(&keys(old)?, &keys(config)?, config.network.augment_dim() > 0)?,
        None => check_known(old_model, model)?,
    }
    check_data(old_model, model)?;
    let (steps, done) = (config.train.steps, state.step);
    fits("train.steps", steps >= done, format!("at least {done}, the steps done"), steps.to_string())?;
    let decays: Vec<f64> = checkpoint.emas.iter().map(|(decay, _)| *decay).collect();
    for decay in &config.train.ema {
        let expected = format!("some of {decays:?}, the averages of the checkpoint");
        let found = format!("{decay}, of which there is no ema-{decay}.safetensors");
        fits("train.ema", decays.contains(decay), expected, found)?;
    }
    Ok(())
}

/// Refuses a value that does not go on with the checkpoint's.
fn fits(key: &str, goes_on: bool, expected: String, found: String) -> Result<()> {
    if goes_on { Ok(()) } else { Err(Error::Resume { key: key.to_owned(), expected, found }) }
}

/// Refuses data of other statistics, which the network and the noise are scaled by, or of other classes.
fn check_data(old: &ModelConfig, new: &ModelConfig) -> Result<()> {
    let shape = |model: &ModelConfig| format!("samples of shape {:?}", model.shape);
    fits("data", old.shape == new.shape, shape(old), shape(new))?;
    let classes = |model: &ModelConfig| format!("{} classes", model.n_classes);
    fits("data", old.n_classes == new.n_classes, classes(old), classes(new))?;
    let are_named = !old.class_names.is_empty() && !new.class_names.is_empty();
    let names = |model: &ModelConfig| format!("the classes {}", model.class_names.join(", "));
    fits("data", !are_named || old.class_names == new.class_names, names(old), names(new))?;
    let is_near = (new.sigma_data / old.sigma_data - 1.0).abs() <= SIGMA_TOLERANCE;
    fits("sigma_data", is_near, old.sigma_data.to_string(), new.sigma_data.to_string())
}

/// Refuses data whose number or content changed.
pub(crate) fn check_print(old: Option<&crate::DataPrint>, new: &crate::DataPrint) -> Result<()> {
    let Some(old) = old else { return Ok(()) };
    let n = |print: &crate::DataPrint| {
        let n = print.n_samples.map_or("endless samples".to_owned(), |n| format!("{n} samples"));
        format!("{n} of standard deviation {}", print.sigma)
    };
    if old.n_samples != new.n_samples {
        return Err(Error::Resume { key: "data".into(), expected: n(old), found: n(new) });
    }
    if !old.is_near(new) {
        let sums = |print: &crate::DataPrint| {
            let sums: Vec<String> = print.sketch.iter().take(3).map(|sum| format!("{sum:.3}")).collect();
            format!("{} and sketch {}, ...", n(print), sums.join(", "))
        };
        return Err(Error::Resume { key: "data".into(), expected: sums(old), found: sums(new) });
    }
    Ok(())
}

/// Refuses a teacher whose weights changed.
pub(crate) fn check_teacher(old: Option<&str>, new: Option<&str>) -> Result<()> {
    match (old, new) {
        (Some(old), Some(new)) if old != new => {
            let weights = |bits: &str| format!("a teacher whose weights have the sum {bits}");
            Err(Error::Resume { key: "teacher".into(), expected: weights(old), found: weights(new) })
        }
        _ => Ok(()),
    }
}

/// What config.json alone says, for checkpoints of programs that did not write their config.
fn check_known(old: &ModelConfig, new: &ModelConfig) -> Result<()> {
    let keys = |model: &ModelConfig| -> Result<BTreeMap<String, String>> {
        let text = known(model)?;
        let table = text.parse::<Table>();
        let table =
            table.map_err(|e| Error::Toml { origin: "config.json".into(), message: e.to_string() })?;
        let mut keys = flat(&table);
        if let Some(range) = model.guidance {
            keys.insert("guidance".into(), range.to_string());
        }
        Ok(keys)
    };
    check_keys(&keys(old)?, &keys(new)?, false)
}

/// The keys of a config with their values.
fn keys(config: &Config) -> Result<BTreeMap<String, String>> {
    let table = config.to_toml()?.parse::<Table>();
    let table = table.map_err(|e| Error::Toml { origin: "the config".into(), message: e.to_string() })?;
    Ok(flat(&table))
}

fn flat(table: &Table) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    table.iter().for_each(|(key, value)| flatten(key.clone(), value, &mut keys));
    keys
}

fn flatten(key: String, value: &Value, keys: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            table.iter().for_each(|(name, value)| flatten(format!("{key}.{name}"), value, keys));
        }
        Value::Array(values) if values.iter().any(Value::is_table) => {
            let items = values.iter().enumerate();
            items.for_each(|(i, value)| flatten(format!("{key}.{i}"), value, keys));
        }
        value => drop(keys.insert(key, value.to_string())),
    }
}

fn check_keys(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>, is_told: bool) -> Result<()> {
    let all: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut differing: Vec<&String> = all.into_iter().filter(|key| old.get(*key) != new.get(*key)).collect();
    // A kind says more than the keys that come and go with it.
    differing.sort_by_key(|key| !key.ends_with(".kind"));
    let value = |keys: &BTreeMap<String, String>, key: &String| keys.get(key).map_or(NONE, |v| v).to_owned();
    for key in differing {
        let (expected, found) = (value(old, key), value(new, key));
        if !may_change(key, &expected, &found, is_told) {
            return Err(Error::Resume { key: key.clone(), expected, found });
        }
    }
    Ok(())
}

/// Whether a run may go on with another value of this key; `is_told` says whether its network is told of augmentation.
fn may_change(key: &str, old: &str, new: &str, is_told: bool) -> bool {
    let is_learned = |kind: &str| kind.trim_matches('"').starts_with("learned");
    let parts: Vec<&str> = key.split('.').collect();
    match parts[..] {
        // Compared by what follows from them: the data, and the decays that there are.
        ["sigma_data"] => true,
        ["name"] | ["eval" | "schedule" | "train", ..] => true,
        ["optimizer", constant] => constant != "kind",
        ["augmentation", ..] => !is_told,
        ["network", "dropout"] => true,
        // Elsewhere, but there: what lies in it is compared as well.
        ["data" | "teacher", "path"] | ["teacher", "guide"] => new != NONE && old != NONE,
        ["data", "skip_bad"] => true,
        ["objective", _, "kind"] => false,
        ["objective", _, "time_weight", "kind"] => !is_learned(old) && !is_learned(new),
        ["objective", _, "time_weight", constant] => constant == "power",
        ["objective", _, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{ConfigSource, resolve};

    fn changed(preset: &str, sets: &[&str]) -> Result<()> {
        let config = |sets: &[&str]| {
            let mut sources = vec![ConfigSource::preset(preset).unwrap()];
            sources.extend(sets.iter().map(|set| ConfigSource::set(set).unwrap()));
            resolve(&sources).unwrap()
        };
        let (old, new) = (config(&[]), config(sets));
        check_keys(&keys(&old)?, &keys(&new)?, new.network.augment_dim() > 0)
    }

    #[test]
    fn what_says_how_to_go_on_may_change() {
        let free = [
            "name=other",
            "train.steps=13000",
            "train.batch=16",
            "train.micro_batch=8",
            "train.precision=bf16",
            "train.lr=1e-4",
            "train.clip_norm=0.0",
            "train.ema=[]",
            "train.ema_every=4",
            "train.ema_start=keep",
            "train.target_ema=0.999",
            "train.log_every=7",
            "train.checkpoint_every=100",
            "train.keep_checkpoints=5",
            "train.max_bad_steps=1",
            "schedule.kind=constant",
            "schedule.warmup=0",
            "optimizer.eps=1e-12",
            "optimizer.beta2=0.95",
            "optimizer.weight_decay=0.1",
            "eval.num=10",
            "eval.metrics=[\"kl_exact\"]",
            "objective.0.weight=2.0",
            "objective.1.norm={ kind = \"adaptive\" }",
            "objective.1.times={ kind = \"fixed_end\" }",
            "objective.1.time_weight={ kind = \"width\", power = 2.0 }",
            "objective.1.stop=none",
            "objective.1.anneal=500",
        ];
        for set in free {
            assert!(changed("checkerboard", &[set]).is_ok(), "{set}: {:?}", changed("checkerboard", &[set]));
        }
        assert!(changed("cifar10", &["network.dropout=0.0", "data.path=elsewhere"]).is_ok());
        assert!(changed("cifar10", &["augmentation.kind=edm"]).is_ok());
    }

    #[test]
    fn what_the_weights_belong_to_stays_and_is_named_with_both_values() {
        let fixed = [
            ("checkerboard", "seed=43", "seed", "42", "43"),
            ("checkerboard", "interpolant=trigonometric", "interpolant", "linear", "trigonometric"),
            (
                "checkerboard",
                "coupling.kind=independent",
                "coupling.kind",
                "optimal_transport",
                "independent",
            ),
            ("checkerboard", "coupling.group=32", "coupling.group", "64", "32"),
            ("checkerboard", "network.width=64", "network.width", "128", "64"),
            ("checkerboard", "network.activation=silu", "network.activation", "gelu_tanh", "silu"),
            ("checkerboard", "data.kind=moons", "data.kind", "checkerboard", "moons"),
            ("checkerboard", "optimizer.kind=radam", "optimizer.kind", "adamw", "radam"),
            ("checkerboard", "objective.1.kind=psd", "objective.1.kind", "lsd", "psd"),
            ("digits", "conditional=false", "conditional", "true", "false"),
            ("guided", "guidance.max=4.0", "guidance.max", "3.0", "4.0"),
            ("guided", "data.stds=[0.4]", "data.stds", "0.5", "0.4"),
            (
                "cifar10",
                "objective.1.time_weight={ kind = \"constant\" }",
                "objective.1.time_weight.kind",
                "learned_positional",
                "constant",
            ),
            ("cifar10", "data.flip=true", "data.flip", "false", "true"),
            ("cifar10-meanflow", "augmentation.x_flip=1.0", "augmentation.x_flip", "100000000", "1.0"),
            (
                "distill-mixture",
                "teacher={ kind = \"model\", path = \"x\" }",
                "teacher.kind",
                "exact",
                "model",
            ),
        ];
        for (preset, set, key, old, new) in fixed {
            let message = changed(preset, &[set]).unwrap_err().to_string();
            for word in [&format!("key `{key}`"), old, new, "checkpoint"] {
                assert!(message.contains(word), "{set}: expected `{word}` in: {message}");
            }
        }
    }
}
