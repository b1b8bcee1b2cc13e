//! Time of training steps and of sampling, in alternation with JAX and PyTorch if they are installed.
//!
//! A turn of ours, one of each variant of a peer, then the next round; times are medians over the rounds.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use anyhow::Result;
use candle_core::Device;
use flowmap_benches::sampling::Sampling;
use flowmap_benches::training::TrainingStep;
use flowmap_train::bench::Benched;
use serde_json::{Map, Value, json};

use crate::Args;
use crate::peers::Peer;
use crate::report::{Outcome, Report, Row};
use crate::say;

const PART: &str = "speed";
const N_ROUNDS: usize = 5;
const LIBRARIES: [&str; 2] = ["jax", "torch"];

/// Sizes of the batch of a training step.
const STEPS: [usize; 4] = [1024, 4096, 16_384, 100_000];
/// Numbers of jumps and of samples.
const SAMPLINGS: [(u32, usize); 6] = [(1, 1), (4, 1), (4, 64), (1, 65_536), (4, 4096), (4, 65_536)];

/// Measures all cases.
pub fn measure(device: &Device, args: &Args, report: &mut Report) {
    let mut peers = Vec::new();
    for library in LIBRARIES {
        match args.peers.as_deref().map(|folder| Peer::start(&args.python, folder, library, device)) {
            Some(Ok(peer)) => peers.push(peer),
            Some(Err(reason)) => report.skip(PART, library, &format!("{reason:#}")),
            None => report.skip(PART, library, "no --peers"),
        }
    }
    for batch in STEPS {
        let case = json!({ "kind": "step", "objective": "lsd.stop_none", "batch": batch });
        let made = || -> Result<Box<dyn FnMut() -> Result<()>>> {
            let mut step = TrainingStep::new(Benched::named("lsd.stop_none")?, batch, device)?;
            Ok(Box::new(move || step.run()))
        };
        add(format!("lsd step, batch {batch}"), &case, batch, made(), &mut peers, device, args, report);
    }
    for (steps, batch) in SAMPLINGS {
        let case = json!({ "kind": "sampling", "steps": steps, "batch": batch });
        let made = || -> Result<Box<dyn FnMut() -> Result<()>>> {
            let sampling = Sampling::new(NonZeroU32::new(steps).unwrap_or(NonZeroU32::MIN), batch, device)?;
            Ok(Box::new(move || sampling.run().map(drop)))
        };
        add(
            format!("sampling, N = {steps}, batch {batch}"),
            &case,
            batch,
            made(),
            &mut peers,
            device,
            args,
            report,
        );
    }
}

/// Measures a case and adds its row.
fn add(
    name: String,
    case: &Value,
    batch: usize,
    made: Result<Box<dyn FnMut() -> Result<()>>>,
    peers: &mut [Peer],
    device: &Device,
    args: &Args,
    report: &mut Report,
) {
    let times = made.and_then(|mut run| rounds(case, run.as_mut(), peers, device, args.seconds));
    let row = match times {
        Ok(times) => {
            let ours = times.first().map_or(f64::NAN, |(_, ms)| *ms);
            let listed = times.iter().map(|(name, ms)| format!("{name} {ms:.3} ms"));
            let speed = batch as f64 / ours * 1e3;
            let numbers: Map<String, Value> =
                times.iter().map(|(name, ms)| (name.clone(), json!(ms))).collect();
            Row {
                part: PART,
                case: name,
                outcome: Outcome::Measured,
                detail: format!("{}; {speed:.0} samples/s", listed.collect::<Vec<_>>().join(", ")),
                numbers: json!({ "batch": batch, "ms": numbers }),
            }
        }
        Err(error) => Row {
            part: PART,
            case: name,
            outcome: Outcome::Failed,
            detail: format!("{error:#}"),
            numbers: Value::Null,
        },
    };
    report.add(row);
}

/// Median milliseconds of ours, first, and of each variant of each peer.
fn rounds(
    case: &Value,
    run: &mut dyn FnMut() -> Result<()>,
    peers: &mut [Peer],
    device: &Device,
    seconds: f64,
) -> Result<Vec<(String, f64)>> {
    let turn = Duration::from_secs_f64(seconds);
    let mut players: Vec<(usize, String)> = Vec::new();
    for (i, peer) in peers.iter_mut().enumerate() {
        match peer.prepare(case) {
            Ok(variants) => players.extend(variants.into_iter().map(|variant| (i, variant))),
            Err(reason) => say(&format!("{case}: {reason:#}")),
        }
    }
    let mut ours = Vec::new();
    let mut theirs = vec![Vec::new(); players.len()];
    run()?; // Kernels are compiled and memory is found here.
    for _ in 0..N_ROUNDS {
        ours.push(time(turn, run, device)?);
        for ((i, variant), times) in players.iter().zip(&mut theirs) {
            times.push(peers[*i].time(variant, (seconds * 1e3) as u64)?);
        }
    }
    let mut all = vec![("flowmap".to_owned(), median(ours))];
    for ((i, variant), times) in players.iter().zip(theirs) {
        all.push((format!("{}_{variant}", peers[*i].library), median(times)));
    }
    Ok(all)
}

/// Median milliseconds of the calls in a turn, at least one, each until the device is done.
fn time(turn: Duration, run: &mut dyn FnMut() -> Result<()>, device: &Device) -> Result<f64> {
    let mut times = Vec::new();
    let began = Instant::now();
    while times.is_empty() || began.elapsed() < turn {
        let start = Instant::now();
        run()?;
        device.synchronize()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times))
}

/// The middle value; not a number of an empty list.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => f64::NAN,
        _ => 0.5 * (values[(n - 1) / 2] + values[n / 2]),
    }
}
