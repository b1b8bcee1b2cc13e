//! The files that a data set is spread over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::left_over::is_left_over;
use super::split::FileSplit;
use crate::{Error, FolderFault, Result};

/// Folders in folders that are followed.
const MAX_DEPTH: usize = 8;

/// Files of a data set, in the order of their names.
#[derive(Debug)]
pub(crate) struct Shards {
    pub files: Vec<PathBuf>,
    /// The path, and which of the files in it these are.
    pub place: String,
}

/// The file at a path, or the files of a folder and of the folders in it whose names fit, of one split.
///
/// `wanted` says in messages what is looked for.
///
/// # Errors
/// A folder that cannot be read, has no such file, has those of several data sets, or has no file of the split;
/// files of which some tell their split by their names, or by those of their folders, and others do not.
pub(crate) fn shards(
    path: &Path,
    wanted: &str,
    fits: impl Fn(&str) -> bool,
    split: FileSplit,
) -> Result<Shards> {
    let place = path.display().to_string();
    if !path.is_dir() {
        return Ok(Shards { files: vec![path.to_owned()], place });
    }
    let mut files = Vec::new();
    collect(path, 0, &fits, &mut files)?;
    files.sort();
    if files.is_empty() {
        let found = names(path)?;
        return Err(FolderFault::MissingFile { path: path.into(), wanted: wanted.into(), found }.into());
    }
    let sets: BTreeSet<String> = files.iter().map(|file| set_of(path, file)).collect();
    if sets.len() > 1 {
        let found = sets.into_iter().map(|set| if set.is_empty() { ".".into() } else { set }).collect();
        return Err(FolderFault::SeveralSets { path: path.into(), found }.into());
    }
    let n_files = files.len();
    let mut of_split: BTreeMap<Option<FileSplit>, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        of_split.entry(split_of(path, &file)).or_default().push(file);
    }
    if split == FileSplit::All {
        let mut files: Vec<PathBuf> = of_split.into_values().flatten().collect();
        files.sort();
        return Ok(Shards { files, place: format!("{place} (all {n_files} files)") });
    }
    let untold = of_split.remove(&None);
    let found: Vec<String> = of_split.keys().flatten().map(|split| split.name().to_owned()).collect();
    if let (Some(untold), Some(told)) = (&untold, of_split.values().next()) {
        let shown = |files: &[PathBuf]| files.first().map_or(String::new(), |file| below(path, file));
        let (told, untold) = (shown(told), shown(untold));
        return Err(FolderFault::UnclearSplit { path: path.into(), told, untold }.into());
    }
    let missing = || {
        Error::from(FolderFault::MissingSplit {
            path: path.into(),
            wanted: split.name(),
            found: found.clone(),
        })
    };
    match (untold, of_split.remove(&Some(split))) {
        (_, Some(files)) => {
            let place = format!("{place} (split {}, {} of {n_files} files)", split.name(), files.len());
            Ok(Shards { files, place })
        }
        // If no name tells a split, all files are for training.
        (Some(files), None) if split == FileSplit::Train => Ok(Shards { files, place }),
        _ => Err(missing()),
    }
}

/// Appends the files of a folder, and of the folders in it.
fn collect(dir: &Path, depth: usize, fits: &impl Fn(&str) -> bool, files: &mut Vec<PathBuf>) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(FolderFault::TooDeep { path: dir.into(), max: MAX_DEPTH }.into());
    }
    for name in names(dir)? {
        let path = dir.join(&name);
        if path.is_dir() {
            collect(&path, depth + 1, fits, files)?;
        } else if fits(&name.to_lowercase()) {
            files.push(path);
        }
    }
    Ok(())
}

/// The names in a folder, sorted, without what systems leave.
fn names(dir: &Path) -> Result<Vec<String>> {
    let io = |source| Error::Io { path: dir.into(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        if !is_left_over(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A path from a folder on.
fn below(top: &Path, file: &Path) -> String {
    file.strip_prefix(top).unwrap_or(file).display().to_string()
}

/// The folders between the top and a file, innermost last.
fn folders(top: &Path, file: &Path) -> Vec<String> {
    let between = file.parent().and_then(|dir| dir.strip_prefix(top).ok());
    between.into_iter().flatten().map(|part| part.to_string_lossy().into_owned()).collect()
}

/// The data set of a file: its folders, except those that are numbers or tell a split.
fn set_of(top: &Path, file: &Path) -> String {
    let is_part =
        |name: &String| FileSplit::of_word(name).is_none() && !name.bytes().all(|byte| byte.is_ascii_digit());
    folders(top, file).into_iter().filter(is_part).collect::<Vec<_>>().join("/")
}

/// The split that the name of a file tells, or else that of the innermost folder that tells one.
fn split_of(top: &Path, file: &Path) -> Option<FileSplit> {
    let name = file.file_name().and_then(|name| FileSplit::of_name(&name.to_string_lossy()));
    name.or_else(|| folders(top, file).iter().rev().find_map(|name| FileSplit::of_word(name)))
}
