//! A method of another crate in a config.

use std::fmt;
use std::sync::Arc;

use flowmap_core::{MiddleTime, TimeDistribution};
use serde::{Deserialize, Serialize};

use super::{Card, Evaluations, LearnsGuidance, Method, Needs, Pass, Passes, Trains};
use crate::times::Column;
use crate::{Error, PerSample, Result};

/// The card of a method that this program does not have.
const UNKNOWN: Card = Card {
    name: "own",
    title: "A method of another program",
    arxiv: "",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::NONE,
    trains: Trains::Jumps,
    guidance: LearnsGuidance::No,
    when: "",
    recipe: "",
    distilling: "",
};

/// A method of another crate by its name.
///
/// Configs write the name down. A program that reads the config without having the method can sample and evaluate
/// what was trained; training ends with [`Error::UnknownOwn`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    name: String,
    #[serde(skip)]
    method: Option<Arc<dyn Method>>,
}

impl Own {
    /// Wraps a method of another crate.
    pub fn new(method: impl Method + 'static) -> Self {
        Self { name: method.card().name.to_owned(), method: Some(Arc::new(method)) }
    }

    /// The method.
    ///
    /// # Errors
    /// [`Error::UnknownOwn`] if this program has only the name.
    pub fn known(&self) -> Result<&dyn Method> {
        self.method.as_deref().ok_or_else(|| Error::UnknownOwn { what: "method", name: self.name.clone() })
    }
}

/// Methods of one name are equal: their choices are the business of the program that has them.
impl PartialEq for Own {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.method {
            Some(method) => method.fmt(f),
            None => write!(f, "Own({})", self.name),
        }
    }
}

impl Method for Own {
    fn card(&self) -> &'static Card {
        self.known().map_or(&UNKNOWN, |method| method.card())
    }

    fn needs(&self) -> Needs {
        self.known().map_or(Needs::NOTHING, |method| method.needs())
    }

    fn times(&self) -> TimeDistribution {
        self.known().map_or(TimeDistribution::Uniform {}, |method| method.times())
    }

    fn middle(&self) -> MiddleTime {
        self.known().map_or(MiddleTime::Midpoint, |method| method.middle())
    }

    fn columns(&self, step: u64) -> Vec<Column> {
        self.known().map_or_else(|_| Vec::new(), |method| method.columns(step))
    }

    fn validate(&self, times: &TimeDistribution, middle: &MiddleTime) -> Result<()> {
        self.known().map_or(Ok(()), |method| method.validate(times, middle))
    }

    fn passes(&self, times: &TimeDistribution) -> Passes {
        self.known().map_or_else(|_| UNKNOWN.passes(), |method| method.passes(times))
    }

    fn learns_guidance(&self) -> bool {
        self.known().is_ok_and(|method| method.learns_guidance())
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        self.known()?.loss(p)
    }
}
