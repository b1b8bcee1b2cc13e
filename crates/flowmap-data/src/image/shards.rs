//! The files that a data set is spread over.

use std::fs;
use std::path::{Path, PathBuf};

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
