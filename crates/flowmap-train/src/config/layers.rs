//! Configs in layers: preset < file < `--set` < flags.
//!
//! Tables merge key by key; a table whose `kind` differs is replaced whole, and so are arrays.
//! A term of the loss keeps what all terms have when its `kind` changes, and loses the keys of the old objective alone.
//! What is wrong is reported with the key and with the layer that set it.

use std::path::{Path, PathBuf};

use flowmap_nn::objective::{Combination, Objective, Term};
use toml::{Table, Value};

use super::Config;
use crate::presets::{nearest, preset};
use crate::{Error, Result};

/// Keys of an objective that stand beside those of its kind.
const TERM_KEYS: [&str; 9] =
    ["kind", "weight", "share", "times", "diagonal", "middle", "norm", "time_weight", "anneal"];

/// One layer of a config: values and where they came from.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    origin: String,
    table: Table,
    /// The folder that relative paths of data files start from.
    dir: Option<PathBuf>,
}

impl ConfigSource {
    /// A preset by its name.
    ///
    /// # Errors
    /// [`Error::UnknownPreset`].
    pub fn preset(name: &str) -> Result<Self> {
        Self::text(format!("preset {name}"), preset(name)?.toml)
    }

    /// A TOML file.
    ///
    /// # Errors
    /// Where it cannot be read or is not TOML.
    pub fn file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("reading", path))?;
        let mut source = Self::text(path.display().to_string(), &text)?;
        let path = std::path::absolute(path).map_err(Error::io("reading", path))?;
        source.dir = path.parent().map(Path::to_owned);
        Ok(source)
    }

    /// One `KEY=VALUE`, the key with dots, the value in TOML or a bare word.
    ///
    /// # Errors
    /// [`Error::SetArgument`] where there is no `=` or no key.
    pub fn set(argument: &str) -> Result<Self> {
        let Some((key, value)) = argument.split_once('=') else {
            return Err(Error::SetArgument(argument.to_owned()));
        };
        if key.trim().is_empty() || key.split('.').any(|part| part.trim().is_empty()) {
            return Err(Error::SetArgument(argument.to_owned()));
        }
        // A bare word such as `linear` is a string; everything else is TOML.
        let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut t| t.remove("value"));
        let value = parsed.unwrap_or_else(|| Value::String(value.trim().to_owned()));
        let mut source = Self::value(format!("--set {argument}"), key.trim(), value);
        source.dir = std::env::current_dir().ok();
        Ok(source)
    }

    /// One value at a key with dots.
    pub fn value(origin: impl Into<String>, key: &str, value: impl Into<Value>) -> Self {
        let nest =
            |value: Value, part: &str| Value::Table(Table::from_iter([(part.trim().to_owned(), value)]));
        let table = match key.rsplit('.').fold(value.into(), nest) {
            Value::Table(table) => table,
            _ => Table::new(),
        };
        Self { origin: origin.into(), table, dir: None }
    }

    /// TOML text; `origin` is what messages call it.
    ///
    /// # Errors
    /// [`Error::Toml`].
    pub fn text(origin: impl Into<String>, text: &str) -> Result<Self> {
        let origin = origin.into();
        let table = text
            .parse::<Table>()
            .map_err(|e| Error::Toml { origin: origin.clone(), message: e.to_string() })?;
        Ok(Self { origin, table, dir: None })
    }

    /// Whether the source sets the key, with dots, or something below it.
    pub fn sets(&self, key: &str) -> bool {
        lookup(&Value::Table(self.table.clone()), key).is_some()
    }
}

/// Lays the sources over each other, the last on top, and checks the result.
///
/// # Errors
/// [`Error::ConfigKey`] with the key at fault and the layer that set it.
pub fn resolve(sources: &[ConfigSource]) -> Result<Config> {
    let mut merged = Table::new();
    for source in sources {
        let mut table = source.table.clone();
        if let Some(dir) = &source.dir {
            anchor_data_path(&mut table, dir);
        }
        merge(&mut merged, table);
    }
    let merged = Value::Table(merged);
    let config = parse(&merged).map_err(|(path, message)| {
        let (key, message) = explain(&merged, path, &message);
        Error::ConfigKey { origin: origin_of(sources, &key), key, message }
    })?;
    config.validate().map_err(|error| name_origin(sources, &config, error))?;
    Ok(config)
}

