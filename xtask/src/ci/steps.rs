//! The steps of the gate as a table, cheapest first.

use anyhow::Result;

use crate::{examples, gpu, readme, tidy};

/// One step.
pub struct Step {
    pub name: &'static str,
    pub action: Action,
}

/// What a step does.
pub enum Action {
    /// Runs cargo with these arguments and these additions to the environment.
    Cargo { args: &'static str, env: &'static [(&'static str, &'static str)] },
    /// Runs another task of this program, known to people under this name.
    Task { name: &'static str, check: fn() -> Result<()> },
}

/// Who runs the tests that are not doctests.
#[derive(Clone, Copy)]
pub enum TestRunner {
    Nextest,
    Cargo,
}

impl Step {
    const fn cargo(name: &'static str, args: &'static str) -> Self {
        Self { name, action: Action::Cargo { args, env: &[] } }
    }

    /// The command as a person would type it.
    pub fn command_line(&self) -> String {
        match &self.action {
            Action::Cargo { args, env } => {
                let env: String = env.iter().map(|(name, value)| format!("{name}='{value}' ")).collect();
                // A shell would take a bare star for the names of files.
                format!("{env}cargo {}", args.replace('*', "'*'"))
            }
            Action::Task { name, .. } => format!("cargo xtask {name}"),
        }
    }
}

/// The steps, in the order in which they run.
///
/// One set of dependencies is compiled, for tests, doctests, benches and the README; another is checked for clippy and
/// doc, and a third for GPUs. Steps that share a set select the same packages, since another selection unites other
/// features and would compile Candle again. What a user would build without Parquet files is checked with them.
pub fn table(runner: TestRunner) -> Vec<Step> {
    let test = match runner {
        TestRunner::Nextest => {
            "nextest run --locked --workspace --features flowmap-cli/parquet --no-fail-fast"
        }
        // Without a list of targets this would run the doctests too, and count them twice.
        TestRunner::Cargo => {
            "test --locked --workspace --features flowmap-cli/parquet --lib --bins --tests --examples --no-fail-fast"
        }
    };
    vec![
        Step::cargo("fmt", "fmt --all -- --check"),
        Step { name: "tidy", action: Action::Task { name: "tidy", check: tidy::check } },
        // Members that are never published need not be packaged either.
        Step::cargo(
            "package",
            "package --locked --workspace --exclude xtask --exclude flowmap-benches --no-verify --allow-dirty",
        ),
        Step::cargo(
            "clippy",
            "clippy --locked --workspace --features flowmap-cli/parquet --all-targets -- -D warnings",
        ),
        Step {
            name: "doc",
            action: Action::Cargo {
                // With the examples among the targets, dependencies have the features that clippy checked them with.
                args: "doc --locked --workspace --features flowmap-cli/parquet --no-deps --lib --bins --examples",
                env: &[("RUSTDOCFLAGS", "-D warnings")],
            },
        },
        // A third set, for features that need Candle again; nothing is compiled but checked.
        Step { name: "gpu-check", action: Action::Task { name: "gpu-check", check: gpu::check } },
        Step::cargo("test", test),
        Step::cargo(
            "doctest",
            "test --locked --workspace --features flowmap-cli/parquet --doc --no-fail-fast",
        ),
        // In the dev profile all dependencies are there already: the tests have built them.
        // `--bench *` leaves out the unit tests of the libraries, which `--benches` would build too.
        Step::cargo(
            "bench",
            "bench --locked --workspace --features flowmap-cli/parquet --bench * --no-run --profile dev",
        ),
        Step { name: "examples", action: Action::Task { name: "examples", check: examples::check } },
        // With the program of the tests; `cargo xtask readme` runs the commands as they are written, nightly.
        Step { name: "readme", action: Action::Task { name: "readme", check: readme::check } },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_for_both_runners() {
        for runner in [TestRunner::Nextest, TestRunner::Cargo] {
            let mut names: Vec<_> = table(runner).iter().map(|step| step.name).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }

    #[test]
    fn every_step_that_reads_the_lock_file_keeps_it() {
        for step in table(TestRunner::Nextest) {
            let command = step.command_line();
            let has_lock_file = matches!(step.action, Action::Cargo { .. }) && step.name != "fmt";
            assert!(!has_lock_file || command.contains(" --locked"), "{command}");
        }
    }
}
