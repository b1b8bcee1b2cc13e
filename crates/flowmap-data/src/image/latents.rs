//! Latents of images, computed beforehand by somebody's autoencoder.
//!
//! Two kinds of files, NPZ or safetensors:
//! * `latents` (N, C, H, W), optionally with `mean` (C,) and `std` (C,):
//!   x = (z_c − mean_c) / std_c · scale                                            (1)
//! * `mean` and `std` (N, C, H, W), the posterior of each image:
//!   x = (mean + std ε) · scale,  ε ~ N(0, I) drawn anew for each sample            (2)
//!
//! (2) is how Mean Flow (arXiv:2505.13447) and its predecessors train, with scale = 0.18215 for the autoencoder of
//! Stable Diffusion.
//! Labels are the array `labels` (N,) of whole numbers, if there is one.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use flowmap_core::NoiseStream;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::skipped::Bad;
use crate::file::npy::{self, Value};
use crate::file::npz::{array, arrays, extension};
use crate::finite::{check_sigma, standard_deviation};
use crate::labels::Numbering;
use crate::shuffle::row_of;
use crate::{DataSet, Error, Facts, Result, Skipped, ValueFault, Warning};

/// Latents from an NPZ or safetensors file; see the module for what is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatentsConfig {
    /// The file; a relative path starts at the folder of the config.
    pub path: PathBuf,
    /// Factor of the latents, applied last.
    pub scale: f64,
    /// Shape `[C, H, W]` of a latent; if absent, the shape in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<[usize; 3]>,
    /// The number of classes, which no label may reach; if absent, one more than the largest label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<NonZeroU32>,
    /// The label of class 0; 0 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_label: Option<i32>,
    /// Whether bad latents are counted and passed over, instead of ending the run.
    pub skip_bad: bool,
}

impl Default for LatentsConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            scale: 1.0,
            shape: None,
            classes: None,
            first_label: None,
            skip_bad: false,
        }
    }
}

/// Latents held in memory, visited in shuffled epochs.
pub struct LatentSet {
    name: String,
    shape: [usize; 3],
    /// Means, or the latents themselves.
    means: Vec<f32>,
    /// Standard deviations of the posteriors, if these are known.
    stds: Option<Vec<f32>>,
    labels: Option<Vec<u32>>,
    n_classes: usize,
    n_samples: u64,
    sigma: f64,
    skipped: Skipped,
    warnings: Vec<Warning>,
}

/// Remedy for an unclear layout of latents.
const LAYOUT: &str = "bring it to (N, C, H, W), or set `data.shape` if it is so";

/// An array of a file.
struct Array {
    place: String,
    shape: Vec<u64>,
    values: Vec<f32>,
}

/// The arrays of a file that have a meaning.
#[derive(Default)]
struct Arrays {
    latents: Option<Array>,
    mean: Option<Array>,
    std: Option<Array>,
    labels: Option<(String, Vec<f64>)>,
}

