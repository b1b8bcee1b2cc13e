//! The preset `checkerboard`, trained on the device and on the CPU from the same seed.
//!
//! Nothing is read from the device meanwhile, and no more sent to it than a batch and its times.
//! The first steps agree to rounding; later ones drift apart, and the ends are compared by the KL of their samples.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use candle_core::Device;
use flowmap_dual::host;
use flowmap_train::{
    Config, ConfigSource, Generation, Metric, Observer, Reads, Reference, RunDir, StepReport, Trainer,
    evaluate, resolve, train,
};
use serde_json::json;

use crate::report::{Outcome, Report, Row};

const PART: &str = "training";

/// Steps whose losses are compared.
const N_FIRST: usize = 10;
/// How far apart they may be: each step multiplies the rounding of those before.
const FIRST_STEPS: f64 = 1e-3;

/// Numbers of jumps that the ends are judged with.
const JUMPS: [u32; 2] = [1, 4];
/// Samples of a judgment.
const N_SAMPLES: usize = 100_000;
/// Largest difference of two KLs; other seeds with the same settings differ as much.
const KL: f64 = 0.03;

/// The preset with more settings.
fn preset(sets: &[&str]) -> Result<Config> {
    let mut sources = vec![ConfigSource::preset("checkerboard")?];
    for set in sets {
        sources.push(ConfigSource::set(set)?);
    }
    Ok(resolve(&sources)?)
}

/// Compares the losses of the first steps.
pub fn check_first_steps(device: &Device, report: &mut Report) {
    for optimizer in ["adamw", "muon"] {
        let case = format!("losses of {N_FIRST} steps, {optimizer}");
        report.add_error(PART, case, first_steps(device, optimizer), FIRST_STEPS);
    }
}

fn first_steps(device: &Device, optimizer: &str) -> Result<f64> {
    let optimizer = format!("optimizer.kind={optimizer}");
    let losses = |device: &Device| -> Result<Vec<f64>> {
        let mut trainer = Trainer::new(preset(&[&optimizer])?, device)?;
        (0..N_FIRST).map(|_| Ok(trainer.step()?.loss)).collect()
    };
    let (found, expected) = (losses(device)?, losses(&Device::Cpu)?);
    let distance = |(a, b): (&f64, &f64)| (a - b).abs() / b.abs();
    Ok(found.iter().zip(&expected).map(distance).fold(0.0, f64::max))
}

/// Counts the transfers between host and device in steps that report nothing.
pub fn check_traffic(device: &Device, report: &mut Report) {
    let both = traffic(device);
    let count = |f: fn(&(u64, u64)) -> u64| match &both {
        Ok(both) => Ok(f(both) as f64),
        Err(error) => Err(anyhow!("{error:#}")),
    };
    report.add_error(PART, format!("reads of {N_FIRST} steps"), count(|both| both.0), 0.0);
    report.add_error(PART, format!("sends of {N_FIRST} steps, beyond"), count(|both| both.1), 0.0);
}

/// Reads, and sends beyond points and times, and beyond noise where the device does not draw it.
fn traffic(device: &Device) -> Result<(u64, u64)> {
    let independent = "coupling={ kind = \"independent\" }";
    let sends_of_a_step = if device.is_cuda() { 2 } else { 3 };
    for optimizer in ["optimizer.kind=adamw", "optimizer.kind=muon"] {
        let config = preset(&[independent, optimizer])?;
        let mut trainer = Trainer::new(config, device)?.with_reads(Reads::AtLogPoints);
        trainer.advance()?;
        let (reads, sends) = (host::n_reads(), host::n_sends());
        for _ in 0..N_FIRST {
            trainer.advance()?;
        }
        let expected = sends_of_a_step * N_FIRST as u64;
        let found = (host::n_reads() - reads, (host::n_sends() - sends).abs_diff(expected));
        if found != (0, 0) {
            return Ok(found);
        }
    }
    Ok((0, 0))
}

/// Trains the whole preset on both, and compares where they end.
pub fn check_end(device: &Device, report: &mut Report) {
    let folder = std::env::temp_dir().join(format!("flowmap-gpu-suite-{}", std::process::id()));
    let found = ends(device, &folder);
    // What is left is of no use to anyone, and the system cleans up after us.
    let _ = std::fs::remove_dir_all(&folder);
    let row = found.unwrap_or_else(|error| Row {
        part: PART,
        case: "end of the preset".into(),
        outcome: Outcome::Failed,
        detail: format!("{error:#}"),
        numbers: json!(null),
    });
    report.add(row);
}

fn ends(device: &Device, folder: &Path) -> Result<Row> {
    let (found, seconds) = kl_of_preset(device, folder.join("device"))?;
    let (expected, seconds_cpu) = kl_of_preset(&Device::Cpu, folder.join("cpu"))?;
    let largest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let list = |kls: &[f64]| kls.iter().map(|kl| format!("{kl:.3}")).collect::<Vec<_>>().join(", ");
    Ok(Row {
        part: PART,
        case: "end of the preset".into(),
        outcome: if largest <= KL { Outcome::Passed } else { Outcome::Failed },
        detail: format!(
            "KL {} after {seconds:.0} s, CPU {} after {seconds_cpu:.0} s",
            list(&found),
            list(&expected)
        ),
        numbers: json!({
            "jumps": JUMPS, "kl": found, "kl_cpu": expected, "seconds": seconds, "seconds_cpu": seconds_cpu,
            "tolerance": KL,
        }),
    })
}

/// The exact KL of each number of jumps after training, and the seconds that it took.
fn kl_of_preset(device: &Device, folder: PathBuf) -> Result<(Vec<f64>, f64)> {
    let config = preset(&[])?;
    let run = RunDir::new(&folder);
    run.create(&config)?;
    let mut trainer = Trainer::new(config.clone(), device)?;
    let start = Instant::now();
    let model = train(&run, &mut trainer, &mut Silent)?;
    let seconds = start.elapsed().as_secs_f64();
    let reference = Reference::for_model(&config.data, &model.config)?;
    let how = Generation { num: N_SAMPLES, ..config.generation() };
    let evaluation = evaluate(&model, &reference, &[Metric::KlExact], &JUMPS, &how, device, &mut |_| ())?;
    let kl = |row: &flowmap_train::StepsRow| row.metrics.get(&Metric::KlExact).map(|kl| kl.value);
    let kls = evaluation.rows.iter().map(|row| kl(row).context("no KL")).collect::<Result<_>>()?;
    Ok((kls, seconds))
}

/// Watches nothing.
struct Silent;

impl Observer for Silent {
    fn step(&mut self, _report: &StepReport, _n_steps: u64) {}
    fn stage(&mut self, _name: &str) {}
}
