//! What holds for a crate as a whole: package data, README, lints, and which layers it may know.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::Findings;

/// Layers that each crate may depend on.
///
/// kernel <- dual; {core, dual} <- nn <- {metrics, sample, train} <- cli; core <- data <- train; figure <- train.
/// What a layer may know, the layers above it may know too.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("flowmap-core", &[]),
    ("flowmap-kernel", &[]),
    ("flowmap-dual", &["flowmap-kernel"]),
    ("flowmap-figure", &[]),
    ("flowmap-nn", &["flowmap-core", "flowmap-kernel", "flowmap-dual"]),
    ("flowmap-data", &["flowmap-core"]),
    // The judge of images, a feature, is a network.
    ("flowmap-metrics", &["flowmap-core", "flowmap-kernel", "flowmap-dual", "flowmap-nn"]),
    ("flowmap-sample", &["flowmap-core", "flowmap-kernel", "flowmap-dual", "flowmap-nn"]),
    (
        "flowmap-train",
        &[
            "flowmap-core",
            "flowmap-kernel",
            "flowmap-dual",
            "flowmap-figure",
            "flowmap-nn",
            "flowmap-data",
            "flowmap-metrics",
            "flowmap-sample",
        ],
    ),
    (
        "flowmap-cli",
        &[
            "flowmap-core",
            "flowmap-kernel",
            "flowmap-dual",
            "flowmap-figure",
            "flowmap-nn",
            "flowmap-data",
            "flowmap-metrics",
            "flowmap-sample",
            "flowmap-train",
        ],
    ),
];

/// More layers that the tests of a crate may know: the tests of kernel and dual draw their inputs from core's noise
/// streams, and the oracle of the kernels are the composed operations of dual.
const TESTS_MAY_KNOW: &[(&str, &[&str])] =
    &[("flowmap-kernel", &["flowmap-core", "flowmap-dual"]), ("flowmap-dual", &["flowmap-core"])];

const OURS: &str = "flowmap-";

/// Package data that people see where crates are listed.
const PACKAGE_DATA: &[&str] = &["description", "license", "readme", "keywords", "categories", "rust-version"];

/// Crates without tensors and without Candle.
const WITHOUT_CANDLE: &[&str] = &["flowmap-core", "flowmap-data", "flowmap-figure"];

/// The page whose table says what each crate knows.
const PAGE: &str = "docs/src/architecture.md";

/// The one crate that has kernels, and so cannot forbid unsafe code as a whole.
const HAS_KERNELS: &str = "flowmap-kernel";

/// Checks every crate.
pub fn check(findings: &mut Findings) -> Result<()> {
    let mut folders: Vec<_> = fs::read_dir("crates")
        .context("listing crates")?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .context("listing crates")?;
    folders.sort();
    let page = fs::read_to_string(PAGE).with_context(|| format!("reading {PAGE}"))?;
    for folder in folders.iter().filter(|folder| folder.join("Cargo.toml").is_file()) {
        let path = folder.join("Cargo.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let manifest: Table = text.parse().with_context(|| format!("reading {}", path.display()))?;
        check_manifest(&manifest, findings);
        check_row(&manifest, &page, findings);
        let name = manifest["package"]["name"].as_str().unwrap_or_default();
        check_folder(name, folder, findings);
    }
    check_unsafe_is_denied("xtask", Path::new("xtask"), findings)
}

fn check_manifest(manifest: &Table, findings: &mut Findings) {
    let package = manifest.get("package").and_then(Value::as_table).cloned().unwrap_or_default();
    let name = package.get("name").and_then(Value::as_str).unwrap_or("a crate without a name");
    for &key in PACKAGE_DATA {
        let is_there = match package.get(key) {
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Table(inherited)) => inherited.get("workspace") == Some(&Value::Boolean(true)),
            _ => false,
        };
        if !is_there {
            findings.of(name, format!("Cargo.toml has no `{key}`"));
        }
    }
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    if lints != Some(&Value::Boolean(true)) {
        findings.of(name, "Cargo.toml does not take the lints of the workspace");
    }

    let Some((_, may_know)) = MAY_KNOW.iter().find(|(known, _)| *known == name) else {
        findings.of(name, "not in the table of layers; say in xtask/src/tidy/crates.rs what it may know");
        return;
    };
    let tests_may_know =
        TESTS_MAY_KNOW.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, list)| *list);
    for (kind, dependency) in dependencies(manifest) {
        let is_test = kind == "dev-dependencies";
        let is_known = may_know.contains(&dependency) || (is_test && tests_may_know.contains(&dependency));
        if dependency.starts_with(OURS) && !is_known {
            let list =
                if may_know.is_empty() { "none of our crates".to_owned() } else { may_know.join(", ") };
            findings.of(name, format!("must not know {dependency}; it may know {list}"));
        }
        if dependency.starts_with("candle") && WITHOUT_CANDLE.contains(&name) {
            findings.of(name, format!("must not know {dependency}; it has no tensors"));
        }
    }
}