/// A path of a data file or a teacher is relative to the file that names it, or for `--set` to the current directory.
///
/// It is made absolute, so that the config of the run means the same file from everywhere.
fn anchor_data_path(table: &mut Table, dir: &Path) {
    for key in ["data", "teacher"] {
        if let Some(Value::Table(part)) = table.get_mut(key)
            && let Some(Value::String(path)) = part.get_mut("path")
            && !path.is_empty()
            && Path::new(path.as_str()).is_relative()
        {
            *path = dir.join(path.as_str()).display().to_string();
        }
    }
}

/// Lays `top` over `base`.
fn merge(base: &mut Table, top: Table) {
    for (key, value) in top {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) if same_kind(below, &above) => {
                merge(below, above)
            }
            // An index into an array of tables, from `--set objective.1.share=0.5`.
            (Some(Value::Array(items)), Value::Table(above))
                if above.keys().all(|k| k.parse::<usize>().is_ok()) =>
            {
                merge_items(items, above);
            }
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn merge_items(items: &mut Vec<Value>, above: Table) {
    for (index, value) in above {
        let index = index.parse::<usize>().unwrap_or(usize::MAX);
        match (items.get_mut(index), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge_term(below, above),
            (Some(item), value) => *item = value,
            (None, value) => items.push(value),
        }
    }
}

/// Lays `above` over a term of the loss.
fn merge_term(below: &mut Table, above: Table) {
    // Times that are what the objective has by default follow it, also where a printed config spells them out.
    if let Some(objective) = objective_of(below) {
        let defaults = [
            ("times", Value::try_from(objective.default_times())),
            ("middle", Value::try_from(objective.default_middle())),
        ];
        for (key, default) in defaults {
            let is_default = default.is_ok_and(|default| below.get(key) == Some(&default));
            if is_default && !above.contains_key(key) {
                below.remove(key);
            }
        }
    }
    if !same_kind(below, &above) {
        below.retain(|key, _| key != "kind" && TERM_KEYS.contains(&key));
    }
    merge(below, above);
}

/// The objective of a term, `None` where it is malformed.
fn objective_of(term: &Table) -> Option<Objective> {
    let own = |key: &str| key == "kind" || !TERM_KEYS.contains(&key);
    let own: Table = term.iter().filter(|(key, _)| own(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
    Value::Table(own).try_into().ok()
}

/// Whether `above` adds to `below`, or is another kind of thing that replaces it.
fn same_kind(below: &Table, above: &Table) -> bool {
    match (below.get("kind"), above.get("kind")) {
        (Some(below), Some(above)) => below == above,
        _ => true,
    }
}

/// The config, or the path of the part at fault and what is wrong with it.
fn parse(value: &Value) -> Result<Config, (String, String)> {
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
fn explain(merged: &Value, path: String, message: &str) -> (String, String) {
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
    let mut key = path;
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
fn lookup<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').filter(|part| !part.is_empty()).try_fold(value, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        Value::Table(table) => table.get(part),
        _ => None,
    })
}

/// The same values but for one key.
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
fn origin_of(sources: &[ConfigSource], key: &str) -> String {
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
fn name_origin(sources: &[ConfigSource], config: &Config, error: Error) -> Error {
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
        error @ Error::MissingTeacher { .. } => {
            let key = "teacher".to_owned();
            Error::ConfigKey { origin: origin_of(sources, &key), key, message: error.to_string() }
        }
        Error::Coupling(flowmap_core::Error::Parameter { name, expected, found }) => {
            let key = format!("coupling.{name}");
            let message = format!("expected {expected}, found {found}");
            Error::ConfigKey { origin: origin_of(sources, &key), key, message }
        }
        Error::UnknownMetric { .. } => {
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

    #[test]
    fn layers_override_each_other_in_order() {
        let sources = [
            ConfigSource::preset("checkerboard").unwrap(),
            ConfigSource::set("train.steps=7").unwrap(),
            ConfigSource::set("data.kind=moons").unwrap(),
            ConfigSource::set("data.noise=0.2").unwrap(),
            ConfigSource::value("--steps", "train.steps", 9i64),
        ];
        let config = resolve(&sources).unwrap();
        assert_eq!((config.train.steps, config.data.kind()), (9, "moons"));
    }

    #[test]
    fn another_kind_of_objective_keeps_what_all_terms_have_and_drops_the_rest() {
        let term = |sets: &[&str]| {
            let mut sources = vec![ConfigSource::preset("checkerboard").unwrap()];
            sources.extend(sets.iter().map(|s| ConfigSource::set(s).unwrap()));
            resolve(&sources).unwrap().objective[1].clone()
        };
        let common = [
            "objective.1.stop=none",
            "objective.1.weight=0.5",
            "objective.1.diagonal=0.25",
            "objective.1.anneal=10",
            "objective.1.norm={ kind = \"adaptive\" }",
            "objective.1.time_weight={ kind = \"width\", power = 2.0 }",
            "objective.1.times={ kind = \"fixed_end\" }",
        ];
        let (before, after) = (term(&common), term(&[&common[..], &["objective.1.kind=mean_flow"]].concat()));
        assert_eq!(after.objective.name(), "mean_flow");
        assert_eq!(after, Term { objective: after.objective, ..before });
        // Times by default are those of the new objective.
        let mean_flow = term(&["objective.1.kind=mean_flow"]);
        assert_eq!((mean_flow.share, mean_flow.times), (0.4, mean_flow.objective.default_times()));
    }

    #[test]
    fn times_that_a_resolved_config_spells_out_follow_the_objective() {
        let resolved = |sets: &[&str]| {
            let mut sources = vec![ConfigSource::preset("checkerboard").unwrap()];
            sources.extend(sets.iter().map(|s| ConfigSource::set(s).unwrap()));
            let text = resolve(&sources).unwrap().to_toml().unwrap();
            ConfigSource::text("resolved", &text).unwrap()
        };
        for (kind, follows) in [("shortcut", "times"), ("consistency", "middle")] {
            let spelled = resolved(&[&format!("objective.1.kind={kind}")]);
            let with = |sets: &[&str]| {
                let mut sources = vec![spelled.clone()];
                sources.extend(sets.iter().map(|s| ConfigSource::set(s).unwrap()));
                resolve(&sources).map(|config| config.objective[1].clone())
            };
            let halved = with(&["objective.1.n_steps=32"]).unwrap();
            assert_eq!(halved.times, halved.objective.default_times());
            assert_eq!(halved.middle, halved.objective.default_middle());
            let other = with(&["objective.1.kind=lsd"]).unwrap();
            assert_eq!(other, Term::new(other.objective, 0.4));
            // A file that says both, and not the same, is refused.
            let both = match kind {
                "shortcut" => "objective.1.times={ kind = \"dyadic\", n_steps = 4 }",
                _ => "objective.1.middle={ ahead = { n_steps = 4 } }",
            };
            let message = with(&["objective.1.n_steps=32", both]).unwrap_err().to_string();
            let expected =
                format!("key `objective.1.n_steps`: expected the same number as in `{follows}`, found 32");
            assert!(message.ends_with(&expected), "{message}");
        }
    }

    #[test]
    fn resolved_config_resolves_to_itself() {
        for preset in crate::PRESETS {
            let config = resolve(&[ConfigSource::preset(preset.name).unwrap()]).unwrap();
            let again = ConfigSource::text("again", &config.to_toml().unwrap()).unwrap();
            assert_eq!(resolve(&[again]).unwrap(), config);
        }
    }
}
