//! Samples from the user's file: NPZ, NPY, or a table as text.

mod arrays;
mod columns;

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::columns::Chosen;
use crate::file::csv::{self, Labels, Wanted};
use crate::file::npz::{extension, open};
use crate::labels::Numbering;
use crate::{Error, FiniteSet, Result};

/// Samples from a file: points `(N,)` or `(N, D)`, or images `(N, C, H, W)`, of whatever type of numbers.
///
/// The extension says what the file is: `.npz`, `.npy`, or `.csv`, `.tsv`, `.txt` for a table as text.
/// Tables have a sample in each line, fields between commas, semicolons, tabs, bars or blanks, and may start with names.
/// Numbers are rounded to the nearest f32, which has 24 bits.
/// Images of whole numbers are bytes: p is read as p/127.5 − 1.
///
/// ```
/// use flowmap_data::{DataSet, PointsConfig};
///
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("trees.csv"), "height,width,age\n1.5,0.2,3\n2.5,0.4,7\n")?;
/// let config = PointsConfig {
///     path: "trees.csv".into(),
///     columns: Some(vec!["height".into(), 2.into()]),
///     ..Default::default()
/// };
/// let trees = config.read(Some(dir.path()))?;
/// assert_eq!((trees.shape(), trees.values()), (&[2][..], &[1.5, 3.0, 2.5, 7.0][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PointsConfig {
    /// The file; a relative path starts at the folder of the config.
    pub path: PathBuf,
    /// Name of the array in an NPZ file; if absent, `samples`, `x1` or `arr_0`, or else the only array besides the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// Name of the array (NPZ) or column (text) with the labels, numbers or, in a text, words; if absent, the array
    /// `labels` if there is one, and for `arr_0` the array `arr_1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// Name of the array (NPZ) with the noise that each sample came from, for pairs; if absent, `noise` or `x0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<String>,
    /// Columns of the table to use, by name or by number from 0, in this order; if absent, all that have a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<Column>>,
    /// Whether the first line of a table as text holds the names of the columns; if absent, the reader looks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// The label of class 0; 0 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_label: Option<i32>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Column {
    /// By its number, from 0.
    Index(usize),
    /// By its name.
    Name(String),
}

impl Column {
    /// The name, of a column that is chosen by it.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Index(_) => None,
            Self::Name(name) => Some(name),
        }
    }
}

impl std::fmt::Display for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index(index) => index.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl From<&str> for Column {
    fn from(name: &str) -> Self {
        Self::Name(name.into())
    }
}

impl From<usize> for Column {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl PointsConfig {
    /// Reads the file; a relative path starts at `base_dir`, or at the current directory if that is `None`.
    ///
    /// # Errors
    /// A file that is not there, of another format, damaged, of another type or shape; no samples, rows of different
    /// length, values that are no finite numbers, labels that are no class numbers; arrays or columns that are not
    /// there. Every message names the file, and the line or the sample if there is one.
    pub fn read(&self, base_dir: Option<&Path>) -> Result<FiniteSet> {
        if self.path.as_os_str().is_empty() {
            let (expected, found) = ("the path of an NPZ, NPY or CSV file", "nothing".into());
            return Err(Error::Config { key: "path".into(), expected, found });
        }
        if self.columns.as_ref().is_some_and(Vec::is_empty) {
            let (expected, found) = ("one column or more", "[]".into());
            return Err(Error::Config { key: "columns".into(), expected, found });
        }
        let path = self.path_from(base_dir);
        match extension(&path).as_deref() {
            Some("npz") => self.read_npz(&path),
            Some("npy") => self.read_npy(&path),
            Some("csv" | "tsv" | "txt") => self.read_csv(&path),
            other => {
                let found = other.map_or("no extension".into(), |other| format!(".{other}"));
                Err(Error::UnknownExtension { path, found })
            }
        }
    }

