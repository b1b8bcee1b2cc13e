//! Images in an NPZ or NPY array.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::set::{Labels, Pixels, max_label};
use super::skipped::Bad;
use crate::file::npy::{self, Header, Surroundings};
use crate::file::npz::{arrays, extension, open, read_entry};
use crate::{Error, ImageSet, Result, Skipped};

/// The arrays that are read where there are several.
const SAMPLES: [&str; 4] = ["samples", "images", "x", "arr_0"];

/// The arrays of labels that are read if they are there.
const LABELS: [&str; 3] = ["labels", "y", "arr_1"];

/// The order of the dimensions of an array of images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layout {
    /// (N, C, H, W).
    #[default]
    Nchw,
    /// (N, H, W, C).
    Nhwc,
}

/// Images from an array of a `.npz` or `.npy` file: bytes from 0 to 255, or f4 or f8 from −1 to 1.
///
/// Labels are the array `labels` (or `y` or `arr_1`) of the NPZ file, where there is one, or the one that is named.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImagesConfig {
    /// The file; a relative path starts at the folder of the config.
    pub path: PathBuf,
    /// Name of the array in an NPZ file; if absent, `samples`, `images`, `x` or `arr_0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// Name of the array with the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// `nchw` or `nhwc`.
    pub layout: Layout,
    /// The number of classes, which no label may reach; if absent, one more than the largest label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<NonZeroU32>,
    /// Whether half of the samples are mirrored left to right.
    pub flip: bool,
    /// Whether bad images are counted and passed over, instead of ending the run.
    pub skip_bad: bool,
}

/// The values of an array of images in the order of the file.
struct Array {
    place: String,
    shape: [usize; 4],
    pixels: Pixels,
    /// Labels as they are in the file, with their place.
    labels: Option<(String, Vec<i64>)>,
}

impl ImagesConfig {
    /// Reads the file; a relative path starts at `base_dir`, or at the current directory where that is `None`.
    ///
    /// # Errors
    /// A file of another format, damaged or cut short; an array of another type or shape; floats that are not finite
    /// or far from [−1, 1] and labels beyond the classes, with the number of the image.
    pub fn read(&self, base_dir: Option<&Path>) -> Result<ImageSet> {
        if self.path.as_os_str().is_empty() {
            let (expected, found) = ("the path of an NPZ or NPY file", "nothing".into());
            return Err(Error::Config { key: "path".into(), expected, found });
        }
        let path = base_dir.map_or_else(|| self.path.clone(), |base| base.join(&self.path));
        let array = match extension(&path).as_deref() {
            Some("npz") => self.read_npz(&path)?,
            Some("npy") => self.read_npy(&path)?,
            other => {
                let found = other.map_or("no extension".into(), |other| format!(".{other}"));
                return Err(Error::UnknownExtension { path, found });
            }
        };
        self.assemble(array)
    }

    fn read_npz(&self, path: &Path) -> Result<Array> {
        let (mut file, length, entries) = arrays(path)?;
        let names = || entries.iter().map(|entry| entry.name.clone()).collect();
        let find = |wanted: &str| entries.iter().find(|entry| entry.name == wanted);
        let missing = |wanted: String| Error::MissingArray { path: path.into(), wanted, found: names() };
        let entry = match &self.array {
            Some(name) => find(name).ok_or_else(|| missing(format!("array `{name}`")))?,
            None => SAMPLES
                .into_iter()
                .find_map(find)
                .ok_or_else(|| missing("an array `samples` or `images`, or the key `array`".into()))?,
        };
        let labels = match &self.labels {
            Some(name) => Some(find(name).ok_or_else(|| missing(format!("array `{name}`")))?),
            None => LABELS.into_iter().find_map(find),
        };
        let place = format!("{}, array `{}`", path.display(), entry.name);
        let mut seen = None;
        let mut look = |header: &Header, place: &str| -> Result<Vec<usize>> {
            seen = Some(shape_of(header, place)?);
            Ok(Vec::new())
        };
        // The type is known from the header; bytes first, since they are what images usually are.
        let pixels = match read_entry::<u8>(&mut file, entry, length, &place, &mut look) {
            Ok((_, bytes)) => Pixels::Bytes(bytes),
            Err(Error::WrongDtype { .. }) => {
                Pixels::Floats(read_entry::<f32>(&mut file, entry, length, &place, &mut look)?.1)
            }
            Err(error) => return Err(error),
        };
        let shape = seen.ok_or_else(|| Error::Empty { place: place.clone() })?;
        let labels = match labels {
            Some(entry) => {
                let place = format!("{}, array `{}`", path.display(), entry.name);
                let check = |header: &Header, place: &str| match header.shape[..] {
                    [_] => Ok(Vec::new()),
                    _ => {
                        let (expected, found) = ("(N,)", header.shape.clone());
                        Err(Error::WrongShape { place: place.into(), expected, found })
                    }
                };
                let (_, labels) = read_entry::<i64>(&mut file, entry, length, &place, check)?;
                Some((place, labels))
            }
            None => None,
        };
        Ok(Array { place, shape, pixels, labels })
    }

