//! Arrays of NPZ files, and what all files of arrays share.

use std::fs::{self, File};
use std::path::Path;

use super::npy::{Stored, Surroundings};
use super::zip;
use crate::{Error, FolderFault, Result};

/// Arrays that unpack to more than this must not be packed more than [`MAX_RATIO`] times.
const MAX_UNPACKED: u64 = 64 << 20;

/// Real numbers pack 1 to 20 times, masks and label maps 200 times; zip bombs 1000 times.
const MAX_RATIO: u64 = 256;

/// Format of a file by its name, in small letters.
pub(crate) fn extension(path: &Path) -> Option<String> {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase())
}

/// Opens an NPZ file and lists its arrays by their names.
pub(crate) fn arrays(path: &Path) -> Result<(File, u64, Vec<zip::Entry>)> {
    let (mut file, length) = open(path)?;
    let mut entries = zip::entries(&mut file, &path.display().to_string())?;
    entries.retain_mut(|entry| {
        let name = entry.name.strip_suffix(".npy").map(str::to_owned);
        name.map(|name| entry.name = name).is_some()
    });
    let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let (place, what) = (path.display().to_string(), "arrays");
        return Err(Error::SameName { place, what, name: pair[0].into() });
    }
    Ok((file, length, entries))
}

/// Opens a regular file and says how long it is.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    let io = |source| Error::Io { path: path.into(), source };
    // Asked before opening, since opening a pipe waits for a writer.
    let metadata = fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Err(FolderFault::NotAFile { path: path.into() }.into());
    }
    Ok((File::open(path).map_err(io)?, metadata.len()))
}

/// Opens one array of an NPZ file of `length` bytes, and reads its header.
pub(crate) fn array<'a>(
    file: &'a mut File,
    entry: &zip::Entry,
    length: u64,
    path: &Path,
) -> Result<Stored<zip::Unpacker<'a, File>>> {
    let place = format!("{}, array `{}`", path.display(), entry.name);
    let there = entry.packed.min(length);
    if entry.unpacked > MAX_UNPACKED && entry.unpacked / MAX_RATIO > there {
        let (expected, found, limit) = (entry.unpacked, there, MAX_RATIO);
        return Err(Error::ZipBomb { place, expected, found, limit });
    }
    let unpacker = zip::open(file, entry, &place)?;
    Stored::open(unpacker, Surroundings { promised: entry.unpacked, there }, place)
}

/// Opens an NPY file, and reads its header.
pub(crate) fn single(path: &Path) -> Result<Stored<File>> {
    let (file, length) = open(path)?;
    Stored::open(file, Surroundings { promised: length, there: length }, path.display().to_string())
}
