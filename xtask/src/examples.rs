//! `cargo xtask examples`: builds and runs every example of the workspace.
//!
//! Among them are the two that train a method and a network of another crate, which no test of ours could stand for.

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::process;

/// Runs the task.
pub fn main(args: &[String]) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        let usage = "usage: cargo xtask examples";
        if matches!(arg.as_str(), "--help" | "-h") {
            println!("{usage}");
            return Ok(ExitCode::SUCCESS);
        }
        return Ok(crate::usage_error(&format!("no option `{arg}`"), usage));
    }
    check()?;
    Ok(ExitCode::SUCCESS)
}

/// Runs every example of every crate and stops at the first that fails.
///
/// # Errors
/// There is no example, one does not build, or one ends with another code than zero.
pub fn check() -> Result<()> {
    let mut build = process::cargo();
    build.args(["build", "--locked", "--workspace", "--features", "flowmap-cli/parquet", "--examples"]);
    ensure!(build.status().context("starting cargo")?.success(), "the examples do not build");
    let sources = sources()?;
    ensure!(!sources.is_empty(), "found no example in crates/*/examples");
    // The examples lie in a folder beside this program.
    let built = std::env::current_exe().context("finding this program")?.with_file_name("examples");
    for source in sources {
        let name = source.file_stem().context("an example without a name")?;
        println!("{}", source.display());
        let start = Instant::now();
        let program = built.join(name);
        let mut example = process::command(&program.display().to_string());
        let status = example.stdin(Stdio::null()).status();
        let status = status.with_context(|| format!("starting {}", program.display()))?;
        println!("{}: {:.1} s", source.display(), start.elapsed().as_secs_f64());
        ensure!(status.success(), "{} ended with {status}", source.display());
    }
    Ok(())
}

/// The sources of all examples, in the order of their names.
fn sources() -> Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for member in std::fs::read_dir("crates").context("reading crates")? {
        let Ok(examples) = member.context("reading crates")?.path().join("examples").read_dir() else {
            continue;
        };
        for example in examples {
            sources.push(example.context("reading examples")?.path());
        }
    }
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    sources.sort();
    Ok(sources)
}
