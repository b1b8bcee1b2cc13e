//! What is done about a bad record: the end, or a note.

use crate::{Error, Result};

/// How many messages are kept.
const N_MESSAGES: usize = 5;

/// Records of a data set that were passed over, since the config says `skip_bad = true`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many.
    pub n: u64,
    /// Fault of the first bad record.
    pub messages: Vec<String>,
}

/// The bad records so far, and whether there may be any.
#[derive(Debug)]
pub(crate) struct Bad {
    may_skip: bool,
    skipped: Skipped,
}

impl Bad {
    /// None so far; a config's `skip_bad` says whether there may be any.
    pub fn allowed_by(skip_bad: &bool) -> Self {
        Self { may_skip: *skip_bad, skipped: Skipped::default() }
    }

    /// Notes a bad record.
    ///
    /// # Errors
    /// The record's own, where none may be bad.
    pub fn record(&mut self, error: Error) -> Result<()> {
        if !self.may_skip {
            return Err(error);
        }
        self.skipped.n += 1;
        if self.skipped.messages.len() < N_MESSAGES {
            self.skipped.messages.push(error.to_string());
        }
        Ok(())
    }

    /// The value of a good record; a bad one is noted and `None`.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn good<T>(&mut self, found: Result<T>) -> Result<Option<T>> {
        match found {
            Ok(value) => Ok(Some(value)),
            Err(error) => self.record(error).map(|()| None),
        }
    }

    /// The bad records noted so far.
    pub fn into_skipped(self) -> Skipped {
        self.skipped
    }
}
