//! `flowmap bench`.

use std::env;

use anyhow::{Context, Result};
use flowmap_figure::report::Table;
use flowmap_train::bench::{BenchConfig, BenchReport, Benched, Timing, bench};
use flowmap_train::restart;
use serde_json::json;

use super::Usage;
use crate::args::BenchArgs;
use crate::device::{device, name_of};
use crate::progress::bench_bar;
use crate::table;

/// The variable that the thread pools read when they start.
const THREADS: &str = "RAYON_NUM_THREADS";

/// Measures what this machine can do, and prints it.
///
/// # Errors
/// A usage error for an unknown objective; an error if the device is missing.
pub fn run(args: &BenchArgs) -> Result<()> {
    let objective = Benched::named(&args.objective).map_err(|e| Usage(format!("--objective: {e}")))?;
    if !(args.seconds > 0.0 && args.seconds.is_finite()) {
        let message = format!("--seconds: expected a positive number, found {}", args.seconds);
        return Err(Usage(message).into());
    }
    let device = device(&args.device.name)?;
    if let Some(threads) = args.threads.map(|n| n.to_string())
        && env::var(THREADS).as_deref() != Ok(&threads)
    {
        // The pools ask the environment for their number, and only once.
        let status = restart::run_with(&[(THREADS, &threads)])
            .with_context(|| format!("starting this program with {threads} threads"))?;
        // What went wrong was said by that process.
        std::process::exit(status.code().unwrap_or(1));
    }
    let config = BenchConfig {
        objective,
        batch: args.batch,
        width: args.width,
        hidden: args.hidden,
        seconds: args.seconds,
    };
    let bar = bench_bar();
    let report = bench(&config, &device, &mut |n_done, n_turns| {
        bar.set_length(n_turns.into());
        bar.set_position(n_done.into());
    })?;
    bar.finish_and_clear();
    if args.json {
        let mut all = serde_json::to_value(&report)?;
        all["device"] = json!(name_of(&device));
        return Ok(table::line(&serde_json::to_string_pretty(&all)?)?);
    }
    print(&report, &name_of(&device))
}

fn print(report: &BenchReport, device: &str) -> Result<()> {
    table::line(&format!(
        "{}, MLP {}x{}, f32, {device}, {}",
        report.objective,
        report.hidden + 1,
        report.width,
        match report.threads {
            1 => "1 thread".to_owned(),
            n => format!("{n} threads"),
        }
    ))?;
    let headers = ["", "batch", "ms", "samples/s", "GEMM limit ms", "share of it"].map(str::to_owned);
    let mut rows = vec![row("training step".into(), &report.training)];
    for sampling in &report.sampling {
        rows.push(row(format!("sampling, N = {}", sampling.steps), &sampling.timing));
    }
    table::print(&Table { headers: headers.to_vec(), rows })?;
    let gemm = &report.gemm;
    table::line(&format!(
        "GEMM: {} x {} x {} in {} ms, {:.1} GFLOP/s",
        gemm.rows,
        gemm.width,
        gemm.width,
        milliseconds(gemm.ms),
        gemm.gflop_per_s
    ))?;
    let memory = report.peak_memory_mib.map_or("unknown".to_owned(), |mib| format!("{mib:.0} MiB"));
    Ok(table::line(&format!("peak memory: {memory}"))?)
}

fn row(name: String, timing: &Timing) -> Vec<String> {
    vec![
        name,
        timing.batch.to_string(),
        milliseconds(timing.ms),
        format!("{:.0}", timing.samples_per_s),
        milliseconds(timing.gemm_limit_ms),
        format!("{:.0} %", 100.0 * timing.share_of_gemm_limit),
    ]
}

/// Three digits or more.
fn milliseconds(ms: f64) -> String {
    match ms {
        _ if ms < 1.0 => format!("{ms:.3}"),
        _ if ms < 100.0 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}
