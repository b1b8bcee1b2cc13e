//! A toolkit to build the feature `cuda` with, from Python's packages: compiler, headers, static runtime.
//!
//! The libraries of CUDA are not in it. Programs are linked with trampolines instead (`trampolines.py`), which open the
//! libraries at the first call, so that they start on machines that have none.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::python;
use crate::process;

/// The PTX of this version is read by drivers from 580 on.
const PACKAGES: &[&str] = &[
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
];

/// The folder of the toolkit, made once.
///
/// # Errors
/// Python, pip, a package or a C compiler is missing.
pub fn folder() -> Result<PathBuf> {
    let folder = python::unpacked("toolkit-13.0", PACKAGES)?;
    let lib = folder.join("lib");
    let mut trampolines = python::script("trampolines.py");
    trampolines.arg(cudarc()?).arg(&lib);
    let status = trampolines.status().context("starting Python")?;
    ensure!(status.success(), "the trampolines cannot be made");
    // Build scripts look for `lib64`, and ask for the runtime by the name of its shared form.
    link("lib", &folder.join("lib64"))?;
    link("libcudart_static.a", &lib.join("libcudart.a"))?;
    Ok(folder)
}

fn link(to: &str, at: &Path) -> Result<()> {
    if at.symlink_metadata().is_ok() {
        return Ok(());
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(to, at).with_context(|| format!("linking {}", at.display()))?;
    #[cfg(not(unix))]
    fs::copy(at.with_file_name(to), at).with_context(|| format!("copying {}", at.display()))?;
    Ok(())
}

/// The source of cudarc that this workspace is built with.
fn cudarc() -> Result<PathBuf> {
    let mut cargo = process::cargo();
    // All features, since the default ones do without it.
    cargo.args(["metadata", "--format-version", "1", "--locked", "--all-features"]);
    let metadata: Value =
        serde_json::from_str(&process::output(cargo)?).context("reading the output of cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let manifest = packages
        .iter()
        .find(|package| package["name"] == "cudarc")
        .and_then(|package| package["manifest_path"].as_str())
        .context("no package `cudarc` in Cargo.lock")?;
    let source = Path::new(manifest).with_file_name("src");
    fs::read_dir(&source).with_context(|| format!("listing {}", source.display()))?;
    Ok(source)
}