/// Checks that the row of a crate in the table of the page lists the crates that it depends on.
fn check_row(manifest: &Table, page: &str, findings: &mut Findings) {
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
    let name = name.unwrap_or_default();
    let mut knows: Vec<_> = dependencies(manifest)
        .into_iter()
        .filter(|(kind, _)| *kind == "dependencies")
        .filter_map(|(_, dependency)| dependency.strip_prefix(OURS))
        .collect();
    knows.sort_unstable();
    knows.dedup();
    let row = page.lines().find(|line| line.starts_with(&format!("| {name} |")));
    let listed = row.map(|row| row.trim_end_matches('|').rsplit('|').next().unwrap_or_default().trim());
    if listed != Some(&knows.join(", ")) {
        let found = listed.map_or("no row".to_owned(), |listed| format!("`{listed}`"));
        findings
            .of(name, format!("{PAGE}: expected `{}` in the last column, found {found}", knows.join(", ")));
    }
}

/// Every dependency with the name of its table.
fn dependencies(manifest: &Table) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let targets = manifest.get("target").and_then(Value::as_table);
    let tables = targets.into_iter().flatten().filter_map(|(_, table)| table.as_table());
    for table in std::iter::once(manifest).chain(tables) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(entries) = table.get(kind).and_then(Value::as_table) else { continue };
            for (key, entry) in entries {
                // A renamed dependency has its own name in `package`.
                let name = entry.get("package").and_then(Value::as_str).unwrap_or(key);
                found.push((kind, name));
            }
        }
    }
    found
}

fn check_folder(name: &str, folder: &Path, findings: &mut Findings) {
    if !folder.join("README.md").is_file() {
        findings.of(name, "has no README.md");
    }
    if folder.file_name().and_then(|folder| folder.to_str()) != Some(name) {
        findings.of(name, format!("lives in {}, expected a folder of its own name", folder.display()));
    }
    if let Err(error) = check_unsafe_is_denied(name, folder, findings) {
        findings.of(name, format!("{error:#}"));
    }
}

fn check_unsafe_is_denied(name: &str, folder: &Path, findings: &mut Findings) -> Result<()> {
    for root in ["src/lib.rs", "src/main.rs"] {
        let path = folder.join(root);
        if !path.is_file() {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let forbids = text.lines().any(|line| line == "#![forbid(unsafe_code)]");
        let denies = name == HAS_KERNELS && text.lines().any(|line| line == "#![deny(unsafe_code)]");
        if !forbids && !denies {
            findings.of(&path.display().to_string(), "expected `#![forbid(unsafe_code)]`");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
[package]
name = \"flowmap-data\"
description = \"Data\"
license.workspace = true
readme = \"README.md\"
keywords.workspace = true
categories = [\"science\"]
rust-version.workspace = true
[lints]
workspace = true
";

    fn check_text(more: &str, expect: &[&str]) {
        let manifest: Table = format!("{GOOD}{more}").parse().unwrap();
        let mut findings = Findings::default();
        check_manifest(&manifest, &mut findings);
        assert_eq!(findings.broken, expect);
    }

    #[test]
    fn arrows_down_are_allowed() {
        check_text("[dependencies]\nflowmap-core.workspace = true\n", &[]);
    }

    #[test]
    fn arrows_up_are_found() {
        let expect = ["flowmap-data: must not know flowmap-nn; it may know flowmap-core"];
        check_text("[dependencies]\nflowmap-nn.workspace = true\n", &expect);
        check_text("[dev-dependencies]\nflowmap-nn.workspace = true\n", &expect);
        check_text("[target.'cfg(unix)'.dependencies]\nnets = { package = \"flowmap-nn\" }\n", &expect);
    }

    #[test]
    fn rows_of_the_page_that_do_not_fit_the_manifest_are_found() {
        let manifest =
            "[package]\nname = 'flowmap-b'\n[dependencies]\nflowmap-z = '1'\nflowmap-a = '1'\nserde = '1'";
        let finds = |page: &str| {
            let mut findings = Findings::default();
            check_row(&manifest.parse().unwrap(), page, &mut findings);
            findings.broken.concat()
        };
        assert_eq!(finds("| flowmap-b | what it is | a, z |"), "");
        assert!(
            finds("| flowmap-b | what it is | |").ends_with("expected `a, z` in the last column, found ``")
        );
        assert!(finds("| flowmap-c | what it is | a, z |").ends_with("found no row"));
    }

    #[test]
    fn tensors_stay_where_they_belong() {
        check_text(
            "[dependencies]\ncandle-core = \"1\"\n",
            &["flowmap-data: must not know candle-core; it has no tensors"],
        );
    }

    #[test]
    fn missing_package_data_is_found() {
        let manifest: Table = GOOD.replace("description = \"Data\"", "").parse().unwrap();
        let mut findings = Findings::default();
        check_manifest(&manifest, &mut findings);
        assert_eq!(findings.broken, ["flowmap-data: Cargo.toml has no `description`"]);
    }

    #[test]
    fn layers_stand_below_those_that_know_them() {
        for (position, (_, may_know)) in MAY_KNOW.iter().enumerate() {
            for name in *may_know {
                assert!(MAY_KNOW[..position].iter().any(|(lower, _)| lower == name), "{name}");
            }
        }
    }
}
