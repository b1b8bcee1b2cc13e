//! All of flowmap on a device: results against the f64 oracle on the CPU, training, samplers, speed.
//!
//! Prints a table, writes JSON, and ends with 1 where a result is wrong. Without a GPU it checks the CPU's own f32 path.
#![forbid(unsafe_code)]

mod distance;
mod networks;
mod operations;
mod peers;
mod program;
mod report;
mod samplers;
mod speed;
mod training;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::Parser;

use report::{Outcome, Report};

/// The allocator of the program `flowmap`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Checks flowmap on a device against the CPU, and times it against JAX and PyTorch.
#[derive(Debug, Parser)]
#[command(name = "flowmap-gpu-suite", version)]
struct Args {
    /// Where to compute: `cuda:N`, `metal`, `cpu`, or `auto` for the first of them that works.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Parts to run, of operation, network, objective, sampler, training, program and speed; all without it.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Trains the whole preset and times everything on a CPU too.
    #[arg(long)]
    full: bool,
    /// Seconds of a turn of a measurement.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// The program `flowmap`, to run it on the device.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The folder of the scripts that time JAX and PyTorch.
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// The Python that has JAX or PyTorch.
    #[arg(long, default_value = "python3")]
    python: String,
    /// Where to write all numbers.
    #[arg(long, value_name = "FILE", default_value = "result.json")]
    json: PathBuf,
}

/// The parts by name, in the order in which they run.
const PARTS: [&str; 7] = ["operation", "network", "objective", "sampler", "training", "program", "speed"];

fn main() -> ExitCode {
    flowmap_train::restart::settle();
    match run(&Args::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs the suite and answers how many cases failed.
fn run(args: &Args) -> Result<usize> {
    if let Some(unknown) = args.only.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("no part `{unknown}`, expected some of {}", PARTS.join(", "));
    }
    let (device, name) = device(&args.device)?;
    say(&format!("device: {name}"));
    let is_wanted = |part: &str| args.only.is_empty() || args.only.iter().any(|only| only == part);
    let is_full = args.full || !device.is_cpu();
    const SHORT: &str = "on a CPU only with --full";
    let mut report = Report::default();
    for part in PARTS.into_iter().filter(|part| is_wanted(part)) {
        match part {
            "operation" => operations::check(&device, &mut report),
            "network" => networks::check_networks(&device, &mut report),
            "objective" => networks::check_objectives(&device, &mut report),
            "sampler" => samplers::check(&device, &mut report),
            "training" => {
                training::check_first_steps(&device, &mut report);
                training::check_traffic(&device, &mut report);
                match is_full {
                    true => training::check_end(&device, &mut report),
                    false => report.skip(part, "end of the preset", SHORT),
                }
            }
            "program" => match &args.program {
                Some(program) => program::check(program, &name, &mut report),
                None => report.skip(part, "flowmap", "no --program"),
            },
            _ if is_full => speed::measure(&device, args, &mut report),
            _ => report.skip(part, "training and sampling", SHORT),
        }
    }
    report.write(&args.json, &name)?;
    let [passed, failed, skipped, measured] =
        [Outcome::Passed, Outcome::Failed, Outcome::Skipped, Outcome::Measured].map(|o| report.count(o));
    say(&format!("{name}: {passed} passed, {failed} failed, {measured} measured, {skipped} skipped"));
    say(&format!("all numbers: {}", args.json.display()));
    Ok(failed)
}

/// The device, and its name.
fn device(wanted: &str) -> Result<(Device, String)> {
    let cuda = |n: usize| flowmap_dual::cuda::open(n).map(|device| (device, format!("cuda:{n}")));
    let metal = || Device::new_metal(0).map(|device| (device, "metal".to_owned()));
    let cpu = (Device::Cpu, "cpu".to_owned());
    match wanted {
        "cpu" => Ok(cpu),
        "metal" => metal().context("device `metal`"),
        "auto" => Ok(cuda(0)
            .or_else(|why| {
                metal().inspect_err(|_| {
                    say(&format!("no GPU is present: {}; checking the CPU instead", first_line(&why)))
                })
            })
            .unwrap_or(cpu)),
        _ => {
            let n = wanted.strip_prefix("cuda:").or((wanted == "cuda").then_some("0"));
            let n = n.and_then(|n| n.parse().ok());
            let n =
                n.with_context(|| format!("unknown device `{wanted}`, expected auto, cpu, cuda:N or metal"))?;
            cuda(n).with_context(|| format!("device `{wanted}`"))
        }
    }
}

/// What an error says, without the backtrace that Candle adds if it is asked for one.
fn first_line(error: &flowmap_dual::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// A line on standard error.
#[expect(clippy::print_stderr, reason = "remarks go to standard error")]
fn say(text: &str) {
    eprintln!("{text}");
}
