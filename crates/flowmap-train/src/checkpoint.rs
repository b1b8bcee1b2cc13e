//! Checkpoints: everything needed to go on, written whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::atomic::{create_dir_atomically, write_atomically};
use crate::model::{FORMAT_VERSION, ema_files, read_tensors};
use crate::{Config, DataPrint, Error, ModelConfig, Result};

/// The config of the run in a checkpoint.
const RUN: &str = "config.toml";

/// state.json: where the run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of the format.
    pub format_version: u32,
    /// Steps done.
    pub step: u64,
    /// Samples seen; noise, data and times are functions of the seed, the step and this, so that is all the randomness
    /// there is. Absent in older checkpoints, whose steps all had one batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// The data, by which it is seen that they changed; absent in older checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataPrint>,
    /// By what the teacher is known again; absent without one that is a model, and in older checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// Steps of the optimizer, fewer than `step` where bad ones were skipped.
    pub optimizer_steps: u64,
    /// Steps with a loss or gradient that was not finite.
    #[serde(default)]
    pub bad_steps: u64,
    /// Updates of the moving averages.
    pub ema_updates: u64,
    /// Seconds of training so far.
    pub wall_s: f64,
}

/// A checkpoint in memory.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The model's sizes and conventions.
    pub config: ModelConfig,
    /// The config of the run; none in older checkpoints.
    pub run: Option<Config>,
    /// The parameters.
    pub model: BTreeMap<String, Tensor>,
    /// The moving averages by decay.
    pub emas: Vec<(f64, BTreeMap<String, Tensor>)>,
    /// The optimizer's state.
    pub optimizer: BTreeMap<String, Tensor>,
    /// Where the run stands.
    pub state: State,
}

impl Checkpoint {
    /// A copy of this checkpoint in host memory, which later steps do not change.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn copied(&self) -> Result<Self> {
        let copy = |tensors: &BTreeMap<String, Tensor>| -> Result<BTreeMap<String, Tensor>> {
            let copy = |t: &Tensor| match t.device() {
                Device::Cpu => t.copy(),
                _ => t.to_device(&Device::Cpu),
            };
            tensors.iter().map(|(name, t)| Ok((name.clone(), copy(t)?))).collect()
        };
        Ok(Self {
            config: self.config.clone(),
            run: self.run.clone(),
            model: copy(&self.model)?,
            emas: self.emas.iter().map(|(decay, t)| Ok((*decay, copy(t)?))).collect::<Result<_>>()?,
            optimizer: copy(&self.optimizer)?,
            state: self.state.clone(),
        })
    }

    /// The name of the first tensor with a number that is not finite; such a checkpoint is not written.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn first_not_finite(&self) -> Result<Option<String>> {
        let parts = [(String::new(), &self.model), (String::new(), &self.optimizer)];
        let emas = self.emas.iter().map(|(decay, tensors)| (format!("ema-{decay} "), tensors));
        for (part, tensors) in parts.into_iter().chain(emas) {
            for (name, tensor) in tensors {
                if !flowmap_nn::is_finite(tensor)? {
                    return Ok(Some(format!("{part}{name}")));
                }
            }
        }
        Ok(None)
    }

    /// Writes the checkpoint as the directory `path`.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing half-written stays. [`Error::Tensors`] for a number that is not finite.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(name) = self.first_not_finite()? {
            let source = flowmap_nn::Error::NotFiniteTensor { name };
            return Err(Error::Tensors { path: path.to_owned(), source });
        }
        create_dir_atomically(path, |dir| {
            let json = |value: serde_json::Result<Vec<u8>>| value.map_err(Error::json(path));
            write_atomically(&dir.join("config.json"), &json(serde_json::to_vec_pretty(&self.config))?)?;
            if let Some(run) = &self.run {
                write_atomically(&dir.join(RUN), run.to_toml()?.as_bytes())?;
            }
            write_tensors(&dir.join("model.safetensors"), &self.model)?;
            for (decay, tensors) in &self.emas {
                write_tensors(&dir.join(format!("ema-{decay}.safetensors")), tensors)?;
            }
            write_tensors(&dir.join("optimizer.safetensors"), &self.optimizer)?;
            write_atomically(&dir.join("state.json"), &json(serde_json::to_vec_pretty(&self.state))?)
        })
    }

    /// Reads a checkpoint directory, with all of its moving averages.
    ///
    /// # Errors
    /// Where a file is missing or malformed.
    pub fn read(path: &Path) -> Result<Self> {
        let state_path = path.join("state.json");
        let text = fs::read(&state_path).map_err(Error::io("reading", &state_path))?;
        let state: State = serde_json::from_slice(&text).map_err(Error::json(&state_path))?;
        if state.format_version != FORMAT_VERSION {
            let found = state.format_version;
            return Err(Error::FormatVersion { path: state_path, expected: FORMAT_VERSION, found });
        }
        let run = path.join(RUN);
        let ema = |(decay, file): &(f64, PathBuf)| Ok((*decay, read_tensors(file)?));
        Ok(Self {
            config: ModelConfig::read(&path.join("config.json"))?,
            run: run.is_file().then(|| Config::read(&run)).transpose()?,
            model: read_tensors(&path.join("model.safetensors"))?,
            emas: ema_files(path)?.iter().map(ema).collect::<Result<_>>()?,
            optimizer: read_tensors(&path.join("optimizer.safetensors"))?,
            state,
        })
    }
}

fn write_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    // The key that PyTorch's readers ask for.
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let bytes = safetensors::serialize(tensors.iter(), Some(metadata))
        .map_err(|e| Error::Safetensors { path: path.to_owned(), message: e.to_string() })?;
    write_atomically(path, &bytes)
}
