//! What a config that is refused is told: the key at fault, the nearest known one, and the layer that set it.

use flowmap_nn::loss::{Combination, Term};
use toml::Value;

use super::Config;
use super::layers::{ConfigSource, TERM_KEYS};
use crate::presets::nearest;
use crate::{Error, Result};

/// The config, or the path of the part at fault and what is wrong with it.
pub(super) fn parse(value: &Value) -> Result<Config, (String, String)> {
    serde_path_to_error::deserialize(value.clone()).map_err(|error| {
        let path = error.path().to_string();
        let inner: toml::de::Error = error.into_inner();
        (if path == "." { String::new() } else { path }, inner.message().trim().to_owned())
    })
}

/// The exact key at fault, and the message with the nearest known key.
///
/// Inside a table with a `kind` serde knows the table only.
/// The key at fault is then the one without which the complaint is another.
pub(super) fn explain(merged: &Value, path: String, message: &str) -> (String, String) {
    let path = path.replace('[', ".").replace(']', "");
    if let Some(unknown) = quoted_after(message, "unknown field ") {
        let mut known = backticked(message);
        known.retain(|k| *k != unknown);
        if path.starts_with("objective.") {
            known.extend(TERM_KEYS.map(str::to_owned));
        }
        let hint = nearest(&unknown, known.iter().map(String::as_str))
            .map_or(String::new(), |k| format!("; did you mean `{k}`?"));
        let parent = match path.rsplit_once('.') {
            // Where serde knows the key, the path ends with it already.
            Some((parent, last)) if last == unknown => parent.to_owned(),
            None if path == unknown => String::new(),
            _ => path,
        };
        let parent = deepest_with(merged, parent, &unknown);
        let expected = known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
        let expected = if expected.is_empty() { "no keys".into() } else { format!("one of {expected}") };
        return (join(&parent, &unknown), format!("unknown key, expected {expected}{hint}"));
    }
    // serde names a variant as if it were a key, also where a word stands for it.
    let mut key = path;
    let mut variant = None;
    while lookup(merged, &key).is_none() {
        let (parent, last) = key.rsplit_once('.').unwrap_or(("", &key));
        variant = Some(last.to_owned());
        key = parent.to_owned();
    }
    if let Some(variant) = variant.filter(|_| message.starts_with("invalid type: unit variant")) {
        return (key, format!("expected a table `{{ {variant} = {{ ... }} }}`, found the word alone"));
    }
    if let Some(Value::Table(table)) = lookup(merged, &key) {
        // Without `kind` every complaint is another, so it is the last to be blamed.
        let (kind, others): (Vec<_>, Vec<_>) = table.keys().partition(|k| *k == "kind");
        let at_fault = others.into_iter().chain(kind).find(|candidate| {
            let without = without(merged, &join(&key, candidate));
            parse(&without).err().is_none_or(|(_, other)| other != message)
        });
        if let Some(candidate) = at_fault {
            key = join(&key, candidate);
        }
    }
    if let Some(missing) = quoted_after(message, "missing field ") {
        return (join(&key, &missing), "missing".to_owned());
    }
    let message = match quoted_after(message, "unknown variant ") {
        Some(found) => {
            let mut known = backticked(message);
            known.retain(|k| *k != found);
            let hint = nearest(&found, known.iter().map(String::as_str));
            hint.map_or(message.to_owned(), |k| format!("{message}; did you mean `{k}`?"))
        }
        None => message.to_owned(),
    };
    (if key.is_empty() { "(top level)".to_owned() } else { key }, message)
}

/// Follows single tables below `parent` until one has the key.
fn deepest_with(merged: &Value, parent: String, key: &str) -> String {
    let Some(Value::Table(table)) = lookup(merged, &parent) else { return parent };
    if table.contains_key(key) {
        return parent;
    }
    let below = table.iter().find(|(_, v)| v.as_table().is_some_and(|t| t.contains_key(key)));
    below.map_or(parent.clone(), |(name, _)| join(&parent, name))
}

fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

/// The value at a key with dots; indices of arrays are numbers.
pub(super) fn lookup<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').filter(|part| !part.is_empty()).try_fold(value, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        Value::Table(table) => table.get(part),
        _ => None,
    })
}

/// The same values except for one key.
fn without(value: &Value, key: &str) -> Value {
    let mut copy = value.clone();
    let (parent, last) = key.rsplit_once('.').unwrap_or(("", key));
    let mut at = Some(&mut copy);
    for part in parent.split('.').filter(|part| !part.is_empty()) {
        at = match at {
            Some(Value::Array(items)) => part.parse::<usize>().ok().and_then(|i| items.get_mut(i)),
            Some(Value::Table(table)) => table.get_mut(part),
            _ => None,
        };
    }
    if let Some(Value::Table(table)) = at {
        table.remove(last);
    }
    copy
}