    fn read_npy(&self, path: &Path) -> Result<Array> {
        let does_not_apply = |key| Error::OptionDoesNotApply { key, path: path.into() };
        self.array.as_ref().map_or(Ok(()), |_| Err(does_not_apply("array")))?;
        self.labels.as_ref().map_or(Ok(()), |_| Err(does_not_apply("labels")))?;
        let (mut file, length) = open(path)?;
        let place = path.display().to_string();
        let header = npy::read_header(&mut file, &place)?;
        let shape = shape_of(&header, &place)?;
        let there = length.saturating_sub(header.length);
        let surroundings = Surroundings { promised: there, there };
        let pixels = if header.dtype.kind == 'u' {
            Pixels::Bytes(npy::read_values(&mut file, &header, surroundings, &place)?)
        } else {
            Pixels::Floats(npy::read_values(&mut file, &header, surroundings, &place)?)
        };
        Ok(Array { place, shape, pixels, labels: None })
    }

    /// The good images of an array as a set.
    fn assemble(&self, array: Array) -> Result<ImageSet> {
        let Array { place, shape: [n, a, b, c], pixels, labels } = array;
        let mut bad = Bad::allowed_by(&self.skip_bad);
        let shape = match self.layout {
            Layout::Nchw => [a, b, c],
            Layout::Nhwc => [c, a, b],
        };
        if let Some((place, labels)) = labels.as_ref().filter(|(_, labels)| labels.len() != n) {
            let (expected, found) = (n as u64, labels.len() as u64);
            return Err(Error::LabelCount { place: place.clone(), expected, found });
        }
        let dim = a * b * c;
        let mut kept = Vec::with_capacity(n);
        let mut kept_labels = labels.as_ref().map(|_| Vec::with_capacity(n));
        for row in 0..n {
            let label =
                labels.as_ref().map(|(place, labels)| self.label(place, row, labels[row])).transpose();
            let good = label.and_then(|label| {
                if let Pixels::Floats(floats) = &pixels {
                    check_floats(&place, row, &floats[row * dim..][..dim])?;
                }
                Ok(label)
            });
            if let Some(label) = bad.good(good)? {
                kept.push(row);
                kept_labels.iter_mut().zip(label).for_each(|(labels, label)| labels.push(label));
            }
        }
        let pixels = match pixels {
            Pixels::Bytes(bytes) => Pixels::Bytes(self.rows(&bytes, shape, &kept)),
            Pixels::Floats(floats) => Pixels::Floats(self.rows(&floats, shape, &kept)),
        };
        let labels = Labels { labels: kept_labels, classes: self.classes };
        let skipped: Skipped = bad.into_skipped();
        ImageSet::new(place, shape, pixels, labels, self.flip.into(), skipped)
    }

    fn label(&self, place: &str, row: usize, found: i64) -> Result<u32> {
        let max = max_label(self.classes);
        let label = u32::try_from(found).ok().filter(|label| *label <= max);
        let (sample, found) = (row as u64, found as f64);
        label.ok_or_else(|| Error::BadLabel { place: place.into(), sample, max, found })
    }

    /// These rows in the layout of a sample, `[C, H, W]`.
    fn rows<T: Copy>(&self, values: &[T], [channels, height, width]: [usize; 3], kept: &[usize]) -> Vec<T> {
        let dim = channels * height * width;
        let mut out = Vec::with_capacity(kept.len() * dim);
        for row in kept {
            let image = &values[row * dim..][..dim];
            match self.layout {
                Layout::Nchw => out.extend_from_slice(image),
                Layout::Nhwc => {
                    (0..channels).for_each(|c| out.extend(image.iter().skip(c).step_by(channels)));
                }
            }
        }
        out
    }
}

/// How far beyond [−1, 1] a value may be, for the overshoot of samplers and of resizing.
const REACH: f32 = 4.0;

/// Refuses values that are not finite, or so large that the scale must be another.
fn check_floats(place: &str, row: usize, image: &[f32]) -> Result<()> {
    let is_bad = |value: &f32| !value.is_finite() || value.abs() > REACH;
    let Some(at) = image.iter().position(is_bad) else { return Ok(()) };
    let (place, sample, coordinate) = (place.into(), row as u64, at as u64);
    let found = f64::from(image[at]);
    Err(if image[at].is_finite() {
        Error::BeyondScale { place, sample, coordinate, found }
    } else {
        Error::NotFinite { place, sample, coordinate, found }
    })
}

/// The four extents of an array of images.
fn shape_of(header: &Header, place: &str) -> Result<[usize; 4]> {
    let wrong = || {
        let (expected, found) = ("(N, C, H, W) or (N, H, W, C)", header.shape.clone());
        Error::WrongShape { place: place.into(), expected, found }
    };
    if header.shape.contains(&0) {
        return Err(Error::Empty { place: place.into() });
    }
    let extents: Vec<usize> = header
        .shape
        .iter()
        .map(|extent| usize::try_from(*extent).map_err(|_| wrong()))
        .collect::<Result<_>>()?;
    extents.try_into().map_err(|_| wrong())
}
