//! Files and directories that appear whole or not at all.
//!
//! Each is written under another name in the same directory, synced and renamed; on an error it is removed.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// Writes `bytes` to `path`; a reader sees the old file or the new one, never a part.
///
/// # Errors
/// [`Error::Io`] where the directory cannot be written or the disk is full; the old file stays.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".writing-");
    #[cfg(unix)]
    builder.permissions(readable_by_all());
    let mut file = builder.tempfile_in(dir).map_err(Error::io("writing", path))?;
    file.as_file_mut().write_all(bytes).map_err(Error::io("writing", path))?;
    file.as_file().sync_all().map_err(Error::io("writing", path))?;
    file.persist(path).map_err(|e| Error::io("writing", path)(e.error))?;
    Ok(())
}

/// Fills a directory by `fill` and renames it to `path`; on an error nothing of it is left.
pub(crate) fn create_dir_atomically(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(Error::io("creating", parent))?;
    let dir = tempfile::Builder::new()
        .prefix(".writing-")
        .tempdir_in(parent)
        .map_err(Error::io("creating", path))?;
    fill(dir.path()).map_err(|error| name_final_path(error, dir.path(), path))?;
    if path.exists() {
        fs::remove_dir_all(path).map_err(Error::io("replacing", path))?;
    }
    fs::rename(dir.path(), path).map_err(Error::io("creating", path))?;
    // Renamed: there is nothing left to remove.
    let _ = dir.keep();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(Error::io("creating", path))?;
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(Error::io("creating", path))?;
    }
    Ok(())
}

/// Says where the file at fault would have been, not where it was being written.
fn name_final_path(error: Error, begun: &Path, path: &Path) -> Error {
    match error {
        Error::Io { action, path: at, source } => {
            let path = at.strip_prefix(begun).map_or(at.clone(), |rest| path.join(rest));
            Error::Io { action, path, source }
        }
        other => other,
    }
}

/// Makes the directory `path` and those above it, then fills it; on an error those that were made are removed.
///
/// # Errors
/// [`Error::Io`] where a directory cannot be made, and what `fill` returns.
pub fn make_dir_with(path: &Path, fill: impl FnOnce() -> Result<()>) -> Result<()> {
    let made: Vec<&Path> =
        path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    let filled = fs::create_dir_all(path).map_err(Error::io("creating", path)).and_then(|()| fill());
    if filled.is_err() {
        for dir in made {
            // Only empty ones go: what someone else put there stays.
            let _ = fs::remove_dir(dir);
        }
    }
    filled
}

/// As files made the ordinary way; temporary ones are private otherwise.
#[cfg(unix)]
fn readable_by_all() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o644)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn failed_directory_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("step-1");
        let result = create_dir_atomically(&path, |dir| {
            write_atomically(&dir.join("half"), b"x")?;
            Err(Error::NothingToResume { path: dir.to_owned() })
        });
        assert!(result.is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn files_are_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("latest");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(write_atomically(&path.join("below-a-file"), b"x").is_err());
    }
}
