//! What can be wrong with the files and folders of a data set.

use std::path::PathBuf;

use super::list;

/// A fault of the files and folders of a data set, such as a missing or a superfluous one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FolderFault {
    /// The files of a data set are not there.
    #[error("{}: expected the files of Debian's package `{package}`, found none; install it by `apt-get install {package}`, or set `path` to a directory with the same files", path.display())]
    NotInstalled {
        /// The directory.
        path: PathBuf,
        /// The package.
        package: &'static str,
    },
    /// A directory lacks a file, or has several that it could be.
    #[error("{}: expected {wanted}, found {}", path.display(), list(found))]
    MissingFile {
        /// The directory.
        path: PathBuf,
        /// The file looked for.
        wanted: String,
        /// Names of the files that are there.
        found: Vec<String>,
    },
    /// The files of a split are not there.
    #[error("{}: expected files of the split `{wanted}`, found {}", path.display(), splits(found))]
    MissingSplit {
        /// The folder.
        path: PathBuf,
        /// The split of the config.
        wanted: &'static str,
        /// The splits that the names of the files tell.
        found: Vec<String>,
    },
    /// The names of some files tell their split, and the names of other files do not.
    #[error(
        "{}: expected all names of files to tell a split, or none, found {told} with a split and {untold} without; set `path` to one file, or `split` to \"all\"",
        path.display()
    )]
    UnclearSplit {
        /// The folder.
        path: PathBuf,
        /// A file whose name tells its split.
        told: String,
        /// A file whose name does not.
        untold: String,
    },
    /// A folder has the files of several data sets.
    #[error("{}: expected the files of one data set, found some in each of {}; set `path` to one of them", path.display(), list(found))]
    SeveralSets {
        /// The folder.
        path: PathBuf,
        /// The folders in it that have files.
        found: Vec<String>,
    },
    /// Folders lie in each other deeper than any data set has them, or in a circle.
    #[error("{}: expected folders in at most {max} others, found more", path.display())]
    TooDeep {
        /// The innermost folder.
        path: PathBuf,
        /// How many are followed.
        max: usize,
    },
    /// A folder stands among the images of a class.
    #[error(
        "{}: expected an image, as its neighbors are, found a folder; set `path` to the folder whose subfolders are the classes",
        path.display()
    )]
    FolderInClass {
        /// The folder.
        path: PathBuf,
    },
    /// A file stands next to the subfolders that are the classes.
    #[error("{}: expected a subfolder, a class, as its neighbors are, found a file", path.display())]
    FileBesideClasses {
        /// The file.
        path: PathBuf,
    },
    /// The path leads to a folder or a device.
    #[error("{}: expected a file, found something else", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
}

/// The splits that files tell, for a message.
fn splits(found: &[String]) -> String {
    if found.is_empty() {
        return "files whose names tell no split".into();
    }
    format!("files of {}; set `split`", list(found))
}
