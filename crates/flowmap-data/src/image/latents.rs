//! Latents of images, computed beforehand by somebody's autoencoder.
//!
//! Two kinds of files, NPZ or safetensors:
//! * `latents` (N, C, H, W), with `mean` (C,) and `std` (C,) beside it or not:
//!   x = (z_c − mean_c) / std_c · scale                                            (1)
//! * `mean` and `std` (N, C, H, W), the posterior of each image:
//!   x = (mean + std ε) · scale,  ε ~ N(0, I) drawn anew for each sample            (2)
//!
//! (2) is how Mean Flow (arXiv:2505.13447) and its predecessors train, with scale = 0.18215 for the autoencoder of
//! Stable Diffusion.
//! Labels are the array `labels` (N,) of whole numbers, where there is one.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use flowmap_core::NoiseStream;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::set::{check_labels, max_label};
use super::skipped::Bad;
use crate::file::npy::Header;
use crate::file::npz::{arrays, extension, read_entry};
use crate::finite::standard_deviation;
use crate::shuffle::row_of;
use crate::{DataSet, Error, Result, Skipped};

/// Latents from an NPZ or safetensors file; see the module for what is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatentsConfig {
    /// The file; a relative path starts at the folder of the config.
    pub path: PathBuf,
    /// What the latents are multiplied by at the end.
    pub scale: f64,
    /// Shape `[C, H, W]` of a latent; if absent, that of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<[usize; 3]>,
    /// The number of classes, which no label may reach; if absent, one more than the largest label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<NonZeroU32>,
    /// Whether bad latents are counted and passed over, instead of ending the run.
    pub skip_bad: bool,
}

impl Default for LatentsConfig {
    fn default() -> Self {
        Self { path: PathBuf::new(), scale: 1.0, shape: None, classes: None, skip_bad: false }
    }
}

/// Latents held in memory, visited in shuffled epochs.
pub struct LatentSet {
    name: String,
    shape: [usize; 3],
    /// Means, or the latents themselves.
    means: Vec<f32>,
    /// Standard deviations of the posteriors, where these are known.
    stds: Option<Vec<f32>>,
    labels: Option<Vec<u32>>,
    n_classes: usize,
    n_samples: u64,
    sigma: f64,
    skipped: Skipped,
}

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
    labels: Option<(String, Vec<i64>)>,
}

