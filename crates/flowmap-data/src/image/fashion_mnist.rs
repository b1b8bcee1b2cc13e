//! Fashion-MNIST: 70 000 gray images of articles of clothing, 28 x 28 pixels, ten classes.
//!
//! Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747.
//! The files are those of Debian's package `dataset-fashion-mnist`, or the same from anywhere.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::idx::{IdxConfig, Split};
use crate::{FolderFault, ImageSet, Result};

/// Folder of the files of Debian's package.
const DEBIAN: &str = "/usr/share/datasets/fashion-mnist";

const CLASSES: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Names of the classes, as its authors give them.
const NAMES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Fashion-MNIST, of shape `[1, 28, 28]` with labels 0 to 9.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FashionMnistConfig {
    /// The directory of the IDX files.
    pub path: PathBuf,
    /// 60 000 images to learn from, or 10 000 that are held out.
    pub split: Split,
    /// Whether half of the samples are mirrored left to right.
    pub flip: bool,
    /// Whether bad records are counted and passed over, instead of ending the run.
    pub skip_bad: bool,
}

impl Default for FashionMnistConfig {
    fn default() -> Self {
        Self { path: DEBIAN.into(), split: Split::default(), flip: false, skip_bad: false }
    }
}

impl FashionMnistConfig {
    /// Shape of an image, and the number of classes.
    pub(crate) const SHAPE: ([usize; 3], usize) = ([1, 28, 28], 10);

    /// Reads the part; a relative path starts at `base_dir`, or at the current directory if that is `None`.
    ///
    /// # Errors
    /// [`FolderFault::NotInstalled`] where the directory is not there; as [`IdxConfig::read`].
    pub fn read(&self, base_dir: Option<&Path>) -> Result<ImageSet> {
        let Self { path, split, flip, skip_bad } = self.clone();
        let dir = base_dir.map_or_else(|| path.clone(), |base| base.join(&path));
        if !dir.is_dir() {
            return Err(FolderFault::NotInstalled { path: dir, package: "dataset-fashion-mnist" }.into());
        }
        let classes = Some(CLASSES);
        let idx = IdxConfig { path, split, classes, first_label: None, transpose: None, flip, skip_bad };
        Ok(idx.read(base_dir)?.with_class_names(NAMES))
    }
}
