//! `cargo xtask gpu-pack`: programs with CUDA, and all that a bare machine with a GPU needs to run them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{CUDA_VERSION, SCRIPTS, toolkit};
use crate::process;

const USAGE: &str = "\
usage: cargo xtask gpu-pack [DIR]

Builds flowmap and its suite for GPUs with CUDA, without a GPU, and packs them in DIR/flowmap-gpu.tar.gz; DIR is
target/gpu-pack without it. Unpack it on a machine with a GPU and a driver from 580 on, and start run.sh.

environment:
  CUDA_COMPUTE_CAP   the oldest GPU it runs on, 80 (Ampere) without it
  CUDAFORGE_THREADS  number of kernels compiled at once, 2 without it
  PYTHON             a Python with pip";

/// Apart from the other builds, since Candle's kernels are compiled here.
const TARGET: &str = "target/gpu-pack-build";

/// The programs of the package.
const PROGRAMS: &[&str] = &["flowmap", "flowmap-gpu-suite"];

/// The scripts that time JAX and PyTorch.
const PEERS: &str = "benches/peers";

const FOLDER: &str = "flowmap-gpu";
const ARCHIVE: &str = "flowmap-gpu.tar.gz";

/// Larger ones are hard to move around.
const MOST_MIB: f64 = 60.0;

/// Runs the task.
pub fn main(args: &[String]) -> Result<ExitCode> {
    let dir = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Path::new("target/gpu-pack"),
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return Ok(ExitCode::SUCCESS);
        }
        [arg, ..] if arg.starts_with('-') => {
            return Ok(crate::usage_error(&format!("no option `{arg}`"), USAGE));
        }
        [dir] => Path::new(dir),
        [_, arg, ..] => return Ok(crate::usage_error(&format!("unexpected argument `{arg}`"), USAGE)),
    };
    let start = Instant::now();
    let programs = build()?;
    println!("built in {:.0} s", start.elapsed().as_secs_f64());
    let archive = pack(&programs, dir)?;
    let mib = fs::metadata(&archive).context("reading the size of the package")?.len() as f64 / 1048576.0;
    println!("{}: {mib:.1} MiB", archive.display());
    ensure!(mib <= MOST_MIB, "the package is too large, expected at most {MOST_MIB} MiB");
    Ok(ExitCode::SUCCESS)
}

/// Builds the programs and gives their folder.
fn build() -> Result<PathBuf> {
    let toolkit = toolkit::folder()?;
    let nvcc = Path::new(SCRIPTS).join("nvcc-lite").canonicalize().context("finding nvcc-lite")?;
    let or = |name: &str, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let mut cargo = process::cargo();
    cargo
        .args(["build", "--release", "--locked", "--target-dir", TARGET, "--features", "cuda"])
        .args(["--package", "flowmap-cli", "--package", "flowmap-benches"])
        .args(PROGRAMS.iter().flat_map(|program| ["--bin", program]))
        .env("CUDA_HOME", &toolkit)
        .env("CUDA_PATH", &toolkit)
        .env("CUDA_ROOT", &toolkit)
        .env("CUDARC_CUDA_VERSION", CUDA_VERSION)
        .env("NVCC", nvcc)
        .env("CUDA_COMPUTE_CAP", or("CUDA_COMPUTE_CAP", "80"))
        .env("CUDAFORGE_THREADS", or("CUDAFORGE_THREADS", "2"));
    ensure!(process::stream(cargo, |_| ())?, "the programs cannot be built");
    Ok(Path::new(TARGET).join("release"))
}

/// Puts everything into a folder and an archive of it.
fn pack(programs: &Path, dir: &Path) -> Result<PathBuf> {
    let folder = dir.join(FOLDER);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    let (bin, peers) = (folder.join("bin"), folder.join("peers"));
    for made in [&bin, &peers] {
        fs::create_dir_all(made).with_context(|| format!("making {}", made.display()))?;
    }
    for program in PROGRAMS {
        copy(&programs.join(program), &bin.join(program))?;
        let mut strip = process::command("strip");
        strip.arg(bin.join(program));
        ensure!(process::succeeds(strip), "{program} cannot be stripped of its symbols");
    }
    for entry in fs::read_dir(PEERS).with_context(|| format!("listing {PEERS}"))? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|e| e == "py")) {
            copy(&path, &peers.join(name))?;
        }
    }
    copy(&Path::new(SCRIPTS).join("run.sh"), &folder.join("run.sh"))?;
    let archive = dir.join(ARCHIVE);
    let mut tar = process::command("tar");
    tar.arg("-C").arg(dir).arg("-czf").arg(&archive).arg(FOLDER);
    ensure!(process::succeeds(tar), "{} cannot be written", archive.display());
    Ok(archive)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    Ok(())
}
