//! Arrays of NPZ files, and what all files of arrays share.

use std::fs::{self, File};
use std::path::Path;

use super::npy::{self, Header, Surroundings, Value};
use super::zip;
use crate::{Error, FiniteSet, Result};

/// Arrays that unpack to more than this must not be packed more than [`MAX_RATIO`] times.
const MAX_UNPACKED: u64 = 64 << 20;

/// Real numbers pack 1 to 20 times, masks and label maps 200 times; zip bombs 1000 times.
const MAX_RATIO: u64 = 256;

/// What a file is by its name, in small letters.
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
    Ok((file, length, entries))
}

/// Opens a regular file and says how long it is.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    let io = |source| Error::Io { path: path.into(), source };
    // Asked before opening, since opening a pipe waits for a writer.
    let metadata = fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Err(Error::NotAFile { path: path.into() });
    }
    Ok((File::open(path).map_err(io)?, metadata.len()))
}

/// Reads one array of an NPZ file of `length` bytes, after `check` has seen its header.
pub(crate) fn read_entry<T: Value>(
    file: &mut File,
    entry: &zip::Entry,
    length: u64,
    place: &str,
    check: impl FnOnce(&Header, &str) -> Result<Vec<usize>>,
) -> Result<(Header, Vec<T>)> {
    let there = entry.packed.min(length);
    if entry.unpacked > MAX_UNPACKED && entry.unpacked / MAX_RATIO > there {
        let (expected, found, limit) = (entry.unpacked, there, MAX_RATIO);
        return Err(Error::ZipBomb { place: place.into(), expected, found, limit });
    }
    let mut unpacker = zip::open(file, entry, place)?;
    let header = npy::read_header(&mut unpacker, place)?;
    check(&header, place)?;
    let promised = entry.unpacked.saturating_sub(header.length);
    let values = npy::read_values(&mut unpacker, &header, Surroundings { promised, there }, place)?;
    unpacker.finish(place)?;
    Ok((header, values))
}

/// Class numbers, checked.
pub(crate) fn to_labels(values: impl Iterator<Item = f64>, place: &str) -> Result<Vec<u32>> {
    let max = FiniteSet::MAX_LABEL;
    let check = |(sample, found): (u64, f64)| {
        let is_class = (0.0..=f64::from(max)).contains(&found) && found.fract() == 0.0;
        let error = || Error::BadLabel { place: place.into(), sample, max, found };
        is_class.then_some(found as u32).ok_or_else(error)
    };
    (0..).zip(values).map(check).collect()
}
