//! What a tangent costs: each network's forward pass and its passes with a tangent, in turns, and a training step.
//!
//! Prints one JSON object a line: the network, milliseconds (medians), the ratio of each tangent, and GFLOP/s.
//! `cargo run --release -p flowmap-benches --bin flowmap-networks -- [NETWORK]... [--batch N]`
#![forbid(unsafe_code)]

use std::time::Instant;

use anyhow::{Context, Result};
use flowmap_benches::networks::{Direction, NETWORKS, NetworkBench, default_terms};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Turns of all passes.
const TURNS: usize = 15;
/// Training steps of each batch.
const STEPS: usize = 8;

#[expect(clippy::print_stdout, reason = "results go to standard output")]
fn main() -> Result<()> {
    flowmap_train::restart::settle();
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    let batch = match names.iter().position(|name| name == "--batch") {
        Some(at) => {
            let n =
                names.drain(at..names.len().min(at + 2)).nth(1).context("expected a number after --batch")?;
            Some(n.parse().with_context(|| format!("--batch: expected a number, found `{n}`"))?)
        }
        None => None,
    };
    for spec in NETWORKS.iter().filter(|spec| names.is_empty() || names.iter().any(|name| name == spec.name))
    {
        let batch = batch.unwrap_or(spec.batch);
        let bench = NetworkBench::new(spec, batch, default_terms())?;
        let mut times = vec![Vec::new(); Direction::ALL.len()];
        // The first turn warms up.
        for turn in 0..=TURNS {
            for (direction, times) in Direction::ALL.iter().zip(&mut times) {
                let began = Instant::now();
                bench.pass(*direction)?;
                if turn > 0 {
                    times.push(began.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        let ms: Vec<f64> = times.into_iter().map(median).collect();
        let mut line = json!({
            "network": spec.name,
            "batch": batch,
            "mflop_per_sample": bench.flop_per_sample() / 1e6,
            "forward_gflop_per_s": bench.flop_per_sample() * batch as f64 / ms[0] / 1e6,
        });
        for (direction, ms_of) in Direction::ALL.iter().zip(&ms) {
            line[format!("{}_ms", direction.name())] = json!(ms_of);
            line[format!("{}_ratio", direction.name())] = json!(ms_of / ms[0]);
        }
        for batch in [batch, 2 * batch] {
            let mut bench = NetworkBench::new(spec, batch, default_terms())?;
            let mut times = Vec::new();
            for step in 0..=STEPS {
                let began = Instant::now();
                bench.step()?;
                if step > 0 {
                    times.push(began.elapsed().as_secs_f64() * 1e3);
                }
            }
            line[format!("step_b{batch}_ms")] = json!(median(times));
        }
        println!("{line}");
    }
    Ok(())
}

/// The middle of some numbers.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
