//! A folder of PNG and JPEG images; each subfolder is a class.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::encoded::{Channels, Fit, OneShape};
use super::set::{Labels, Pixels};
use super::skipped::Bad;
use crate::{Error, ImageSet, Result};

/// Files that are decoded at a time.
const CHUNK: usize = 256;

/// Images from a folder, in memory as bytes.
///
/// The subfolders are the classes, in the order of their names; without subfolders there are no classes.
/// Names that start with a dot are passed over; every other file must be a PNG or JPEG image.
/// With `size`, an image is first cut to the square of `crop` pixels in its middle (where that is set), then its
/// shorter side is brought to `size` by bicubic interpolation over the area of a pixel, and its middle is kept.
/// Without `size`, all images must have one shape.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageFolderConfig {
    /// The folder; a relative path starts at the folder of the config.
    pub path: PathBuf,
    /// Height and width of the samples in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<NonZeroU32>,
    /// Side of the square that is cut out of the middle before resizing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<NonZeroU32>,
    /// `gray` or `rgb`.
    pub channels: Channels,
    /// Whether half of the samples are mirrored left to right.
    pub flip: bool,
    /// Whether bad images are counted and passed over, instead of ending the run.
    pub skip_bad: bool,
}

impl ImageFolderConfig {
    /// Reads the folder; a relative path starts at `base_dir`, or at the current directory where that is `None`.
    ///
    /// # Errors
    /// A folder that is not there or has no image; a file that is no image, by its name; an image of another shape.
    pub fn read(&self, base_dir: Option<&Path>) -> Result<ImageSet> {
        if self.path.as_os_str().is_empty() {
            let (expected, found) = ("the path of a folder of images", "nothing".into());
            return Err(Error::Config { key: "path".into(), expected, found });
        }
        let dir = base_dir.map_or_else(|| self.path.clone(), |base| base.join(&self.path));
        let (files, has_classes) = files(&dir)?;
        let fit = self.fit();
        let mut bad = Bad::allowed_by(&self.skip_bad);
        let mut images = OneShape { shape: fit.shape(), bytes: Vec::new() };
        let mut labels = Vec::new();
        for chunk in files.chunks(CHUNK) {
            let decoded = chunk.par_iter().map(|(_, path)| {
                let bytes = fs::read(path).map_err(|source| Error::Io { path: path.clone(), source })?;
                fit.decode(&bytes, &path.display().to_string())
            });
            for ((class, path), found) in chunk.iter().zip(decoded.collect::<Vec<_>>()) {
                let pushed = found.and_then(|image| images.push(image, &path.display().to_string()));
                if bad.good(pushed)?.is_some() {
                    labels.push(*class);
                }
            }
        }
        let place = dir.display().to_string();
        let Some(shape) = images.shape.filter(|_| !labels.is_empty()) else {
            return Err(Error::Empty { place });
        };
        let labels = Labels { labels: has_classes.then_some(labels), classes: None };
        ImageSet::new(place, shape, Pixels::Bytes(images.bytes), labels, self.flip.into(), bad.into_skipped())
    }

    /// How the images get their size.
    pub(crate) fn fit(&self) -> Fit {
        Fit { size: self.size, crop: self.crop, channels: self.channels }
    }
}

/// All files with their classes, in the order of their names, and whether there are classes.
fn files(dir: &Path) -> Result<(Vec<(u32, PathBuf)>, bool)> {
    let entries = visible(dir)?;
    let classes: Vec<&PathBuf> = entries.iter().filter(|path| path.is_dir()).collect();
    let mut files: Vec<(u32, PathBuf)> = Vec::new();
    for (path, class) in classes.iter().zip(0..) {
        let inside = visible(path)?.into_iter().map(|file| (class, file));
        files.extend(inside);
    }
    // Beside subfolders a file belongs to no class.
    if let Some(file) = entries.iter().find(|path| !classes.is_empty() && !path.is_dir()) {
        return Err(Error::FileBesideClasses { path: file.clone() });
    }
    let has_classes = !classes.is_empty();
    if !has_classes {
        files = entries.into_iter().map(|file| (0, file)).collect();
    }
    Ok((files, has_classes))
}

/// The entries of a folder that are not hidden, in the order of their names.
fn visible(dir: &Path) -> Result<Vec<PathBuf>> {
    let io = |source| Error::Io { path: dir.into(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
