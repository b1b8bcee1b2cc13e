//! CIFAR-10 and CIFAR-100 in their binary version: 60 000 color images of 32 x 32 pixels.
//!
//! Krizhevsky 2009, "Learning multiple layers of features from tiny images".
//! A record is the label, for CIFAR-100 the coarse one and then the fine one, and 3072 bytes, red, green, blue, each
//! row by row; a file is records one after the other.

mod names;

use std::io::Read;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::idx::Split;
use super::set::{Labels, Pixels};
use super::skipped::Bad;
use crate::error::FormatFault;
use crate::file::npz::open;
use crate::{Error, ImageSet, Result, ValueFault};

/// Shape of an image.
const SHAPE: [usize; 3] = [3, 32, 32];

/// Bytes of the pixels of a record.
const N_PIXELS: usize = 3 * 32 * 32;

/// Numbers of classes: of CIFAR-10, and of CIFAR-100 by its fine and its coarse labels.
const CLASSES_10: NonZeroU32 = NonZeroU32::new(10).unwrap();
const CLASSES_FINE: NonZeroU32 = NonZeroU32::new(100).unwrap();
const CLASSES_COARSE: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// CIFAR-10, of shape `[3, 32, 32]` with labels 0 to 9.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cifar10Config {
    /// The directory `cifar-10-batches-bin` of the binary version; a relative path starts at the folder of the config.
    pub path: PathBuf,
    /// 50 000 images to learn from, or 10 000 that are held out.
    pub split: Split,
    /// Whether half of the samples are mirrored left to right.
    pub flip: bool,
    /// Whether bad records are counted and passed over, instead of ending the run.
    pub skip_bad: bool,
}

/// Which labels of CIFAR-100.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CifarLabels {
    /// 100 classes.
    #[default]
    Fine,
    /// 20 groups of them.
    Coarse,
}

/// CIFAR-100, of shape `[3, 32, 32]` with labels 0 to 99, or 0 to 19.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cifar100Config {
    /// The directory `cifar-100-binary` of the binary version; a relative path starts at the folder of the config.
    pub path: PathBuf,
    /// 50 000 images to learn from, or 10 000 that are held out.
    pub split: Split,
    /// Which labels.
    pub labels: CifarLabels,
    /// Whether half of the samples are mirrored left to right.
    pub flip: bool,
    /// Whether bad records are counted and passed over, instead of ending the run.
    pub skip_bad: bool,
}

/// Position of the label in a record, and number of bytes before the pixels.
struct Layout {
    n_labels: usize,
    label: usize,
    classes: NonZeroU32,
    names: &'static [&'static str],
}

impl Cifar10Config {
    /// Shape of an image, and the number of classes.
    pub(crate) const SHAPE: ([usize; 3], usize) = (SHAPE, 10);

    /// Reads the part; a relative path starts at `base_dir`, or at the current directory if that is `None`.
    ///
    /// # Errors
    /// A file that is not there or cut short; a label beyond the classes, with file and record.
    pub fn read(&self, base_dir: Option<&Path>) -> Result<ImageSet> {
        let dir = directory(&self.path, base_dir)?;
        let files: &[&str] = match self.split {
            Split::Test => &["test_batch.bin"],
            Split::Train => &[
                "data_batch_1.bin",
                "data_batch_2.bin",
                "data_batch_3.bin",
                "data_batch_4.bin",
                "data_batch_5.bin",
            ],
        };
        let bad = Bad::allowed_by(&self.skip_bad);
        let layout = Layout { n_labels: 1, label: 0, classes: CLASSES_10, names: &names::TEN };
        read(&dir, files, &layout, self.flip.into(), bad)
    }
}

impl Cifar100Config {
    /// Shape of an image, and the number of classes.
    pub(crate) fn shape(&self) -> ([usize; 3], usize) {
        (SHAPE, self.layout().classes.get() as usize)
    }

    /// Reads the part; a relative path starts at `base_dir`, or at the current directory if that is `None`.
    ///
    /// # Errors
    /// As [`Cifar10Config::read`].
    pub fn read(&self, base_dir: Option<&Path>) -> Result<ImageSet> {
        let dir = directory(&self.path, base_dir)?;
        let name = match self.split {
            Split::Train => "train.bin",
            Split::Test => "test.bin",
        };
        let bad = Bad::allowed_by(&self.skip_bad);
        read(&dir, &[name], &self.layout(), self.flip.into(), bad)
    }

    fn layout(&self) -> Layout {
        match self.labels {
            CifarLabels::Fine => Layout { n_labels: 2, label: 1, classes: CLASSES_FINE, names: &names::FINE },
            CifarLabels::Coarse => {
                Layout { n_labels: 2, label: 0, classes: CLASSES_COARSE, names: &names::COARSE }
            }
        }
    }
}

fn directory(path: &Path, base_dir: Option<&Path>) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        let (expected, found) = ("the path of the directory of the binary version", "nothing".into());
        return Err(Error::Config { key: "path".into(), expected, found });
    }
    Ok(base_dir.map_or_else(|| path.to_owned(), |base| base.join(path)))
}

fn read(
    dir: &Path,
    files: &[&str],
    layout: &Layout,
    mirror: super::set::Mirror,
    mut bad: Bad,
) -> Result<ImageSet> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    let (record_len, max) = (layout.n_labels + N_PIXELS, layout.classes.get() - 1);
    for name in files {
        let path = dir.join(name);
        let (mut file, length) = open(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|source| Error::Io { path: path.clone(), source })?;
        let place = path.display().to_string();
        let records = bytes.chunks_exact(record_len);
        let is_cut = !records.remainder().is_empty();
        for (record, sample) in records.zip(0..) {
            let label = u32::from(record[layout.label]);
            if label > max {
                bad.record(Error::from(ValueFault::BadLabel {
                    place: place.clone(),
                    sample,
                    max,
                    found: label.into(),
                }))?;
                continue;
            }
            labels.push(label);
            pixels.extend_from_slice(&record[layout.n_labels..]);
        }
        if is_cut {
            let record = length / record_len as u64;
            let fault = FormatFault::CutRecord { record, of: record + 1 };
            bad.record(Error::Format { place, fault })?;
        }
    }
    let labels = Labels { labels: Some(labels), classes: Some(layout.classes) };
    let place = dir.display().to_string();
    let set = ImageSet::new(place, SHAPE, Pixels::Bytes(pixels), labels, mirror, bad.into_skipped())?;
    Ok(set.with_class_names(layout.names.iter().copied()))
}
