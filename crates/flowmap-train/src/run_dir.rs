//! The files of a run.
//!
//! ```text
//! runs/NAME/
//!   config.toml                  resolved, every default spelled out
//!   metrics.jsonl                one object a line
//!   checkpoints/step-0002000/    config.json model.safetensors ema-0.999.safetensors optimizer.safetensors state.json
//!   checkpoints/latest           the name of the newest complete checkpoint
//!   figures/*.png
//!   evaluation.json              the numbers of the report
//!   report.html
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use crate::atomic::make_dir_with;
use crate::{Checkpoint, Config, Error, Result, write_atomically};

/// The directory of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// The run at `path`, whether it exists or not.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Makes the directory for a new run and writes its config.
    ///
    /// # Errors
    /// [`Error::RunExists`] if there is one; [`Error::Io`] if it cannot be written.
    pub fn create(&self, config: &Config) -> Result<()> {
        if self.config().exists() || self.checkpoints().exists() {
            return Err(Error::RunExists { path: self.path.clone() });
        }
        make_dir_with(&self.path, || self.write_config(config))
    }

    /// Writes the resolved config.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_config(&self, config: &Config) -> Result<()> {
        write_atomically(&self.config(), config.to_toml()?.as_bytes())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The resolved config.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The log.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The numbers of the last judgment.
    pub fn evaluation(&self) -> PathBuf {
        self.path.join("evaluation.json")
    }

    /// The report.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// A figure by its name.
    pub fn figure(&self, name: &str) -> PathBuf {
        self.path.join("figures").join(name)
    }

    fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// The newest complete checkpoint, `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn latest_checkpoint(&self) -> Result<Option<PathBuf>> {
        let latest = self.checkpoints().join("latest");
        if !latest.exists() {
            return Ok(None);
        }
        let name = fs::read_to_string(&latest).map_err(Error::io("reading", &latest))?;
        let checkpoint = self.checkpoints().join(name.trim());
        if !checkpoint.is_dir() {
            let source =
                std::io::Error::new(std::io::ErrorKind::NotFound, "named by `latest`, but not there");
            return Err(Error::Io { action: "reading", path: checkpoint, source });
        }
        Ok(Some(checkpoint))
    }

    /// The checkpoint after `step` steps, whether it exists or not.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.checkpoints().join(checkpoint_name(step))
    }

    /// Writes a checkpoint, points `latest` to it, and removes later ones and all but the newest `keep`.
    ///
    /// # Errors
    /// [`Error::Io`]; the older checkpoints stay. [`Error::Tensors`] for a number that is not finite.
    pub fn write_checkpoint(&self, checkpoint: &Checkpoint, keep: usize) -> Result<PathBuf> {
        checkpoint.write(&self.checkpoint(checkpoint.state.step))?;
        self.go_back_to(checkpoint.state.step, keep)
    }

    /// Makes the checkpoint after `newest` steps the newest by removing later ones, which belong to a run that went back.
    pub(crate) fn go_back_to(&self, newest: u64, keep: usize) -> Result<PathBuf> {
        let name = checkpoint_name(newest);
        write_atomically(&self.checkpoints().join("latest"), name.as_bytes())?;
        let checkpoints = self.checkpoints();
        let entries = fs::read_dir(&checkpoints).map_err(Error::io("reading", &checkpoints))?;
        let step = |path: PathBuf| {
            let step = path.file_name()?.to_str()?.strip_prefix("step-")?.parse::<u64>().ok()?;
            Some((step, path))
        };
        let mut old: Vec<(u64, PathBuf)> = entries.filter_map(|e| step(e.ok()?.path())).collect();
        old.sort();
        let (older, later): (Vec<_>, Vec<_>) = old.iter().partition(|(step, _)| *step <= newest);
        for (_, path) in older.iter().rev().skip(keep.max(1)).chain(&later) {
            fs::remove_dir_all(path).map_err(Error::io("removing", path))?;
        }
        Ok(self.checkpoint(newest))
    }
}

fn checkpoint_name(step: u64) -> String {
    format!("step-{step:07}")
}
