//! `cargo xtask ci`: every check, cheapest first, stopping at the first red one.

mod steps;
mod totals;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::process;
use steps::{Action, Step, TestRunner};
use totals::Totals;

const USAGE: &str = "\
usage: cargo xtask ci [--only STEP[,STEP]...] [--keep-going] [--list]

options:
  --only STEP[,STEP]   run these steps, in the order of the table
  --keep-going         run the steps after a red one too
  --list               print the steps and their commands, and run nothing";

/// What the command line asks for.
#[derive(Debug, Default, PartialEq)]
struct Options {
    only: Option<Vec<String>>,
    after_failure: AfterFailure,
    mode: Mode,
}

#[derive(Debug, Default, PartialEq)]
enum AfterFailure {
    #[default]
    Stop,
    KeepGoing,
}

#[derive(Debug, Default, PartialEq)]
enum Mode {
    #[default]
    Run,
    List,
    Help,
}

/// How a step ended.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Ok,
    Failed,
    NotRun,
}

/// A line of the closing table.
struct Row {
    name: &'static str,
    seconds: f64,
    outcome: Outcome,
}

/// Runs the task.
pub fn main(args: &[String]) -> Result<ExitCode> {
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(wrong) => return Ok(crate::usage_error(&wrong, USAGE)),
    };
    let mut steps = steps::table(installed_runner());
    if let Some(only) = &options.only {
        let known: Vec<_> = steps.iter().map(|step| step.name).collect();
        if let Some(unknown) = only.iter().find(|name| !known.contains(&name.as_str())) {
            let right = format!("steps: {}", known.join(", "));
            return Ok(crate::usage_error(&format!("no step `{unknown}`"), &right));
        }
        steps.retain(|step| only.iter().any(|name| name == step.name));
    }
    match options.mode {
        Mode::Help => println!("{USAGE}"),
        Mode::List => {
            for step in &steps {
                println!("{:<11}{}", step.name, step.command_line());
            }
        }
        Mode::Run => return Ok(run_all(&steps, &options.after_failure)),
    }
    Ok(ExitCode::SUCCESS)
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (arg.as_str(), None),
            };
            match (name, value) {
                ("--only", _) => {
                    let list = value.or_else(|| args.next().map(String::as_str));
                    let list = list.ok_or("`--only` needs the name of a step")?;
                    let names = list.split(',').map(|name| name.trim().to_owned());
                    options.only.get_or_insert_default().extend(names);
                }
                ("--keep-going", None) => options.after_failure = AfterFailure::KeepGoing,
                ("--list", None) => options.mode = Mode::List,
                ("--help" | "-h", None) => options.mode = Mode::Help,
                _ => return Err(format!("no option `{arg}`")),
            }
        }
        Ok(options)
    }
}

fn installed_runner() -> TestRunner {
    let mut nextest = process::cargo();
    nextest.args(["nextest", "--version"]);
    if process::succeeds(nextest) { TestRunner::Nextest } else { TestRunner::Cargo }
}

fn run_all(steps: &[Step], after_failure: &AfterFailure) -> ExitCode {
    let mut rows: Vec<Row> = Vec::new();
    let mut totals = Totals::default();
    for (step, number) in steps.iter().zip(1..) {
        let failed_before = rows.iter().any(|row| row.outcome != Outcome::Ok);
        if failed_before && *after_failure == AfterFailure::Stop {
            rows.push(Row { name: step.name, seconds: 0.0, outcome: Outcome::NotRun });
            continue;
        }
        println!("\n== {} ({number}/{}): {}", step.name, steps.len(), step.command_line());
        let start = Instant::now();
        let mut counted = Totals::default();
        let outcome = match run(step, &mut counted) {
            Ok(true) => Outcome::Ok,
            Ok(false) => Outcome::Failed,
            Err(error) => {
                println!("error: {error:#}");
                Outcome::Failed
            }
        };
        if outcome == Outcome::Failed && counted.failed == 0 {
            // A step that fails before or outside of its tests must not look like a pass in the totals.
            counted.failed = 1;
        }
        totals += counted;
        let row = Row { name: step.name, seconds: start.elapsed().as_secs_f64(), outcome };
        println!("== {}: {} after {:.1} s", row.name, row.outcome.word(), row.seconds);
        rows.push(row);
    }
    print_table(&rows);
    println!("{totals}");
    if rows.iter().all(|row| row.outcome == Outcome::Ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(step: &Step, totals: &mut Totals) -> Result<bool> {
    match step.action {
        Action::Task { check, .. } => check().map(|()| true),
        Action::Cargo { args, env } => {
            let mut cargo = process::cargo();
            cargo.args(args.split(' ')).env("RUST_BACKTRACE", "1").envs(env.iter().copied());
            process::stream(cargo, |line| *totals += Totals::of_line(line))
        }
    }
}

fn print_table(rows: &[Row]) {
    println!("\n{:<11}{:>8}  result", "step", "seconds");
    for Row { name, seconds, outcome } in rows {
        match outcome {
            Outcome::NotRun => println!("{name:<11}{:>8}  {}", "-", outcome.word()),
            Outcome::Ok | Outcome::Failed => println!("{name:<11}{seconds:>8.1}  {}", outcome.word()),
        }
    }
    let total: f64 = rows.iter().map(|row| row.seconds).sum();
    println!("{:<11}{total:>8.1}\n", "all");
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "FAILED",
            Self::NotRun => "not run",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn no_options_run_every_step_up_to_the_first_red_one() {
        assert_eq!(parse(&[]).unwrap(), Options::default());
    }

    #[test]
    fn steps_are_listed_with_commas_or_by_repetition() {
        let expect = Some(vec!["fmt".to_owned(), "tidy".to_owned()]);
        for args in
            [vec!["--only", "fmt,tidy"], vec!["--only=fmt,tidy"], vec!["--only", "fmt", "--only", "tidy"]]
        {
            assert_eq!(parse(&args).unwrap().only, expect);
        }
    }

    #[test]
    fn an_unknown_option_is_named() {
        assert_eq!(parse(&["--fast"]), Err("no option `--fast`".to_owned()));
        assert!(parse(&["--only"]).unwrap_err().contains("--only"));
    }
}
