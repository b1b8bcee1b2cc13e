//! The files that a data set is spread over, and the labels that come with their records.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::set::Labels;
use crate::file::npz::extension;
use crate::{Error, Result};

/// The file at a path, or the files of a folder that end in `.ending`, in the order of their names.
///
/// # Errors
/// A folder that cannot be read or has no such file.
pub(crate) fn shards(path: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let io = |source| Error::Io { path: path.into(), source };
    let mut shards = Vec::new();
    for entry in fs::read_dir(path).map_err(io)? {
        let shard = entry.map_err(io)?.path();
        if extension(&shard).as_deref() == Some(ending) {
            shards.push(shard);
        }
    }
    shards.sort();
    if shards.is_empty() { Err(Error::Empty { place: path.display().to_string() }) } else { Ok(shards) }
}

/// The labels of images that were read one by one: of all of them, or of none.
///
/// # Errors
/// No image, or labels of some images alone.
pub(crate) fn all_or_none(
    place: &str,
    labels: Vec<Option<u32>>,
    classes: Option<NonZeroU32>,
) -> Result<Labels> {
    let (expected, found) = (labels.len() as u64, labels.iter().flatten().count() as u64);
    match found {
        _ if expected == 0 => Err(Error::Empty { place: place.into() }),
        0 => Ok(Labels { labels: None, classes }),
        _ if found < expected => Err(Error::LabelCount { place: place.into(), expected, found }),
        _ => Ok(Labels { labels: Some(labels.into_iter().flatten().collect()), classes }),
    }
}
