//! Errors made from the faults behind them.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use super::{Error, Result};
use crate::presets::nearest;

/// [`Error::OutOfRange`] for the value `found` of a key, unless it is good.
pub(crate) fn range(
    key: &'static str,
    good: bool,
    expected: impl Into<Cow<'static, str>>,
    found: impl ToString,
) -> Result<()> {
    if good {
        Ok(())
    } else {
        Err(Error::OutOfRange { key, expected: expected.into(), found: found.to_string() })
    }
}

impl Error {
    /// An error of the operating system at `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// A malformed JSON file at `path`.
    pub(crate) fn json(path: &Path) -> impl FnOnce(serde_json::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Json { path, source }
    }

    /// [`Error::UnknownName`] for a name of this kind, with the known name nearest to it.
    pub(crate) fn unknown<'a>(
        what: &'static str,
        name: &str,
        known: impl Iterator<Item = &'a str> + Clone,
    ) -> Self {
        let hint = nearest(name, known.clone()).map_or(String::new(), |n| format!(" (did you mean `{n}`?)"));
        let known = known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        Self::UnknownName { what, name: name.to_owned(), hint, known }
    }
}

/// A failed dual operation counts as a failure of the network that it is part of.
impl From<flowmap_dual::Error> for Error {
    fn from(error: flowmap_dual::Error) -> Self {
        Self::Network(error.into())
    }
}
