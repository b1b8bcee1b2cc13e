//! A folder of PNG, JPEG and WebP images; each subfolder is a class.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::encoded::{Channels, Fit, OneShape};
use super::left_over::is_left_over;
use super::set::{Labels, Pixels};
use super::skipped::Bad;
use super::split::FileSplit;
use crate::{Error, FolderFault, ImageSet, Result, Warning};

/// Files that are decoded at a time.
const CHUNK: usize = 256;

/// Images from a folder, in memory as bytes.
///
/// The subfolders are the classes, in the order of their names, or of their numbers if all names are whole numbers;
/// without subfolders there are no classes.
/// A subfolder without images is not a class.
/// If the subfolders are splits, such as `train` and `test`, those of the `split` are read as folders of their own.
/// Names that start with a dot, and what systems leave, such as `__MACOSX` and `Thumbs.db`, are passed over; every other
/// file must be a PNG, JPEG or WebP image.
/// With `size`, an image is first cut to the square of `crop` pixels in its middle (if that is set), then its
/// shorter side is brought to `size` by bicubic interpolation over the area of a pixel, and its middle is kept.
/// Without `size`, all images must have one shape.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageFolderConfig {
    /// The folder; a relative path starts at the folder of the config.
    pub path: PathBuf,
    /// Which images, where subfolders are splits.
    pub split: FileSplit,
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
    /// Reads the folder; a relative path starts at `base_dir`, or at the current directory if that is `None`.
    ///
    /// # Errors
    /// A folder that is not there or has no image; a file that is not an image, or a folder among images, by its name; an
    /// image of another shape; no folder of the split where subfolders are splits.
    pub fn read(&self, base_dir: Option<&Path>) -> Result<ImageSet> {
        if self.path.as_os_str().is_empty() {
            let (expected, found) = ("the path of a folder of images", "nothing".into());
            return Err(Error::Config { key: "path".into(), expected, found });
        }
        let dir = base_dir.map_or_else(|| self.path.clone(), |base| base.join(&self.path));
        let Listing { place, classes, has_names, mut warnings } = Listing::of(&dir, self.split)?;
        let (names, files): (Vec<String>, Vec<Vec<PathBuf>>) = classes.into_iter().unzip();
        let files: Vec<(usize, PathBuf)> = files
            .into_iter()
            .enumerate()
            .flat_map(|(class, files)| files.into_iter().map(move |file| (class, file)))
            .collect();
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
        let Some(shape) = images.shape.filter(|_| !labels.is_empty()) else {
            return Err(Error::Empty { place });
        };
        // Classes are numbered by what is in them.
        let mut numbers: Vec<Option<u32>> = vec![None; names.len()];
        labels.iter().for_each(|class| numbers[*class] = Some(0));
        numbers.iter_mut().flatten().zip(0..).for_each(|(number, next)| *number = next);
        let (mut kept, mut empty) = (Vec::new(), Vec::new());
        names
            .into_iter()
            .zip(&numbers)
            .for_each(|(name, number)| if number.is_some() { kept.push(name) } else { empty.push(name) });
        warnings.extend(empty.into_iter().map(|name| without_images(&place, &name)));
        let labels = labels.into_iter().filter_map(|class| numbers[class]).collect();
        let labels = Labels { labels: Some(labels).filter(|_| has_names), classes: None };
        let set = ImageSet::new(
            place,
            shape,
            Pixels::Bytes(images.bytes),
            labels,
            self.flip.into(),
            bad.into_skipped(),
        )?;
        Ok(set.with_class_names(kept.into_iter().filter(|_| has_names)).with_warnings(warnings))
    }

    /// How the images get their size.
    pub(crate) fn fit(&self) -> Fit {
        Fit { size: self.size, crop: self.crop, channels: self.channels }
    }
}

/// Content of a folder.
struct Listing {
    /// The folder, and which part of it.
    place: String,
    /// The classes by name in the order of their labels, with their files; one if there are none.
    classes: Vec<(String, Vec<PathBuf>)>,
    /// Whether the classes are those of subfolders.
    has_names: bool,
    warnings: Vec<Warning>,
}

