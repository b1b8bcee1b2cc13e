//! `cargo xtask tidy`: the house rules that no compiler knows, by plain reads of the files that git knows.
//!
//! Each group of rules is one file; each rule says where it was broken and what to do.

mod crates;
mod expression;
mod files;
mod licenses;
mod links;
mod reads;
mod references;
mod sends;
mod spelling;
mod text;
mod words;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use files::Source;

/// What the rules found.
#[derive(Default)]
struct Findings {
    broken: Vec<String>,
    warnings: Vec<String>,
}

impl Findings {
    /// A broken rule at a line of a file.
    fn at(&mut self, source: &Source, line: usize, what: impl AsRef<str>) {
        self.broken.push(format!("{}:{line}: {}", source.path, what.as_ref()));
    }

    /// A broken rule of a whole file, crate or dependency.
    fn of(&mut self, name: &str, what: impl AsRef<str>) {
        self.broken.push(format!("{name}: {}", what.as_ref()));
    }

    fn warn(&mut self, name: &str, what: impl AsRef<str>) {
        self.warnings.push(format!("{name}: {}", what.as_ref()));
    }
}

/// Runs the task.
pub fn main(args: &[String]) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        let usage = "usage: cargo xtask tidy";
        if matches!(arg.as_str(), "--help" | "-h") {
            println!("{usage}");
            return Ok(ExitCode::SUCCESS);
        }
        return Ok(crate::usage_error(&format!("no option `{arg}`"), usage));
    }
    check()?;
    Ok(ExitCode::SUCCESS)
}

/// Checks all rules and prints every finding.
///
/// # Errors
/// A rule is broken, or the files cannot be read.
pub fn check() -> Result<()> {
    let start = Instant::now();
    let sources = files::read_all()?;
    let mut findings = Findings::default();
    for source in &sources {
        text::check(source, &mut findings);
        words::check(source, &mut findings);
        spelling::check(source, &mut findings);
        links::check(source, &mut findings);
        reads::check(source, &mut findings);
        sends::check(source, &mut findings);
    }
    references::check(&sources, &mut findings);
    text::check_exceptions(&sources, &mut findings);
    crates::check(&mut findings)?;
    let packages = licenses::check(&mut findings)?;

    let Findings { broken, warnings } = findings;
    for warning in &warnings {
        println!("warning: {warning}");
    }
    for finding in &broken {
        println!("error: {finding}");
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("tidy: {} files and {packages} packages read in {seconds:.1} s", sources.len());
    match broken.len() {
        0 => Ok(()),
        1 => bail!("1 house rule is broken"),
        count => bail!("{count} house rules are broken"),
    }
}
