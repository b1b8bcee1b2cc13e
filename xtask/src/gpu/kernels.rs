//! Our own CUDA kernels, compiled to machine code by NVRTC, which needs no GPU.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::python;

/// Where the kernels are: every file with the ending `cu` is compiled on its own, as the program does at run time.
const KERNELS: &str = "crates/flowmap-kernel/src/cuda";

/// NVRTC, of the version of the toolkit.
const NVRTC: &str = "nvidia-cuda-nvrtc==13.0.88";

/// Ampere, Hopper, Blackwell.
const ARCHITECTURES: &str = "sm_80,sm_90,sm_100";

/// The options that the program compiles with.
const OPTIONS: &[&str] = &["--std=c++17"];

/// Compiles every kernel for every architecture; without NVRTC it says why and does nothing.
///
/// # Errors
/// A kernel does not compile.
pub fn check() -> Result<()> {
    let sources = sources()?;
    if sources.is_empty() {
        println!("kernels: none in {KERNELS}");
        return Ok(());
    }
    let library = match python::unpacked("nvrtc-13.0.88", &[NVRTC]) {
        Ok(folder) => folder.join("lib"),
        Err(reason) => {
            println!("kernels: {} files not compiled: {reason:#}", sources.len());
            return Ok(());
        }
    };
    let mut nvrtc = python::script("nvrtc.py");
    nvrtc.arg(library).arg(ARCHITECTURES).args(&sources).arg("--").args(OPTIONS);
    let status = nvrtc.status().context("starting Python")?;
    ensure!(status.success(), "a kernel does not compile");
    println!("kernels: {} files compiled for {ARCHITECTURES}", sources.len());
    Ok(())
}

/// The files of kernels, by name.
fn sources() -> Result<Vec<PathBuf>> {
    let folder = Path::new(KERNELS);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("listing {KERNELS}"))?;
    let mut sources = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    sources.retain(|path| path.extension().is_some_and(|ending| ending == "cu"));
    sources.sort();
    Ok(sources)
}
