//! Configs in layers: preset < file < `--set` < flags.
//!
//! Tables merge key by key; a table whose `kind` differs is replaced whole, and so are arrays and another interpolant.
//! A term of the loss keeps what all terms have when its `kind` changes, and loses the keys of the old objective alone.
//! What is wrong is reported with the key and with the layer that set it.

use std::path::{Path, PathBuf};

use flowmap_nn::method::{Method, Objective};
use toml::{Table, Value};

use super::Config;
use super::refusal::{explain, lookup, name_origin, origin_of, parse};
use crate::presets::preset;
use crate::{Error, Result};

/// Keys that every objective has, in addition to those of its kind.
pub(super) const TERM_KEYS: [&str; 12] = [
    "kind",
    "weight",
    "share",
    "times",
    "diagonal",
    "middle",
    "norm",
    "time_weight",
    "derivative",
    "anneal",
    "dropout",
    "label_dropout",
];

/// One layer of a config: values and where they came from.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    pub(super) origin: String,
    pub(super) table: Table,
    /// The folder that relative paths of data files start from.
    dir: Option<PathBuf>,
}

impl ConfigSource {
    /// A preset by its name.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
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
    /// [`Error::SetArgument`] if there is no `=` or no key.
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
/// The path is made absolute, so that the config of the run means the same file from everywhere.
fn anchor_data_path(table: &mut Table, dir: &Path) {
    for (key, name) in [("data", "path"), ("teacher", "path"), ("teacher", "guide")] {
        if let Some(Value::Table(part)) = table.get_mut(key)
            && let Some(Value::String(path)) = part.get_mut(name)
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
            // The one key of the table names the interpolant, as `kind` does elsewhere.
            (Some(Value::Table(below)), Value::Table(above)) if key == "interpolant" => {
                below.retain(|name, _| above.contains_key(name));
                merge(below, above);
            }
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
        let defaults =
            [("times", Value::try_from(objective.times())), ("middle", Value::try_from(objective.middle()))];
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

/// The objective of a term, `None` if it is malformed.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flowmap_nn::loss::Term;

    use super::*;

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
            "objective.1.dropout=all",
            "objective.1.label_dropout=0.5",
            "objective.1.norm={ kind = \"adaptive\" }",
            "objective.1.time_weight={ kind = \"width\", power = 2.0 }",
            "objective.1.times={ kind = \"fixed_end\" }",
        ];
        let (before, after) = (term(&common), term(&[&common[..], &["objective.1.kind=mean_flow"]].concat()));
        assert_eq!(after.objective.name(), "mean_flow");
        assert_eq!(after, Term { objective: after.objective.clone(), ..before });
        // The default times are those of the new objective.
        let mean_flow = term(&["objective.1.kind=mean_flow"]);
        assert_eq!((mean_flow.share, mean_flow.times), (0.4, mean_flow.objective.times()));
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
            assert_eq!(halved.times, halved.objective.times());
            assert_eq!(halved.middle, halved.objective.middle());
            let other = with(&["objective.1.kind=lsd"]).unwrap();
            assert_eq!(other, Term::new(other.objective.clone(), 0.4));
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

    #[test]
    fn misspelled_interpolant_over_that_of_a_preset_is_named_with_the_known_ones() {
        let preset = || ConfigSource::preset("imagenet-latent-shortcut-b").unwrap();
        let of = |set: &str| resolve(&[preset(), ConfigSource::set(set).unwrap()]);
        let message = of("interpolant={ noisy_liner = { sigma_min = 1e-5 } }").unwrap_err().to_string();
        assert!(message.contains("noisy_liner") && message.contains("noisy_linear"), "{message}");
        let message = of("interpolant.noisy_linear.sigma_mim=1e-5").unwrap_err().to_string();
        assert!(message.contains("sigma_mim") && message.contains("sigma_min"), "{message}");
        assert!(of("interpolant.noisy_linear.sigma_min=1e-4").is_ok());
        assert!(of("interpolant=\"trigonometric\"").is_ok());
    }
}