    /// Reads pairs: the samples as [`read`](Self::read) does, each with the noise that it came from.
    ///
    /// Such a file is what `flowmap sample` writes, or any NPZ file with an array of noise of the shape of the samples.
    ///
    /// # Errors
    /// As [`read`](Self::read); a file that is not an NPZ file, or in which there is no noise, or of another shape.
    pub fn read_pairs(&self, base_dir: Option<&Path>) -> Result<FiniteSet> {
        let samples = self.read(base_dir)?;
        let path = self.path_from(base_dir);
        if extension(&path).as_deref() != Some("npz") {
            return Err(Error::NoNoise { place: path.display().to_string() });
        }
        samples.with_noise(self.read_noise(&path)?)
    }

    /// The file; a relative path starts at `base_dir`.
    fn path_from(&self, base_dir: Option<&Path>) -> PathBuf {
        base_dir.map_or_else(|| self.path.clone(), |dir| dir.join(&self.path))
    }

    fn read_csv(&self, path: &Path) -> Result<FiniteSet> {
        let does_not_apply = |key| Error::OptionDoesNotApply { key, path: path.into() };
        self.array.as_ref().map_or(Ok(()), |_| Err(does_not_apply("array")))?;
        let (mut file, _) = open(path)?;
        let mut bytes = Vec::new();
        let io = |source| Error::Io { path: path.into(), source };
        file.read_to_end(&mut bytes).map_err(io)?;
        let (columns, labels, header) = (self.columns.as_deref(), self.labels.as_deref(), self.header);
        let table = csv::parse(&bytes, path, Wanted { columns, labels, header })?;
        let place = path.display().to_string();
        let (mut warnings, mut names, numbering) = (table.warnings, Vec::new(), self.numbering());
        let labels = match table.labels {
            Some(Labels::Numbers(labels)) => Some(self.classes(&place, &labels)?),
            Some(Labels::Words { names: words, classes }) if self.first_label.is_none() => {
                names = words;
                Some(classes)
            }
            _ if self.first_label.is_some() => return Err(does_not_apply("first_label")),
            _ => None,
        };
        warnings.extend(labels.as_ref().and_then(|labels| numbering.empty_classes(&place, labels)));
        warnings.extend(columns::warnings(&place, &table.names, &table.values, self.chosen()));
        let set = FiniteSet::new(place, vec![table.names.len()], table.values, labels)?;
        Ok(set.with_class_names(names).with_warnings(warnings))
    }

    fn numbering(&self) -> Numbering {
        Numbering { first: self.first_label, classes: None }
    }

    /// Labels as classes.
    fn classes(&self, place: &str, labels: &[f64]) -> Result<Vec<u32>> {
        labels.iter().enumerate().map(|(row, label)| self.numbering().class(place, row, *label)).collect()
    }

    fn chosen(&self) -> Chosen {
        if self.columns.is_some() { Chosen::ByConfig } else { Chosen::ByFile }
    }
}

/// The numbers of the columns of a table of `n_columns`, which may have names.
pub(crate) fn select(
    columns: &[Column],
    names: Option<&[String]>,
    n_columns: usize,
    place: &str,
) -> Result<Vec<usize>> {
    let find = |column: &Column| {
        let missing = |wanted: String| {
            let numbers = || (0..n_columns).map(|column| column.to_string()).collect();
            let found = names.map_or_else(numbers, <[String]>::to_vec);
            Error::MissingColumn { place: place.into(), wanted, found }
        };
        let by_index = |index: &usize| *index < n_columns;
        match (column, names) {
            (Column::Index(index), _) => {
                Some(*index).filter(by_index).ok_or_else(|| missing(index.to_string()))
            }
            // Columns without names are called by their numbers.
            (Column::Name(name), None) => {
                name.parse().ok().filter(by_index).ok_or_else(|| missing(format!("`{name}`")))
            }
            (Column::Name(name), Some(names)) => {
                let mut found = (0..names.len()).filter(|column| names[*column] == *name);
                let first = found.next().ok_or_else(|| missing(format!("`{name}`")))?;
                let is_only = found.next().is_none();
                let same = || Error::SameName { place: place.into(), what: "columns", name: name.clone() };
                is_only.then_some(first).ok_or_else(same)
            }
        }
    };
    columns.iter().map(find).collect()
}
