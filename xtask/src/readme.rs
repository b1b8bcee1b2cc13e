//! `cargo xtask readme`: runs the commands of README.md as a reader would, in the release profile.
//!
//! The gate runs the same commands with the program that its tests have built, and trains fewer steps, since a release
//! build of all dependencies and the whole training take minutes that find little: they are the slow stage, nightly.
//!
//! Every line of a fenced block tagged `sh` is one command, run by bash in the root of the workspace.
//! A block that follows the comment `<!-- not run by ci: REASON -->` is left out,
//! and so is the gate itself, which is where this task is called from.

use std::fs;
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::process;

const README: &str = "README.md";
const NOT_RUN: &str = "<!-- not run by ci:";
const COMMENT_END: &str = "-->";

/// Commands that lead back to this task.
const GATES: &[&str] = &["cargo xtask ci", "cargo xtask readme", ".ci/run", "./.ci/run"];

/// How README.md starts the program.
const PROGRAM: &str = "cargo run --release -p flowmap-cli --";
/// The command of README.md that trains, and the steps that the gate gives it.
const TRAINS: (&str, &str) = ("cargo run --release -p flowmap-cli -- train", " --steps 300");

/// One line of a block.
#[derive(Debug, PartialEq)]
struct Line {
    /// Line of the file, counted from one.
    number: usize,
    command: String,
    /// Why the command is not run.
    left_out: Option<String>,
}

/// Runs the task.
pub fn main(args: &[String]) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        let usage = "usage: cargo xtask readme";
        if matches!(arg.as_str(), "--help" | "-h") {
            println!("{usage}");
            return Ok(ExitCode::SUCCESS);
        }
        return Ok(crate::usage_error(&format!("no option `{arg}`"), usage));
    }
    run_all(&as_written)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs every command of README.md in the form of the gate and stops at the first that fails.
///
/// # Errors
/// The file cannot be read, holds no command, or one of its commands fails.
pub fn check() -> Result<()> {
    // The tests of the program need it, and their other dependencies decide features: to build the program alone would
    // compile Candle again.
    let mut build = process::cargo();
    build.args([
        "test",
        "--locked",
        "--workspace",
        "--features",
        "flowmap-cli/parquet",
        "--test",
        "cli",
        "--no-run",
    ]);
    ensure!(process::succeeds(build), "`cargo test --test cli --no-run` failed");
    // Both programs are in one folder.
    let built = std::env::current_exe().context("finding this program")?.with_file_name("flowmap");
    run_all(&|command| of_the_gate(command, &built.display().to_string()))
}

fn run_all(form: &dyn Fn(&str) -> String) -> Result<()> {
    let text = fs::read_to_string(README).with_context(|| format!("reading {README}"))?;
    let lines = commands(&text)?;
    ensure!(!lines.is_empty(), "{README} has no block tagged `sh`");
    for line in lines {
        run(&Line { command: form(&line.command), ..line })?;
    }
    Ok(())
}

fn as_written(command: &str) -> String {
    command.to_owned()
}

/// The command with the program of the tests, and fewer steps for the training.
fn of_the_gate(command: &str, built: &str) -> String {
    let (train, steps) = TRAINS;
    let more = if command == train { steps } else { "" };
    match command.strip_prefix(PROGRAM) {
        Some(arguments) => format!("{built}{arguments}{more}"),
        None => command.to_owned(),
    }
}

fn run(line: &Line) -> Result<()> {
    let Line { number, command, left_out } = line;
    if let Some(reason) = left_out {
        println!("{README}:{number}: left out ({reason}): {command}");
        return Ok(());
    }
    println!("{README}:{number}: {command}");
    let start = Instant::now();
    let mut bash = process::command("bash");
    bash.args(["-euo", "pipefail", "-c", command.as_str()]).stdin(Stdio::null());
    let status = bash.status().context("starting bash")?;
    println!("{README}:{number}: {:.1} s", start.elapsed().as_secs_f64());
    ensure!(status.success(), "{README}:{number}: `{command}` ended with {status}");
    Ok(())
}

