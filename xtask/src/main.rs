//! Tasks of the workspace, started as `cargo xtask TASK`: one file per task.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to the person who started it")]

mod ci;
mod examples;
mod gpu;
mod process;
mod readme;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

/// A task: its name, the line that `--help` shows, and what it does with its arguments.
type Task = (&'static str, &'static str, fn(&[String]) -> Result<ExitCode>);

const TASKS: &[Task] = &[
    ("ci", "run every check, cheapest first: the only gate", ci::main),
    ("tidy", "check the house rules that no compiler knows", tidy::main),
    ("readme", "run the commands of README.md", readme::main),
    ("examples", "build and run the examples of all crates", examples::main),
    ("gpu-check", "check all that is for GPUs, without one", gpu::check_main),
    ("gpu-pack", "build and pack the programs for a machine with a GPU", gpu::pack_main),
];

const EXAMPLES: &str = "\
examples:
  cargo xtask ci                          all steps, stop at the first red one
  cargo xtask ci --list                   names and commands of the steps
  cargo xtask ci --only fmt,tidy,clippy   some steps
  cargo xtask ci --keep-going             all steps, whatever fails
  cargo xtask tidy
  cargo xtask readme
  cargo xtask examples
  cargo xtask gpu-check --metal
  cargo xtask gpu-pack target/pack";

/// Exit code for a command line that means nothing.
const USAGE_ERROR: u8 = 2;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode> {
    let Some((name, rest)) = args.split_first() else {
        eprintln!("{}", usage());
        return Ok(ExitCode::from(USAGE_ERROR));
    };
    if matches!(name.as_str(), "--help" | "-h" | "help") {
        println!("{}", usage());
        return Ok(ExitCode::SUCCESS);
    }
    let Some((_, _, task)) = TASKS.iter().find(|(known, ..)| known == name) else {
        return Ok(usage_error(&format!("no task `{name}`"), &usage()));
    };
    // Every task works on paths relative to the root of the workspace.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    std::env::set_current_dir(root).with_context(|| format!("entering {}", root.display()))?;
    task(rest)
}

fn usage() -> String {
    let mut text = String::from("usage: cargo xtask TASK [OPTIONS]\n\ntasks:\n");
    for (name, about, _) in TASKS {
        text.push_str(&format!("  {name:<11}{about}\n"));
    }
    text.push('\n');
    text.push_str(EXAMPLES);
    text
}

/// Says what is wrong with the command line and what would be right.
fn usage_error(wrong: &str, right: &str) -> ExitCode {
    eprintln!("error: {wrong}\n\n{right}");
    ExitCode::from(USAGE_ERROR)
}