impl Listing {
    fn of(dir: &Path, split: FileSplit) -> Result<Self> {
        let mut place = dir.display().to_string();
        let mut entries = visible(dir)?;
        let splits: BTreeMap<FileSplit, Vec<PathBuf>> = splits(&entries);
        if !splits.is_empty() {
            let found = splits.keys().map(|split| split.name().to_owned()).collect();
            place = format!("{place} (split {})", split.name());
            let chosen: Vec<PathBuf> = splits
                .into_iter()
                .filter(|(other, _)| split.takes(*other))
                .flat_map(|(_, dirs)| dirs)
                .collect();
            if chosen.is_empty() {
                return Err(
                    FolderFault::MissingSplit { path: dir.into(), wanted: split.name(), found }.into()
                );
            }
            entries.retain(|(_, path)| !path.is_dir());
            for dir in chosen {
                entries.extend(visible(&dir)?);
            }
        } else if !matches!(split, FileSplit::Train | FileSplit::All) {
            return Err(FolderFault::MissingSplit {
                path: dir.into(),
                wanted: split.name(),
                found: Vec::new(),
            }
            .into());
        }
        let (dirs, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(_, path)| path.is_dir());
        if dirs.is_empty() {
            let warnings = mixed(&place, &files).into_iter().collect();
            let files = files.into_iter().map(|(_, path)| path).collect();
            return Ok(Self { place, classes: vec![(String::new(), files)], has_names: false, warnings });
        }
        // Beside subfolders a file belongs to no class.
        if let Some((_, file)) = files.into_iter().next() {
            return Err(FolderFault::FileBesideClasses { path: file }.into());
        }
        let mut by_name: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for (name, path) in dirs {
            let inside = visible(&path)?;
            if let Some((_, folder)) = inside.iter().find(|(_, path)| path.is_dir()) {
                return Err(FolderFault::FolderInClass { path: folder.clone() }.into());
            }
            by_name.entry(name).or_default().extend(inside.into_iter().map(|(_, path)| path));
        }
        let mut classes: Vec<_> = by_name.into_iter().collect();
        if classes.iter().all(|(name, _)| is_number(name)) {
            classes.sort_by_key(|(name, _)| {
                let digits = name.trim_start_matches('0').to_owned();
                (digits.len(), digits, name.clone())
            });
        }
        let warnings = other_spellings(&place, &classes);
        Ok(Self { place, classes, has_names: true, warnings })
    }
}

/// The subfolders by the splits that their names are; none unless all of them are splits.
fn splits(entries: &[(String, PathBuf)]) -> BTreeMap<FileSplit, Vec<PathBuf>> {
    let mut splits: BTreeMap<FileSplit, Vec<PathBuf>> = BTreeMap::new();
    for (name, path) in entries.iter().filter(|(_, path)| path.is_dir()) {
        match FileSplit::of_word(name) {
            Some(split) => splits.entry(split).or_default().push(path.clone()),
            None => return BTreeMap::new(),
        }
    }
    splits
}

/// Names and paths in a folder, in the order of their names, without what is hidden or left by systems.
fn visible(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let io = |source| Error::Io { path: dir.into(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_left_over(&name) {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

fn is_number(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

fn without_images(place: &str, name: &str) -> Warning {
    Warning {
        subject: place.to_owned(),
        seen: format!("the folder `{name}` holds no image that can be read"),
        consequence: "it is no class and has no number".into(),
        remedy: "remove the folder, or put images into it".into(),
    }
}

/// Names that differ in case alone.
fn other_spellings(place: &str, classes: &[(String, Vec<PathBuf>)]) -> Vec<Warning> {
    let mut spellings: BTreeMap<String, &str> = BTreeMap::new();
    let mut warnings = Vec::new();
    for (name, _) in classes {
        if let Some(other) = spellings.insert(name.trim().to_lowercase(), name) {
            warnings.push(Warning {
                subject: place.to_owned(),
                seen: format!("the folders `{other}` and `{name}` differ in their spelling alone"),
                consequence: "they are two classes".into(),
                remedy: "put their images into one folder if they are one class".into(),
            });
        }
    }
    warnings
}

/// Images of several splits in one folder, if all names tell their split.
fn mixed(place: &str, files: &[(String, PathBuf)]) -> Option<Warning> {
    let splits: Option<Vec<FileSplit>> = files.iter().map(|(name, _)| FileSplit::of_name(name)).collect();
    let mut splits = splits?;
    splits.sort();
    splits.dedup();
    if splits.len() < 2 {
        return None;
    }
    let names: Vec<&str> = splits.into_iter().map(FileSplit::name).collect();
    Some(Warning {
        subject: place.to_owned(),
        seen: format!("the names of the images tell the splits {}", names.join(", ")),
        consequence: "the images of all splits are read".into(),
        remedy: "move the images into folders of these names, of which `data.split` chooses one".into(),
    })
}
