//! MNIST and its kin: a directory of IDX files, images and labels.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::left_over::is_left_over;
use super::set::{Labels, Pixels};
use super::skipped::Bad;
use crate::file::idx;
use crate::labels::Numbering;
use crate::{Error, FolderFault, ImageSet, Result, ValueFault, Warning};

/// Which part of a data set that comes in two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Split {
    /// The part to learn from.
    #[default]
    Train,
    /// The part that is held out.
    Test,
}

impl Split {
    /// Words in the names of the files of the part.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train"],
            Self::Test => &["t10k", "test"],
        }
    }
}

/// Gray images from a directory of IDX files, plain or `.gz`, such as MNIST, Fashion-MNIST, KMNIST or EMNIST.
///
/// The files are found by their names: of the part `train` those with `train`, of `test` those with `t10k` or `test`,
/// the images with `images`, the labels with `labels`.
///
/// ```
/// use flowmap_data::{DataConfig, DataSet};
///
/// let dir = tempfile::tempdir()?;
/// // Two images of one row of two pixels, and their labels.
/// std::fs::write(dir.path().join("train-images-idx3-ubyte"), b"\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02\x00\xff\xff\x00")?;
/// std::fs::write(dir.path().join("train-labels-idx1-ubyte"), b"\0\0\x08\x01\0\0\0\x02\x01\x00")?;
/// let config: DataConfig = toml::from_str("kind = 'idx'\npath = '.'")?;
/// let set = config.build(Some(dir.path()))?;
/// assert_eq!((set.shape(), set.n_samples(), set.n_classes()), (&[1, 1, 2][..], Some(2), 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdxConfig {
    /// The directory; a relative path starts at the folder of the config.
    pub path: PathBuf,
    /// Which part.
    pub split: Split,
    /// The number of classes, which no label may reach; if absent, one more than the largest label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<NonZeroU32>,
    /// The label of class 0; 0 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_label: Option<i32>,
    /// Whether rows and columns are exchanged, which the files of EMNIST need; if absent, they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transpose: Option<bool>,
    /// Whether half of the samples are mirrored left to right.
    pub flip: bool,
    /// Whether bad records are counted and passed over, instead of ending the run.
    pub skip_bad: bool,
}

impl IdxConfig {
    /// Reads the part; a relative path starts at `base_dir`, or at the current directory if that is `None`.
    ///
    /// # Errors
    /// No such files, or several; files that are no IDX files, cut short, too long, of other shapes, or do not belong
    /// together; labels beyond the classes. Every message names the file, and the record if there is one.
    pub fn read(&self, base_dir: Option<&Path>) -> Result<ImageSet> {
        if self.path.as_os_str().is_empty() {
            let (expected, found) = ("the path of a directory with IDX files", "nothing".into());
            return Err(Error::Config { key: "path".into(), expected, found });
        }
        let dir = base_dir.map_or_else(|| self.path.clone(), |base| base.join(&self.path));
        let [images, labels] = [self.find(&dir, "images")?, self.find(&dir, "labels")?];
        let (image_place, label_place) = (images.display().to_string(), labels.display().to_string());
        let mut bad = Bad::allowed_by(&self.skip_bad);
        let images = idx::read::<3>(&images, "(N, H, W)")?;
        let labels = idx::read::<1>(&labels, "(N,)")?;
        for cut in images.cut.into_iter().chain(labels.cut) {
            bad.record(cut)?;
        }
        let (n_images, n_labels) = (images.shape[0], labels.shape[0]);
        if n_images != n_labels {
            let (expected, found) = (n_images, n_labels);
            return Err(ValueFault::LabelCount { place: label_place, expected, found }.into());
        }
        let [_, height, width] = images.shape[..] else { return Err(Error::Empty { place: image_place }) };
        let [height, width] = [height as usize, width as usize]; // u32 in the file
        let transpose = self.transpose.unwrap_or(false);
        let shape = if transpose { [1, width, height] } else { [1, height, width] };
        let numbering = Numbering { first: self.first_label, classes: self.classes };
        let mut kept = (Vec::new(), Vec::new());
        let rows = images.bytes.chunks_exact(height * width).zip(&labels.bytes);
        for ((image, label), sample) in rows.zip(0..) {
            let class = numbering.class(&label_place, sample, (*label).into());
            let Some(class) = bad.good(class)? else { continue };
            if transpose {
                (0..width).for_each(|x| kept.0.extend(image[x..].iter().step_by(width)));
            } else {
                kept.0.extend_from_slice(image);
            }
            kept.1.push(class);
        }
        let empty = numbering.empty_classes(&label_place, &kept.1);
        let labels = Labels { labels: Some(kept.1), classes: self.classes };
        let skipped = bad.into_skipped();
        let warnings = self.on_its_side(&image_place).into_iter().chain(empty).collect();
        let set =
            ImageSet::new(image_place, shape, Pixels::Bytes(kept.0), labels, self.flip.into(), skipped)?;
        Ok(set.with_warnings(warnings))
    }

    /// The doubt about files of EMNIST, whose images have rows and columns exchanged as NIST ships them.
    fn on_its_side(&self, place: &str) -> Option<Warning> {
        let is_emnist = Path::new(place).file_name()?.to_string_lossy().to_lowercase().contains("emnist");
        (is_emnist && self.transpose.is_none()).then(|| Warning {
            subject: place.to_owned(),
            seen: "images of EMNIST have rows and columns exchanged as NIST ships them".into(),
            consequence: "they are read as they are in the file".into(),
            remedy: "set `data.transpose` to true to turn them, or to false if they stand upright".into(),
        })
    }

    /// The only file of the part with this word in its name; plain before packed.
    fn find(&self, dir: &Path, word: &str) -> Result<PathBuf> {
        let missing = |found| {
            Error::from(FolderFault::MissingFile {
                path: dir.into(),
                wanted: format!(
                    "an IDX file with `{}` and `{word}` in its name",
                    self.split.words().join("` or `")
                ),
                found,
            })
        };
        let entries = fs::read_dir(dir).map_err(|source| Error::Io { path: dir.into(), source })?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .filter(|name| !is_left_over(name))
            .collect();
        names.sort();
        let fits = |name: &&String| {
            let name = name.to_lowercase();
            name.contains("idx") && name.contains(word) && self.split.words().iter().any(|w| name.contains(w))
        };
        let fitting: Vec<&String> = names.iter().filter(fits).collect();
        match fitting[..] {
            [only] => Ok(dir.join(only)),
            [plain, packed] if *packed == format!("{plain}.gz") => Ok(dir.join(plain)),
            [] => Err(missing(names.clone())),
            _ => Err(missing(fitting.into_iter().cloned().collect())),
        }
    }
}