impl LatentsConfig {
    /// Reads the file; a relative path starts at `base_dir`, or at the current directory where that is `None`.
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
        let (n, shape) = self.shape_of(&means)?;
        let dim: usize = shape.iter().product();
        if let Some(stds) = stds.as_ref().filter(|stds| stds.shape != means.shape) {
            let (expected, found) = ("that of `mean`", stds.shape.clone());
            return Err(Error::WrongShape { place: stds.place.clone(), expected, found });
        }
        if let Some((place, labels)) = labels.as_ref().filter(|(_, labels)| labels.len() != n) {
            let (expected, found) = (n as u64, labels.len() as u64);
            return Err(Error::LabelCount { place: place.clone(), expected, found });
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
        };
        for row in 0..n {
            let label =
                labels.as_ref().map(|(place, labels)| self.label(place, row, labels[row])).transpose();
            let good = label.and_then(|label| {
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
            set.n_classes = check_labels(&set.name, labels, set.n_samples, self.classes)?;
        }
        // Of a posterior the variance of the mean and the mean of the variance add up.
        let spread = set.stds.as_deref().unwrap_or_default();
        let inner =
            spread.iter().map(|std| f64::from(*std).powi(2)).sum::<f64>() / spread.len().max(1) as f64;
        set.sigma = standard_deviation(&set.means).hypot(inner.sqrt());
        if set.sigma == 0.0 {
            return Err(Error::NoSpread { place: set.name, found: set.means[0].into() });
        }
        set.skipped = bad.into_skipped();
        Ok(set)
    }

    /// Number and shape of the latents.
    fn shape_of(&self, array: &Array) -> Result<(usize, [usize; 3])> {
        let wrong = |expected| {
            let found = array.shape.clone();
            Error::WrongShape { place: array.place.clone(), expected, found }
        };
        let extents: Vec<usize> = array.shape.iter().map(|extent| *extent as usize).collect();
        let [n, channels, height, width] = extents[..] else { return Err(wrong("(N, C, H, W)")) };
        let shape = [channels, height, width];
        match self.shape.filter(|expected| *expected != shape) {
            Some(_) => Err(wrong("(N, C, H, W) with C, H and W those of the key `shape`")),
            None => Ok((n, shape)),
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

    fn label(&self, place: &str, row: usize, found: i64) -> Result<u32> {
        let max = max_label(self.classes);
        let label = u32::try_from(found).ok().filter(|label| *label <= max);
        let (sample, found) = (row as u64, found as f64);
        label.ok_or_else(|| Error::BadLabel { place: place.into(), sample, max, found })
    }
}

fn finite(place: &str, row: usize, values: &[f32]) -> Result<()> {
    let Some(at) = values.iter().position(|value| !value.is_finite()) else { return Ok(()) };
    let (sample, coordinate, found) = (row as u64, at as u64, values[at].into());
    Err(Error::NotFinite { place: place.into(), sample, coordinate, found })
}

fn from_npz(path: &Path) -> Result<Arrays> {
    let (mut file, length, entries) = arrays(path)?;
    let mut found = Arrays::default();
    for entry in &entries {
        let place = format!("{}, array `{}`", path.display(), entry.name);
        let any = |_: &Header, _: &str| Ok(Vec::new());
        let slot = match entry.name.as_str() {
            "latents" => &mut found.latents,
            "mean" => &mut found.mean,
            "std" => &mut found.std,
            "labels" => {
                let (_, labels) = read_entry::<i64>(&mut file, entry, length, &place, any)?;
                found.labels = Some((place, labels));
                continue;
            }
            _ => continue,
        };
        let (header, values) = read_entry::<f32>(&mut file, entry, length, &place, any)?;
        *slot = Some(Array { place, shape: header.shape, values });
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
                let labels =
                    whole_numbers(tensor.dtype(), tensor.data()).ok_or_else(|| wrong("I64, I32 or U8"))?;
                found.labels = Some((place, labels));
                continue;
            }
            _ => continue,
        };
        let values = floats(tensor.dtype(), tensor.data()).ok_or_else(|| wrong("F32, F16 or BF16"))?;
        let shape = tensor.shape().iter().map(|extent| *extent as u64).collect();
        *slot = Some(Array { place, shape, values });
    }
    Ok(found)
}

/// Little-endian floats; what f32 holds exactly.
fn floats(dtype: Dtype, data: &[u8]) -> Option<Vec<f32>> {
    let halves = || data.chunks_exact(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    match dtype {
        Dtype::F32 => {
            let words = data.chunks_exact(4);
            Some(words.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        }
        Dtype::F16 => Some(halves().map(|bits| half::f16::from_bits(bits).to_f32()).collect()),
        Dtype::BF16 => Some(halves().map(|bits| half::bf16::from_bits(bits).to_f32()).collect()),
        _ => None,
    }
}

fn whole_numbers(dtype: Dtype, data: &[u8]) -> Option<Vec<i64>> {
    match dtype {
        Dtype::U8 => Some(data.iter().map(|byte| i64::from(*byte)).collect()),
        Dtype::I32 => {
            let words = data.chunks_exact(4);
            Some(words.map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect())
        }
        Dtype::I64 => {
            let words = data.chunks_exact(8);
            Some(
                words.map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])).collect(),
            )
        }
        _ => None,
    }
}

impl std::fmt::Debug for LatentSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LatentSet")
            .field("name", &self.name)
            .field("shape", &self.shape)
            .field("n_samples", &self.n_samples)
            .field("n_classes", &self.n_classes)
            .field("sigma", &self.sigma)
            .field("is_posterior", &self.stds.is_some())
            .finish_non_exhaustive()
    }
}

impl DataSet for LatentSet {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn n_samples(&self) -> Option<u64> {
        Some(self.n_samples)
    }

    fn n_classes(&self) -> usize {
        self.n_classes
    }

    fn sigma(&self) -> f64 {
        self.sigma
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
}