impl LatentsConfig {
    /// Reads the file; a relative path starts at `base_dir`, or at the current directory if that is `None`.
    ///
    /// # Errors
    /// A file of another format, damaged or cut short; arrays that are missing, of another type, or do not fit each
    /// other; latents that are not finite and labels beyond the classes, with the number of the sample.
    pub fn read(&self, base_dir: Option<&Path>) -> Result<LatentSet> {
        if self.path.as_os_str().is_empty() {
            let (expected, found) = ("the path of an NPZ or safetensors file", "nothing".into());
            return Err(Error::Config { key: "path".into(), expected, found });
        }
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            let (expected, found) = ("a positive number", self.scale.to_string());
            return Err(Error::Config { key: "scale".into(), expected, found });
        }
        let path = base_dir.map_or_else(|| self.path.clone(), |base| base.join(&self.path));
        let found = match extension(&path).as_deref() {
            Some("npz") => from_npz(&path)?,
            Some("safetensors") => from_safetensors(&path)?,
            other => {
                let found = other.map_or("no extension".into(), |other| format!(".{other}"));
                return Err(Error::NotLatents { path, found });
            }
        };
        self.assemble(&path, found)
    }

    fn assemble(&self, path: &Path, found: Arrays) -> Result<LatentSet> {
        let Arrays { latents, mean, std, labels } = found;
        let (means, stds, channels) = match (latents, mean, std) {
            (Some(latents), mean, std) => (latents, None, Some((mean, std))),
            (None, Some(mean), Some(std)) => (mean, Some(std), None),
            (None, mean, _) => {
                let wanted = "an array `latents`, or `mean` and `std` of its shape".into();
                let found = mean.map(|_| "mean".to_owned()).into_iter().collect();
                return Err(Error::MissingArray { path: path.into(), wanted, found });
            }
        };
        if labels.is_none() && self.first_label.is_some() {
            return Err(Error::OptionDoesNotApply { key: "first_label", path: path.into() });
        }
        let numbering = Numbering { first: self.first_label, classes: self.classes };
        let (n, shape, warning) = self.shape_of(&means)?;
        let dim: usize = shape.iter().product();
        if let Some(stds) = stds.as_ref().filter(|stds| stds.shape != means.shape) {
            let (expected, found) = ("that of `mean`", stds.shape.clone());
            return Err(Error::WrongShape { place: stds.place.clone(), expected, found });
        }
        if let Some((place, labels)) = labels.as_ref().filter(|(_, labels)| labels.len() != n) {
            let (expected, found) = (n as u64, labels.len() as u64);
            return Err(ValueFault::LabelCount { place: place.clone(), expected, found }.into());
        }
        let (shift, scale) = self.affine(shape, channels)?;
        let mut bad = Bad::allowed_by(&self.skip_bad);
        let mut set = LatentSet {
            name: path.display().to_string(),
            shape,
            means: Vec::with_capacity(n * dim),
            stds: stds.as_ref().map(|_| Vec::with_capacity(n * dim)),
            labels: labels.as_ref().map(|_| Vec::with_capacity(n)),
            n_classes: 0,
            n_samples: 0,
            sigma: 0.0,
            skipped: Skipped::default(),
            warnings: Vec::from_iter(warning),
        };
        for row in 0..n {
            let label = labels.as_ref().map(|(place, labels)| numbering.class(place, row, labels[row]));
            let good = label.transpose().and_then(|label| {
                let row_of = |array: &Array| -> Result<Vec<f32>> {
                    let values = &array.values[row * dim..][..dim];
                    finite(&array.place, row, values)?;
                    Ok(values.to_vec())
                };
                Ok((label, row_of(&means)?, stds.as_ref().map(row_of).transpose()?))
            });
            let Some((label, mean, std)) = bad.good(good)? else { continue };
            let channel_of = |at: usize| at / (shape[1] * shape[2]);
            let place = mean.iter().enumerate();
            set.means.extend(place.map(|(at, z)| (z - shift[channel_of(at)]) * scale[channel_of(at)])); // (1)
            if let (Some(stds), Some(std)) = (&mut set.stds, std) {
                stds.extend(std.iter().enumerate().map(|(at, std)| std * scale[channel_of(at)])); // (2)
            }
            set.labels.iter_mut().zip(label).for_each(|(labels, label)| labels.push(label));
            set.n_samples += 1;
        }
        if set.n_samples == 0 {
            return Err(Error::Empty { place: set.name });
        }
        if let Some(labels) = &set.labels {
            set.n_classes = numbering.count(labels);
            set.warnings.extend(numbering.empty_classes(&set.name, labels));
        }
        // Of a posterior the variance of the mean and the mean of the variance add up.
        let spread = set.stds.as_deref().unwrap_or_default();
        let inner =
            spread.iter().map(|std| f64::from(*std).powi(2)).sum::<f64>() / spread.len().max(1) as f64;
        set.sigma = standard_deviation(&set.means).hypot(inner.sqrt());
        if set.sigma == 0.0 {
            return Err(ValueFault::NoSpread { place: set.name, found: set.means[0].into() }.into());
        }
        check_sigma(&set.name, set.sigma)?;
        set.skipped = bad.into_skipped();
        Ok(set)
    }

    /// Number and shape of the latents, and what is in doubt about the shape.
    fn shape_of(&self, array: &Array) -> Result<(usize, [usize; 3], Option<Warning>)> {
        let wrong = |expected| {
            let found = array.shape.clone();
            Error::WrongShape { place: array.place.clone(), expected, found }
        };
        let extents: Vec<usize> = array.shape.iter().map(|extent| *extent as usize).collect();
        let [n, channels, height, width] = extents[..] else { return Err(wrong("(N, C, H, W)")) };
        let shape = [channels, height, width];
        match self.shape {
            Some(expected) if expected != shape => {
                Err(wrong("(N, C, H, W) with C, H and W of the key `shape`"))
            }
            Some(_) => Ok((n, shape, None)),
            None => {
                let (_, warning) = Layout::of("", [n, channels, height, width], &array.place, LAYOUT)?;
                Ok((n, shape, warning))
            }
        }
    }

    /// What is subtracted from each channel, and what it is multiplied by then.
    fn affine(
        &self,
        shape: [usize; 3],
        channels: Option<(Option<Array>, Option<Array>)>,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let (mean, std) = channels.unwrap_or_default();
        let each = |array: Option<Array>, default: f32| -> Result<Vec<f32>> {
            let Some(array) = array else { return Ok(vec![default; shape[0]]) };
            if array.values.len() != shape[0] {
                let (expected, found) = ("(C,), a number for each channel", array.shape);
                return Err(Error::WrongShape { place: array.place, expected, found });
            }
            finite(&array.place, 0, &array.values)?;
            Ok(array.values)
        };
        let (mean, std) = (each(mean, 0.0)?, each(std, 1.0)?);
        if let Some(zero) = std.iter().find(|std| **std <= 0.0) {
            let (expected, found) = ("positive numbers in the array `std`", zero.to_string());
            return Err(Error::Config { key: "path".into(), expected, found });
        }
        Ok((mean, std.into_iter().map(|std| self.scale as f32 / std).collect()))
    }
}

