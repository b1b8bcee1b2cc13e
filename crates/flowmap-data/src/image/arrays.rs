//! Images in an NPZ or NPY array.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout::{Layout, NAMELESS};
use super::range::{Doubt, to_unit};
use super::set::{Labels, Pixels};
use super::skipped::Bad;
use crate::file::npy::{Header, Source, Stored};
use crate::file::npz::{array, arrays, extension, single};
use crate::labels::Numbering;
use crate::{Error, ImageSet, Result, Skipped, ValueFault, Warning};

/// The arrays that are read if there are several.
const SAMPLES: [&str; 4] = ["samples", "images", "x", NAMELESS];

/// The arrays of labels that are read if they are there.
const LABELS: [&str; 3] = ["labels", "y", "arr_1"];

/// Remedy for an unclear layout of an array.
const LAYOUT: &str = "set `data.layout` to \"nchw\" or \"nhwc\"";

/// Images from an array of a `.npz` or `.npy` file: whole numbers from 0 to 255, truth values, or floats from −1 to 1.
///
/// Labels are the array `labels` (or `y` or `arr_1`) of the NPZ file, if there is one, or the one that is named.
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
    /// `nchw` or `nhwc`; if absent, `nhwc` for an array `arr_0` whose last extent is 1, 3 or 4, and else `nchw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// The values of black and white; if absent, 0 and 255 of whole numbers, -1 and 1 of floats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// The label of class 0; 0 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_label: Option<i32>,
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
    layout: Layout,
    pixels: Pixels,
    /// Labels as they are in the file, with their place.
    labels: Option<(String, Vec<f64>)>,
    warnings: Vec<Warning>,
}

impl ImagesConfig {
    /// Reads the file; a relative path starts at `base_dir`, or at the current directory if that is `None`.
    ///
    /// # Errors
    /// A file of another format, damaged or cut short; an array of another type or shape; values that are not finite
    /// or far from their range and labels beyond the classes, with the number of the image.
    pub fn read(&self, base_dir: Option<&Path>) -> Result<ImageSet> {
        if self.path.as_os_str().is_empty() {
            let (expected, found) = ("the path of an NPZ or NPY file", "nothing".into());
            return Err(Error::Config { key: "path".into(), expected, found });
        }
        if let Some(range) =
            self.range.filter(|[black, white]| !(black < white && (white - black).is_finite()))
        {
            let (expected, found) = ("two numbers, black below white", format!("{range:?}"));
            return Err(Error::Config { key: "range".into(), expected, found });
        }
        let path = base_dir.map_or_else(|| self.path.clone(), |base| base.join(&self.path));
        let array = match extension(&path).as_deref() {
            Some("npz") => self.read_npz(&path)?,
            Some("npy") => {
                let does_not_apply = |key| Error::OptionDoesNotApply { key, path: path.clone() };
                self.array.as_ref().map_or(Ok(()), |_| Err(does_not_apply("array")))?;
                self.labels.as_ref().map_or(Ok(()), |_| Err(does_not_apply("labels")))?;
                self.read_array(single(&path)?, "")?
            }
            other => {
                let found = other.map_or("no extension".into(), |other| format!(".{other}"));
                return Err(Error::UnknownExtension { path, found });
            }
        };
        if array.labels.is_none() && self.first_label.is_some() {
            return Err(Error::OptionDoesNotApply { key: "first_label", path });
        }
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
        let mut images = self.read_array(array(&mut file, entry, length, path)?, &entry.name)?;
        if let Some(entry) = labels {
            let stored = array(&mut file, entry, length, path)?;
            images.labels = Some((stored.place.clone(), stored.labels()?));
        }
        Ok(images)
    }

    fn read_array<R: Source>(&self, stored: Stored<R>, name: &str) -> Result<Array> {
        let (place, shape) = (stored.place.clone(), shape_of(&stored.header, &stored.place)?);
        let (layout, warning) = match self.layout {
            Some(layout) => (layout, None),
            None => Layout::of(name, shape, &place, LAYOUT)?,
        };
        let mut warnings = Vec::from_iter(warning);
        let pixels = match self.range {
            Some(range) => {
                let mut values = stored.values::<f32>()?;
                to_unit(&mut values, range);
                Pixels::Floats(values)
            }
            None => {
                let pixels = read_pixels(stored, shape)?;
                warnings.extend(Doubt::about(&pixels).map(|doubt| Warning {
                    subject: place.clone(),
                    seen: doubt.seen,
                    consequence: doubt.consequence.into(),
                    remedy: format!("set `data.range` to {}", doubt.range),
                }));
                pixels
            }
        };
        Ok(Array { place, shape, layout, pixels, labels: None, warnings })
    }

