//! Our side of the comparison in `benches/peers`: a worker that answers requests, one JSON object a line.
//!
//! | request | answer |
//! |---|---|
//! | `{"do": "prepare", "case": {...}}` | `{"variants": ["flowmap"], "flop": F}`, after a first run |
//! | `{"do": "run", "variant": "flowmap", "ms": M}` | `{"median_ms": .., "min_ms": .., "n_calls": ..}` of M milliseconds of runs, at least one |
//! | `{"do": "gemm", "rows": R, "inner": K, "columns": C, "ms": M}` | the same of a matrix product |
//! | `{"do": "memory"}` | `{"peak_mib": ..}` of the whole process so far |
//!
//! What goes wrong is answered with `{"error": ".."}`. It ends with its input.
#![forbid(unsafe_code)]

use std::io::{BufRead, Write, stdin, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use flowmap_benches::case::{Case, CaseConfig};
use flowmap_dual::{Dual, PackedWeights};
use flowmap_train::bench::peak_memory_mib;
use serde::Deserialize;
use serde_json::{Value, json};

/// The allocator of the program `flowmap`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Request {
    Prepare { case: CaseConfig },
    Run { ms: u64 },
    Gemm { rows: usize, inner: usize, columns: usize, ms: u64 },
    Memory,
}

fn main() -> Result<()> {
    flowmap_train::restart::settle();
    let mut case = None;
    for line in stdin().lock().lines() {
        let answer = answer(&line?, &mut case).unwrap_or_else(|e| json!({ "error": format!("{e:#}") }));
        let mut out = stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(line: &str, case: &mut Option<Case>) -> Result<Value> {
    match serde_json::from_str(line)? {
        Request::Prepare { case: config } => {
            *case = None; // Frees the memory of the one before.
            let case = case.insert(config.prepare()?);
            (case.run)()?;
            Ok(json!({ "variants": ["flowmap"], "flop": case.flop }))
        }
        Request::Run { ms } => {
            let case = case.as_mut().context("expected `prepare` before `run`")?;
            time(Duration::from_millis(ms), &mut case.run)
        }
        Request::Gemm { rows, inner, columns, ms } => {
            let a = Tensor::ones((rows, inner), DType::F32, &Device::Cpu)?;
            let b = Tensor::ones((columns, inner), DType::F32, &Device::Cpu)?;
            let (a, packed) = (Dual::constant(a), PackedWeights::default());
            time(Duration::from_millis(ms), &mut || {
                packed.share(|| a.linear(&b, None))?;
                Ok(())
            })
        }
        Request::Memory => Ok(json!({ "peak_mib": peak_memory_mib() })),
    }
}

/// Runs for as long as `budget`, at least once; the first of many runs does not count.
fn time(budget: Duration, run: &mut dyn FnMut() -> Result<()>) -> Result<Value> {
    let mut times = Vec::new();
    let began = Instant::now();
    while times.is_empty() || began.elapsed() < budget {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let n_calls = times.len();
    if n_calls > 2 {
        times.remove(0); // Caches were cold.
    }
    times.sort_by(f64::total_cmp);
    let n = times.len();
    let median = 0.5 * (times[(n - 1) / 2] + times[n / 2]);
    Ok(json!({ "median_ms": median, "min_ms": times[0], "n_calls": n_calls }))
}
