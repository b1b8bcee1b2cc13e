//! What systems and programs leave among data: no data.

/// Names of such files and folders, in addition to those that start with a dot.
const NAMES: [&str; 9] = [
    "__MACOSX",
    "__pycache__",
    "Thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "@eaDir",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
];

/// Whether a file or a folder of this name is passed over: hidden, or the work of a system.
pub(crate) fn is_left_over(name: &str) -> bool {
    name.starts_with('.') || NAMES.iter().any(|left| left.eq_ignore_ascii_case(name))
}
