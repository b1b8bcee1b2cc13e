//! Parts of the input that were probably meant otherwise, and how to settle them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of the input that can be read, but whose meaning is in doubt.
///
/// ```
/// let warning = flowmap_data::Warning {
///     subject: "points.csv".into(),
///     seen: "the first line `2019,2020` has numbers only".into(),
///     consequence: "it is read as a sample".into(),
///     remedy: "set `data.header`".into(),
/// };
/// let text = "points.csv: the first line `2019,2020` has numbers only; it is read as a sample; set `data.header`";
/// assert_eq!(warning.to_string(), text);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warning {
    /// The file, the folder or the key of the config that the warning is about.
    pub subject: String,
    /// Observation about the subject.
    pub seen: String,
    /// Consequence for the result.
    pub consequence: String,
    /// The key or the option that settles the doubt.
    pub remedy: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}; {}", self.subject, self.seen, self.consequence, self.remedy)
    }
}
