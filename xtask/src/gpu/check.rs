//! `cargo xtask gpu-check`: all that is for GPUs, checked without one.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

use super::{CUDA_VERSION, KEPT, SCRIPTS, kernels};
use crate::process;

const USAGE: &str = "\
usage: cargo xtask gpu-check [--metal]

Type-checks the features cuda, cudnn and nccl without a toolkit, and compiles our kernels by NVRTC where it can be loaded.

options:
  --metal   type-check the feature metal instead, where Debian's packages allow it; takes minutes";

/// Apart from the other checks, since the features compile Candle again and its kernels are empty files here.
const TARGET: &str = "target/gpu-check";

/// What check-metal.sh exits with where the system lacks what it needs, rather than the code.
const CANNOT: i32 = 75;

/// Runs the task.
pub fn main(args: &[String]) -> Result<ExitCode> {
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => check()?,
        ["--metal"] => metal()?,
        ["--help" | "-h"] => println!("{USAGE}"),
        [arg, ..] => return Ok(crate::usage_error(&format!("no option `{arg}`"), USAGE)),
    }
    Ok(ExitCode::SUCCESS)
}

/// The part of the gate: types and kernels.
///
/// # Errors
/// Something does not compile.
pub fn check() -> Result<()> {
    types()?;
    kernels::check()
}

/// Type-checks libraries and programs with the features of CUDA.
fn types() -> Result<()> {
    let nvcc = Path::new(SCRIPTS).join("nvcc-check");
    let nvcc = nvcc.canonicalize().with_context(|| format!("finding {}", nvcc.display()))?;
    let mut cargo = process::cargo();
    cargo
        .args(["check", "--locked", "--target-dir", TARGET])
        .args(["--workspace", "--exclude", "xtask", "--lib", "--bins", "--features", "cuda,cudnn,nccl"])
        .env("NVCC", nvcc)
        .env("CUDARC_CUDA_VERSION", CUDA_VERSION)
        .env("CUDA_COMPUTE_CAP", "90");
    ensure!(process::stream(cargo, |_| ())?, "the features of CUDA do not compile");
    Ok(())
}

/// Type-checks libraries and programs with Metal for macOS.
fn metal() -> Result<()> {
    let mut script = process::command("bash");
    script
        .arg(Path::new(SCRIPTS).join("check-metal.sh"))
        .arg(Path::new(KEPT).join("rust-web"))
        .args(["--locked", "--workspace", "--exclude", "xtask", "--lib", "--bins", "--features", "metal"])
        .env("CARGO_TARGET_DIR", "target/gpu-check-metal")
        .env("CARGO", std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let status = script.status().context("starting bash")?;
    match status.code() {
        Some(0) => Ok(()),
        Some(CANNOT) => {
            println!("metal: not checked, for the reason above");
            Ok(())
        }
        _ => bail!("the feature metal does not compile"),
    }
}