/// The word in backticks that follows `start` at the beginning of the message.
fn quoted_after(message: &str, start: &str) -> Option<String> {
    let rest = message.strip_prefix(start)?.strip_prefix('`')?;
    rest.split_once('`').map(|(word, _)| word.to_owned())
}

/// All words in backticks.
fn backticked(message: &str) -> Vec<String> {
    message.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The topmost source that sets the key or something above or below it.
pub(super) fn origin_of(sources: &[ConfigSource], key: &str) -> String {
    let mut key = key;
    loop {
        let sets =
            |s: &&ConfigSource| !key.is_empty() && lookup(&Value::Table(s.table.clone()), key).is_some();
        if let Some(source) = sources.iter().rev().find(sets) {
            return source.origin.clone();
        }
        match key.rsplit_once('.') {
            Some((parent, _)) => key = parent,
            None => return sources.last().map_or_else(|| "config".to_owned(), |s| s.origin.clone()),
        }
    }
}

/// Names the layer for a value that is out of range.
pub(super) fn name_origin(sources: &[ConfigSource], config: &Config, error: Error) -> Error {
    match error {
        Error::OutOfRange { key, expected, found } => Error::ConfigKey {
            origin: origin_of(sources, key),
            key: key.to_owned(),
            message: format!("expected {expected}, found {found}"),
        },
        Error::Network(flowmap_nn::Error::OutOfRange { key, expected, found }) => {
            // The network and the objectives know their own key, not its table.
            let objective = format!("objective.{}", refused_objective(config));
            let (norm, time_weight) = (format!("{objective}.norm"), format!("{objective}.time_weight"));
            let tables = [&objective, &norm, &time_weight, "network", "schedule", "optimizer"];
            let key = set_key(sources, &tables.map(|t| format!("{t}.{key}"))).unwrap_or(key.to_owned());
            Error::ConfigKey {
                origin: origin_of(sources, &key),
                key,
                message: format!("expected {expected}, found {found}"),
            }
        }
        Error::Network(flowmap_nn::Error::Core(flowmap_core::Error::Parameter { name, expected, found })) => {
            // Only the times of an objective, its own or those it implies, have parameters that flowmap-core checks.
            let objective = format!("objective.{}", refused_objective(config));
            let keys = ["times.", ""].map(|table| format!("{objective}.{table}{name}"));
            let key = set_key(sources, &keys).unwrap_or_else(|| keys[0].clone());
            let message = format!("expected {expected}, found {found}");
            Error::ConfigKey { origin: origin_of(sources, &key), key, message }
        }
        Error::Network(error @ (flowmap_nn::Error::Shares { .. } | flowmap_nn::Error::NoObjective)) => {
            let key = "objective".to_owned();
            Error::ConfigKey { origin: origin_of(sources, &key), key, message: error.to_string() }
        }
        Error::Network(error @ flowmap_nn::Error::NoGuidance { .. }) => {
            let unguided = |term: &Term| term.objective.check_guidance().is_err();
            let index = config.objective.iter().position(unguided).unwrap_or(0);
            let key = format!("objective.{index}.kind");
            let message = format!("{error}, as [guidance] is there");
            Error::ConfigKey { origin: origin_of(sources, &key), key, message }
        }
        Error::NoRows { term, share, batch } => {
            let key = format!("objective.{term}.share");
            let message = format!(
                "expected at least one row of the batch, found none: {share} of `train.batch` = {batch}; set the share to 0 to leave the objective out"
            );
            Error::ConfigKey { origin: origin_of(sources, &key), key, message }
        }
        error @ Error::MissingTeacher { .. } => {
            let key = "teacher".to_owned();
            Error::ConfigKey { origin: origin_of(sources, &key), key, message: error.to_string() }
        }
        Error::Coupling(flowmap_core::Error::Parameter { name, expected, found }) => {
            let key = format!("coupling.{name}");
            let message = format!("expected {expected}, found {found}");
            Error::ConfigKey { origin: origin_of(sources, &key), key, message }
        }
        Error::UnknownName { what: "metric", .. } => {
            let key = "eval.metrics".to_owned();
            Error::ConfigKey { origin: origin_of(sources, &key), key, message: error.to_string() }
        }
        other => other,
    }
}

/// The first of the keys that a source sets.
fn set_key(sources: &[ConfigSource], keys: &[String]) -> Option<String> {
    let is_set =
        |key: &&String| sources.iter().any(|s| lookup(&Value::Table(s.table.clone()), key).is_some());
    keys.iter().find(is_set).cloned()
}

/// The index of the first objective that is wrong by itself.
fn refused_objective(config: &Config) -> usize {
    let wrong = |term: &Term| {
        !matches!(Combination::new(vec![term.clone()]), Ok(_) | Err(flowmap_nn::Error::Shares { .. }))
    };
    config.objective.iter().position(wrong).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::resolve;
    use super::*;

    fn refusal(sets: &[&str]) -> String {
        let mut sources = vec![ConfigSource::preset("checkerboard").unwrap()];
        sources.extend(sets.iter().map(|s| ConfigSource::set(s).unwrap()));
        resolve(&sources).unwrap_err().to_string()
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest_known_one() {
        let message = refusal(&["network.widht=64"]);
        assert!(message.starts_with("--set network.widht=64: key `network.widht`: unknown key"), "{message}");
        assert!(message.ends_with("did you mean `width`?"), "{message}");
        let message = refusal(&["train.step=10"]);
        assert!(message.contains("`train.step`") && message.ends_with("did you mean `steps`?"), "{message}");
        let message = refusal(&["sead=10"]);
        assert!(message.contains("key `sead`") && message.ends_with("did you mean `seed`?"), "{message}");
        let message = refusal(&["objective.1.shares=0.25"]);
        assert!(
            message.contains("`objective.1.shares`") && message.ends_with("did you mean `share`?"),
            "{message}"
        );
        let message = refusal(&["data.noize=1"]);
        assert!(message.contains("key `data.noize`: unknown key"), "{message}");
    }

    #[test]
    fn wrong_types_and_values_are_named_by_their_key() {
        let message = refusal(&["network.width=\"wide\""]);
        assert!(message.contains("key `network.width`: invalid type: string \"wide\""), "{message}");
        let message = refusal(&["train.batch=-3"]);
        assert!(message.contains("key `train.batch`"), "{message}");
        let message = refusal(&["train.lr=-1"]);
        assert!(message.ends_with("key `train.lr`: expected a positive number, found -1"), "{message}");
        let message = refusal(&["network.width=0"]);
        assert!(message.ends_with("key `network.width`: expected at least 1, found 0"), "{message}");
        let message = refusal(&["objective.0.share=0.75", "objective.1.share=0.5"]);
        assert!(message.contains("shares of the objectives sum to 1.25"), "{message}");
        let message = refusal(&["objective.1.kind=shortcut", "objective.1.n_steps=12"]);
        assert!(
            message.ends_with("key `objective.1.n_steps`: expected a power of two, found 12"),
            "{message}"
        );
        let message = refusal(&["objective.1.norm={ kind = \"cauchy\", c = 0.0 }"]);
        assert!(
            message.ends_with("key `objective.1.norm.c`: expected a positive number, found 0"),
            "{message}"
        );
        let message = refusal(&["objective.1.kind=lmd", "objective.1.share=0.4"]);
        assert!(message.contains("key `teacher`: objective `lmd` distills from a known flow"), "{message}");
        let message = refusal(&["coupling.kind=optimal_transport", "coupling.group=0"]);
        assert!(message.ends_with("key `coupling.group`: expected at least 1, found 0"), "{message}");
        let guided = ["conditional=true", "data.kind=moons", "guidance.max=3", "train.label_dropout=0.1"];
        let message = refusal(&guided[2..]);
        assert!(message.contains("key `conditional`: expected true, which [guidance] needs"), "{message}");
        let message = refusal(&guided[..3]);
        assert!(message.contains("key `train.label_dropout`: expected a number above 0"), "{message}");
        let message = refusal(&[&guided[..], &["guidance.max=1"]].concat());
        assert!(message.ends_with("expected a number above `guidance.min`, found 1"), "{message}");
        let message = refusal(&[&guided[..], &["guidance.min=0.5"]].concat());
        assert!(message.ends_with("`guidance.min`: expected a number of at least 1, found 0.5"), "{message}");
        let message =
            refusal(&[&guided[..], &["objective.1.kind=mean_flow", "objective.1.share=0.4"]].concat());
        assert!(message.contains("`objective.1.kind`: `mean_flow` cannot learn guidance"), "{message}");
        let message = refusal(&["train.target_ema=0.5"]);
        assert!(message.ends_with("expected 0 or one of `train.ema`, found 0.5"), "{message}");
        let message = refusal(&["objective.1.kind=lds"]);
        assert!(
            message.contains("key `objective.1.kind`") && message.contains("did you mean `lsd`?"),
            "{message}"
        );
        let message = refusal(&["interpolant=lineal"]);
        assert!(
            message.contains("key `interpolant`") && message.contains("did you mean `linear`?"),
            "{message}"
        );
    }
}
