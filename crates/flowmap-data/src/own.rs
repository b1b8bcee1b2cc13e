//! A data set of another crate in a config.

use std::fmt;
use std::sync::Arc;

use flowmap_core::NoiseStream;
use serde::{Deserialize, Serialize};

use crate::{DataSet, Error, Facts, Result, Skipped, Warning};

/// A data set of another crate by its name.
///
/// Configs write the name down; a program that reads the config without having the set cannot build it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnData {
    name: String,
    #[serde(skip)]
    set: Option<Arc<dyn DataSet>>,
}

impl OwnData {
    /// This set under a name.
    pub(crate) fn new(name: &str, set: impl DataSet + 'static) -> Self {
        Self { name: name.to_owned(), set: Some(Arc::new(set)) }
    }

    /// The set.
    ///
    /// # Errors
    /// [`Error::UnknownOwn`] if this program has only the name.
    pub(crate) fn build(&self) -> Result<Box<dyn DataSet>> {
        let set = self.set.clone().ok_or_else(|| Error::UnknownOwn { name: self.name.clone() })?;
        Ok(Box::new(Shared(set)))
    }
}

/// Sets of one name are equal: what is in them is the business of the program that has them.
impl PartialEq for OwnData {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for OwnData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.set {
            Some(set) => set.fmt(f),
            None => write!(f, "Own({})", self.name),
        }
    }
}

/// A set that a config and its readers share.
#[derive(Debug)]
struct Shared(Arc<dyn DataSet>);

impl DataSet for Shared {
    fn facts(&self) -> Facts<'_> {
        self.0.facts()
    }

    fn class_shares(&self) -> Vec<f64> {
        self.0.class_shares()
    }

    fn draw(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> Option<u32> {
        self.0.draw(stream, index, out)
    }

    fn draw_noise(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> bool {
        self.0.draw_noise(stream, index, out)
    }

    fn cell_masses(&self, lo: f64, hi: f64, bins: usize) -> Option<Vec<f64>> {
        self.0.cell_masses(lo, hi, bins)
    }

    fn skipped(&self) -> Option<&Skipped> {
        self.0.skipped()
    }

    fn source(&self) -> Option<&str> {
        self.0.source()
    }

    fn class_names(&self) -> &[String] {
        self.0.class_names()
    }

    fn warnings(&self) -> &[Warning] {
        self.0.warnings()
    }

    fn extent(&self) -> Option<f64> {
        self.0.extent()
    }
}