/// The commands of all `sh` blocks, in their order; a backslash at the end joins two lines.
fn commands(markdown: &str) -> Result<Vec<Line>> {
    let mut found = Vec::new();
    let mut reason: Option<String> = None;
    let mut lines = markdown.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix(NOT_RUN) {
            let text = rest.strip_suffix(COMMENT_END).map(str::trim).unwrap_or_default();
            ensure!(
                !text.is_empty(),
                "{README}:{number}: expected `{NOT_RUN} REASON {COMMENT_END}` on one line"
            );
            reason = Some(text.to_owned());
        } else if let Some(tag) = line.strip_prefix("```") {
            let block = block(&mut lines, number)?;
            if tag.trim() == "sh" {
                found.extend(block.into_iter().map(|(number, command)| {
                    let left_out = reason.clone().or_else(|| gate(&command));
                    Line { number, command, left_out }
                }));
            }
            reason = None;
        } else if !line.is_empty() {
            // The comment speaks of the block that follows it, and of no other.
            reason = None;
        }
    }
    Ok(found)
}

/// Reads up to the closing fence.
fn block<'a>(
    lines: &mut impl Iterator<Item = (&'a str, usize)>,
    opened_at: usize,
) -> Result<Vec<(usize, String)>> {
    let mut commands: Vec<(usize, String)> = Vec::new();
    let mut joins = false;
    for (line, number) in lines {
        let line = line.trim();
        if line.starts_with("```") {
            return Ok(commands);
        }
        let (text, goes_on) = match line.strip_suffix('\\') {
            Some(text) => (text, true),
            None => (line, false),
        };
        match commands.last_mut() {
            Some((_, command)) if joins => command.push_str(text),
            _ if text.is_empty() || text.starts_with('#') => continue,
            _ => commands.push((number, text.to_owned())),
        }
        joins = goes_on;
    }
    bail!("{README}:{opened_at}: the block has no closing fence")
}

fn gate(command: &str) -> Option<String> {
    let is_gate = GATES
        .iter()
        .any(|gate| command.strip_prefix(gate).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')));
    is_gate.then(|| "it is the gate itself".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(markdown: &str, expect: &[(usize, &str, Option<&str>)]) {
        let found = commands(markdown).unwrap();
        let found: Vec<_> =
            found.iter().map(|line| (line.number, line.command.as_str(), line.left_out.as_deref())).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn gate_runs_the_program_of_the_tests_and_trains_few_steps() {
        assert_eq!(of_the_gate(TRAINS.0, "built"), "built train --steps 300");
        assert_eq!(of_the_gate(&format!("{PROGRAM} presets"), "built"), "built presets");
        assert_eq!(of_the_gate("ls", "built"), "ls");
        let text = fs::read_to_string("../README.md").unwrap();
        let lines = commands(&text).unwrap();
        assert!(lines.iter().any(|line| line.command == TRAINS.0), "README.md trains by `{}`", TRAINS.0);
    }

    #[test]
    fn lines_of_sh_blocks_are_commands() {
        check("# Title\n```sh\na b\n\n# why\nc\n```\n", &[(3, "a b", None), (6, "c", None)]);
    }

    #[test]
    fn other_blocks_are_not_commands() {
        check("```toml\na = 1\n```\n```\nb\n```\n```shell\nc\n```\n", &[]);
    }

    #[test]
    fn a_backslash_joins_lines() {
        check("```sh\na \\\n  --b\nc\n```", &[(2, "a --b", None), (4, "c", None)]);
    }

    #[test]
    fn a_comment_leaves_out_the_next_block_only() {
        check(
            "<!-- not run by ci: needs a GPU -->\n\n```sh\na\n```\n```sh\nb\n```\n",
            &[(4, "a", Some("needs a GPU")), (7, "b", None)],
        );
    }

    #[test]
    fn a_comment_does_not_reach_over_text() {
        check("<!-- not run by ci: x -->\ntext\n```sh\na\n```\n", &[(4, "a", None)]);
    }

    #[test]
    fn the_gate_is_not_run() {
        check(
            "```sh\ncargo xtask ci\ncargo xtask ci --list\ncargo xtask cider\n```",
            &[
                (2, "cargo xtask ci", Some("it is the gate itself")),
                (3, "cargo xtask ci --list", Some("it is the gate itself")),
                (4, "cargo xtask cider", None),
            ],
        );
    }

    #[test]
    fn an_open_block_is_an_error() {
        assert!(commands("text\n```sh\na\n").unwrap_err().to_string().contains("README.md:2"));
    }

    #[test]
    fn a_comment_needs_a_reason() {
        assert!(commands("<!-- not run by ci: -->\n").is_err());
    }
}
