//! Packages of Python, of which CUDA's compilers are some.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{KEPT, SCRIPTS};
use crate::process;

/// The interpreter, unless PYTHON names another.
const PYTHON: &str = "python3";

/// Why there are no packages, `None` if pip is there.
pub fn missing() -> Option<String> {
    let has = |arguments: &[&str]| {
        let mut python = python();
        python.args(arguments);
        process::succeeds(python)
    };
    if !has(&["--version"]) {
        return Some("there is no Python here (on Debian: python3, python3-pip)".to_owned());
    }
    (!has(&["-m", "pip", "--version"])).then(|| "Python has no pip here (on Debian: python3-pip)".to_owned())
}

/// Runs Python on one of our scripts.
pub fn script(name: &str) -> Command {
    let mut python = python();
    python.arg(Path::new(SCRIPTS).join(name));
    python
}

fn python() -> Command {
    process::command(&std::env::var("PYTHON").unwrap_or_else(|_| PYTHON.to_owned()))
}

/// A folder with these packages unpacked, filled once.
///
/// # Errors
/// There is no pip, or it cannot load a package.
pub fn unpacked(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = Path::new(KEPT).join(name);
    if !folder.is_dir() {
        if let Some(reason) = missing() {
            anyhow::bail!(reason);
        }
        // Filled under another name, so that what was cut off is not taken for the whole.
        let begun = Path::new(KEPT).join(format!("{name}.begun"));
        if begun.exists() {
            fs::remove_dir_all(&begun).with_context(|| format!("removing {}", begun.display()))?;
        }
        println!("loading {}", packages.join(" "));
        let mut wheels = script("wheels.py");
        wheels.arg(&begun).args(packages);
        let status = wheels.status().context("starting Python")?;
        ensure!(status.success(), "pip cannot load {}", packages.join(" "));
        fs::rename(&begun, &folder).with_context(|| format!("renaming {}", begun.display()))?;
    }
    folder.canonicalize().with_context(|| format!("finding {}", folder.display()))
}