    /// The good images of an array as a set.
    fn assemble(&self, array: Array) -> Result<ImageSet> {
        let Array { place, shape, layout, pixels, labels, mut warnings } = array;
        let mut bad = Bad::allowed_by(&self.skip_bad);
        let numbering = Numbering { first: self.first_label, classes: self.classes };
        let n = shape[0];
        if let Some((place, labels)) = labels.as_ref().filter(|(_, labels)| labels.len() != n) {
            let (expected, found) = (n as u64, labels.len() as u64);
            return Err(ValueFault::LabelCount { place: place.clone(), expected, found }.into());
        }
        let sample = layout.sample(shape);
        let dim = sample.iter().product();
        let mut kept = Vec::with_capacity(n);
        let mut kept_labels = labels.as_ref().map(|_| Vec::with_capacity(n));
        for row in 0..n {
            let label = labels.as_ref().map(|(place, labels)| numbering.class(place, row, labels[row]));
            let good = label.transpose().and_then(|label| {
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
            Pixels::Bytes(bytes) => Pixels::Bytes(planes(layout, &bytes, sample, kept)),
            Pixels::Floats(floats) => Pixels::Floats(planes(layout, &floats, sample, kept)),
        };
        warnings.extend(kept_labels.as_ref().and_then(|labels| numbering.empty_classes(&place, labels)));
        let labels = Labels { labels: kept_labels, classes: self.classes };
        let skipped: Skipped = bad.into_skipped();
        Ok(ImageSet::new(place, sample, pixels, labels, self.flip.into(), skipped)?.with_warnings(warnings))
    }
}

/// These images in the layout of samples, `[C, H, W]`.
pub(crate) fn planes<T: Copy>(
    layout: Layout,
    values: &[T],
    sample: [usize; 3],
    images: impl IntoIterator<Item = usize>,
) -> Vec<T> {
    let dim: usize = sample.iter().product();
    let mut out = Vec::with_capacity(values.len());
    images.into_iter().for_each(|row| layout.planes(&values[row * dim..][..dim], sample[0], &mut out));
    out
}

/// The values of an array by its type: whole numbers as bytes, truth values as black and white, and floats.
///
/// # Errors
/// A whole number that is not a byte, with its image.
pub(crate) fn read_pixels<R: Source>(stored: Stored<R>, shape: [usize; 4]) -> Result<Pixels> {
    let place = stored.place.clone();
    Ok(match (stored.header.dtype.kind, stored.header.dtype.size) {
        ('u', 1) => Pixels::Bytes(stored.values()?),
        ('b', 1) => {
            let mut bytes: Vec<u8> = stored.values()?;
            bytes.iter_mut().for_each(|byte| *byte = if *byte == 0 { 0 } else { u8::MAX });
            Pixels::Bytes(bytes)
        }
        ('i' | 'u', _) => {
            let dim: usize = shape[1..].iter().product();
            let byte = |(at, found): (usize, i64)| {
                let (sample, coordinate) = ((at / dim) as u64, (at % dim) as u64);
                u8::try_from(found).map_err(|_| {
                    Error::from(ValueFault::NotAByte { place: place.clone(), sample, coordinate, found })
                })
            };
            let numbers: Vec<i64> = stored.values()?;
            Pixels::Bytes(numbers.into_iter().enumerate().map(byte).collect::<Result<_>>()?)
        }
        _ => Pixels::Floats(stored.values()?),
    })
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
        Error::from(ValueFault::BeyondScale { place, sample, coordinate, found })
    } else {
        Error::from(ValueFault::NotFinite { place, sample, coordinate, found })
    })
}

/// The four extents of an array of images.
pub(crate) fn shape_of(header: &Header, place: &str) -> Result<[usize; 4]> {
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
