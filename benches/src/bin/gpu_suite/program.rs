//! The program `flowmap` itself, on the device: it starts, trains a tiny run, samples it and says how fast it is.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::report::{Outcome, Report, Row};

const PART: &str = "program";

/// Runs commands of the program on the device of this name.
pub fn check(program: &Path, device: &str, report: &mut Report) {
    let folder = std::env::temp_dir().join(format!("flowmap-gpu-program-{}", std::process::id()));
    let run = folder.join("run").display().to_string();
    let file = folder.join("samples.npz").display().to_string();
    let train = "train --steps 4 --set train.batch=64 --set network.width=32 --set eval.num=500 --set eval.steps=[1] \
                 --set schedule.warmup=1 --set train.log_every=2 --out";
    let mut train: Vec<&str> = train.split_whitespace().collect();
    train.extend([run.as_str(), "--device", device]);
    let cases: [(&str, &[&str]); 4] = [
        ("starts", &["--version"]),
        ("trains", &train),
        ("samples", &["sample", &run, "--num", "100", "--out", &file, "--device", device]),
        ("measures", &["bench", "--batch", "64", "--width", "32", "--seconds", "0.1", "--device", device]),
    ];
    for (case, arguments) in cases {
        let (outcome, detail) = match started(program, arguments) {
            Ok(()) => (Outcome::Passed, arguments.first().copied().unwrap_or_default().to_owned()),
            Err(error) => (Outcome::Failed, format!("{error:#}")),
        };
        report.add(Row { part: PART, case: case.into(), outcome, detail, numbers: json!(null) });
    }
    // What is left is of no use to anyone, and the system cleans up after us.
    let _ = std::fs::remove_dir_all(&folder);
}

fn started(program: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("starting {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ended with {}: {}", output.status, said.trim());
    Ok(())
}