fn finite(place: &str, row: usize, values: &[f32]) -> Result<()> {
    let Some(at) = values.iter().position(|value| !value.is_finite()) else { return Ok(()) };
    let (sample, coordinate, found) = (row as u64, at as u64, values[at].into());
    Err(ValueFault::NotFinite { place: place.into(), sample, coordinate, found }.into())
}

fn from_npz(path: &Path) -> Result<Arrays> {
    let (mut file, length, entries) = arrays(path)?;
    let mut found = Arrays::default();
    for entry in &entries {
        let slot = match entry.name.as_str() {
            "latents" => &mut found.latents,
            "mean" => &mut found.mean,
            "std" => &mut found.std,
            "labels" => {
                let stored = array(&mut file, entry, length, path)?;
                found.labels = Some((stored.place.clone(), stored.labels()?));
                continue;
            }
            _ => continue,
        };
        let stored = array(&mut file, entry, length, path)?;
        let (place, shape) = (stored.place.clone(), stored.header.shape.clone());
        *slot = Some(Array { place, shape, values: stored.values()? });
    }
    Ok(found)
}

fn from_safetensors(path: &Path) -> Result<Arrays> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|source| Error::Safetensors { path: path.into(), source })?;
    let mut found = Arrays::default();
    for (name, tensor) in tensors.iter() {
        let place = format!("{}, tensor `{name}`", path.display());
        let wrong = |expected| {
            let found = format!("{:?}", tensor.dtype());
            Error::WrongDtype { place: place.clone(), expected, found }
        };
        let slot = match name {
            "latents" => &mut found.latents,
            "mean" => &mut found.mean,
            "std" => &mut found.std,
            "labels" => {
                let labels: Vec<i64> = values_of(&tensor).ok_or_else(|| wrong("whole numbers"))?;
                let labels = labels.into_iter().map(|label| label as f64).collect();
                found.labels = Some((place, labels));
                continue;
            }
            _ => continue,
        };
        let values = values_of(&tensor).ok_or_else(|| wrong("F16, BF16, F32, F64 or whole numbers"))?;
        let shape = tensor.shape().iter().map(|extent| *extent as u64).collect();
        *slot = Some(Array { place, shape, values });
    }
    Ok(found)
}

/// The values of a tensor; `None` for types that are not read.
fn values_of<T: Value>(tensor: &TensorView<'_>) -> Option<Vec<T>> {
    let (kind, size) = match tensor.dtype() {
        Dtype::F16 => ('f', 2),
        Dtype::F32 => ('f', 4),
        Dtype::F64 => ('f', 8),
        Dtype::BF16 => ('V', 2),
        Dtype::I8 => ('i', 1),
        Dtype::I16 => ('i', 2),
        Dtype::I32 => ('i', 4),
        Dtype::I64 => ('i', 8),
        Dtype::U8 => ('u', 1),
        Dtype::U16 => ('u', 2),
        Dtype::U32 => ('u', 4),
        Dtype::U64 => ('u', 8),
        Dtype::BOOL => ('b', 1),
        _ => return None,
    };
    let dtype = npy::Dtype { descr: format!("<{kind}{size}"), kind, size, is_big_endian: false };
    let decode = T::decoder(&dtype)?;
    Some(npy::decoded(tensor.data(), &dtype, decode).collect())
}

impl std::fmt::Debug for LatentSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.facts()
            .debug_of(f, "LatentSet", &self.name)
            .field("is_posterior", &self.stds.is_some())
            .finish_non_exhaustive()
    }
}

impl DataSet for LatentSet {
    fn facts(&self) -> Facts<'_> {
        let Self { n_samples, n_classes, sigma, .. } = *self;
        Facts { shape: &self.shape, n_samples: Some(n_samples), n_classes, sigma }
    }

    /// The noise of (2) for sample i is at index 2⁶⁴ − 1 − i of the stream, which no epoch reaches.
    fn draw(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> Option<u32> {
        let row = row_of(self.n_samples, stream, index);
        let dim: usize = self.shape.iter().product();
        let rows = row * dim..(row + 1) * dim;
        out.iter_mut().zip(&self.means[rows.clone()]).for_each(|(out, mean)| *out = *mean);
        if let Some(stds) = &self.stds {
            let mut noise = stream.at(!index);
            out.iter_mut().zip(&stds[rows]).for_each(|(out, std)| *out += std * noise.normal() as f32);
        }
        self.labels.as_ref().map(|labels| labels[row])
    }

    fn extent(&self) -> Option<f64> {
        None
    }

    fn skipped(&self) -> Option<&Skipped> {
        Some(&self.skipped).filter(|skipped| skipped.n > 0)
    }

    fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}
