//! Licenses and sources of the dependencies, against the lists of deny.toml.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Findings;
use super::expression::is_allowed;
use crate::process;

const LIST: &str = "deny.toml";

/// Checks every package of the lock file and answers how many there are.
pub fn check(findings: &mut Findings) -> Result<usize> {
    let allowed = allowed()?;
    let mut cargo = process::cargo();
    cargo.args(["metadata", "--format-version", "1", "--locked"]);
    let metadata: Value =
        serde_json::from_str(&process::output(cargo)?).context("reading the output of cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;

    let mut registries = BTreeSet::new();
    for package in packages {
        let field = |name: &str| package[name].as_str();
        let name = format!("{} {}", field("name").unwrap_or("?"), field("version").unwrap_or("?"));
        match field("license").map(|license| (license, is_allowed(license, &allowed))) {
            Some((_, Ok(true))) => {}
            Some((license, Ok(false))) => {
                findings.of(&name, format!("the license `{license}` is not allowed by {LIST}"))
            }
            Some((license, Err(error))) => {
                findings.of(&name, format!("the license `{license}` cannot be read: {error}"))
            }
            None => findings.of(&name, "the package names no license"),
        }
        match field("source") {
            // Members of the workspace.
            None => {}
            Some(source) if source.starts_with("registry+") => {
                registries.insert(source);
            }
            Some(source) => {
                findings.of(&name, format!("comes from `{source}`, expected the standard registry"))
            }
        }
    }
    if registries.len() > 1 {
        findings.of("Cargo.lock", format!("{} registries, expected one", registries.len()));
    }
    Ok(packages.len())
}

fn allowed() -> Result<Vec<String>> {
    let text = fs::read_to_string(LIST).with_context(|| format!("reading {LIST}"))?;
    let deny: toml::Table = text.parse().with_context(|| format!("reading {LIST}"))?;
    let list =
        deny.get("licenses").and_then(|licenses| licenses.get("allow")).and_then(toml::Value::as_array);
    let list = list.with_context(|| format!("{LIST} has no list `licenses.allow`"))?;
    Ok(list.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
}
