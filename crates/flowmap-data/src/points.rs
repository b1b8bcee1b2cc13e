//! Samples from the user's file: NPZ, NPY, or a table as text.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::file::csv;
use crate::file::npy::{self, Header, Surroundings};
use crate::file::npz::{arrays, extension, open, read_entry, to_labels};
use crate::{Error, FiniteSet, Result};

/// The arrays that are read where there are several: the name that `flowmap sample` writes, and that of papers.
const SAMPLES: [&str; 2] = ["samples", "x1"];

/// The arrays of noise, for pairs.
const NOISE: [&str; 2] = ["noise", "x0"];

/// The array of labels that is read if it is there.
const LABELS: &str = "labels";

/// Samples from a file: points `(N,)` or `(N, D)`, or images `(N, C, H, W)`, of type f4 or f8.
///
/// The extension says what the file is: `.npz`, `.npy`, or `.csv`, `.tsv`, `.txt` for a table as text.
/// Tables have a sample in each line, fields between commas, semicolons, tabs or blanks, and may start with names.
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
    /// Name of the array in an NPZ file; if absent, `samples` or `x1`, or else the only array besides the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// Name of the array (NPZ) or column (text) with the labels; if absent, the array `labels` where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// Name of the array (NPZ) with the noise that each sample came from, for pairs; if absent, `noise` or `x0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<String>,
    /// Columns of the table to use, by name or by number from 0, in this order; if absent, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<Column>>,
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
    /// Reads the file; a relative path starts at `base_dir`, or at the current directory where that is `None`.
    ///
    /// # Errors
    /// A file that is not there, of another format, damaged, of another type or shape; no samples, rows of different
    /// length, values that are no finite numbers, labels that are no class numbers; arrays or columns that are not
    /// there. Every message names the file, and the line or the sample where there is one.
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
    /// As [`read`](Self::read); a file that is no NPZ file, or in which there is no noise, or of another shape.
    pub fn read_pairs(&self, base_dir: Option<&Path>) -> Result<FiniteSet> {
        let samples = self.read(base_dir)?;
        let path = self.path_from(base_dir);
        if extension(&path).as_deref() != Some("npz") {
            return Err(Error::NoNoise { place: path.display().to_string() });
        }
        let (mut file, length, entries) = arrays(&path)?;
        let find = |wanted: &str| entries.iter().find(|entry| entry.name == wanted);
        let entry = match &self.noise {
            Some(name) => find(name),
            None => NOISE.into_iter().find_map(find),
        };
        let entry = entry.ok_or_else(|| Error::MissingArray {
            path: path.clone(),
            wanted: self
                .noise
                .as_ref()
                .map_or("an array `noise` or the key `noise`".into(), |n| format!("array `{n}`")),
            found: entries.iter().map(|entry| entry.name.clone()).collect(),
        })?;
        let place = format!("{}, array `{}`", path.display(), entry.name);
        let (header, values) = read_entry::<f32>(&mut file, entry, length, &place, shape_of)?;
        let noise = self.assemble(&path, place.clone(), shape_of(&header, &place)?, values, None)?;
        samples.with_noise(noise)
    }

    /// The file; a relative path starts at `base_dir`.
    fn path_from(&self, base_dir: Option<&Path>) -> PathBuf {
        base_dir.map_or_else(|| self.path.clone(), |dir| dir.join(&self.path))
    }

    fn read_npz(&self, path: &Path) -> Result<FiniteSet> {
        let (mut file, length, entries) = arrays(path)?;
        let place = path.display().to_string();
        let names: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        let missing =
            |wanted: String| Error::MissingArray { path: path.into(), wanted, found: names.clone() };
        let labels = self.labels.as_deref().unwrap_or(LABELS);
        let unknown: Vec<&String> = names.iter().filter(|name| *name != labels).collect();
        let array = match &self.array {
            Some(array) => array.as_str(),
            None => {
                match (SAMPLES.into_iter().find(|known| names.iter().any(|n| n == known)), &unknown[..]) {
                    (Some(known), _) => known,
                    (None, [only]) => only,
                    _ => {
                        return Err(missing("an array `samples` or a single one, or the key `array`".into()));
                    }
                }
            }
        };
        let find = |wanted: &str| entries.iter().find(|entry| entry.name == wanted);
        let samples = find(array).ok_or_else(|| missing(format!("array `{array}`")))?;
        let labels = match find(labels).filter(|_| labels != array) {
            None if self.labels.is_some() => return Err(missing(format!("array `{labels}`"))),
            labels => labels,
        };
        let sample_place = format!("{place}, array `{array}`");
        let (header, values) = read_entry::<f32>(&mut file, samples, length, &sample_place, shape_of)?;
        let labels = match labels {
            Some(entry) => {
                let place = format!("{place}, array `{}`", entry.name);
                let (_, labels) = read_entry::<i64>(&mut file, entry, length, &place, |header, place| {
                    let is_list = header.shape.len() == 1;
                    let (expected, found) = ("(N,)", header.shape.clone());
                    let error = || Error::WrongShape { place: place.into(), expected, found };
                    is_list.then(Vec::new).ok_or_else(error)
                })?;
                Some(to_labels(labels.iter().map(|label| *label as f64), &place)?)
            }
            None => None,
        };
        self.assemble(path, sample_place, shape_of(&header, &place)?, values, labels)
    }

    fn read_npy(&self, path: &Path) -> Result<FiniteSet> {
        let does_not_apply = |key| Error::OptionDoesNotApply { key, path: path.into() };
        self.array.as_ref().map_or(Ok(()), |_| Err(does_not_apply("array")))?;
        self.labels.as_ref().map_or(Ok(()), |_| Err(does_not_apply("labels")))?;
        let (mut file, length) = open(path)?;
        let place = path.display().to_string();
        let header = npy::read_header(&mut file, &place)?;
        let shape = shape_of(&header, &place)?;
        let there = length.saturating_sub(header.length);
        let surroundings = Surroundings { promised: there, there };
        let values = npy::read_values(&mut file, &header, surroundings, &place)?;
        self.assemble(path, place, shape, values, None)
    }

    fn read_csv(&self, path: &Path) -> Result<FiniteSet> {
        if self.array.is_some() {
            return Err(Error::OptionDoesNotApply { key: "array", path: path.into() });
        }
        let (mut file, _) = open(path)?;
        let mut bytes = Vec::new();
        let io = |source| Error::Io { path: path.into(), source };
        file.read_to_end(&mut bytes).map_err(io)?;
        let table = csv::parse(&bytes, path, self.columns.as_deref(), self.labels.as_deref())?;
        let place = path.display().to_string();
        let labels = table.labels.map(|labels| to_labels(labels.into_iter(), &place)).transpose()?;
        FiniteSet::new(place, vec![table.n_columns], table.values, labels)
    }

    /// The set of an array, with its columns chosen.
    fn assemble(
        &self,
        path: &Path,
        place: String,
        shape: Vec<usize>,
        values: Vec<f32>,
        labels: Option<Vec<u32>>,
    ) -> Result<FiniteSet> {
        let Some(columns) = &self.columns else { return FiniteSet::new(place, shape, values, labels) };
        let [n_columns] = shape[..] else {
            return Err(Error::OptionDoesNotApply { key: "columns", path: path.into() });
        };
        let columns = select(columns, None, n_columns, &place)?;
        let rows = values.chunks_exact(n_columns);
        let values = rows.flat_map(|row| columns.iter().map(|column| row[*column])).collect();
        FiniteSet::new(place, vec![columns.len()], values, labels)
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
        let (found, wanted) = match column {
            Column::Index(index) => (Some(*index).filter(|index| *index < n_columns), index.to_string()),
            Column::Name(name) => {
                let found = names.and_then(|names| names.iter().position(|other| other == name));
                (found, format!("`{name}`"))
            }
        };
        found.ok_or_else(|| {
            let numbers = || (0..n_columns).map(|column| column.to_string()).collect();
            let found = names.map_or_else(numbers, <[String]>::to_vec);
            Error::MissingColumn { place: place.into(), wanted, found }
        })
    };
    columns.iter().map(find).collect()
}

/// Shape of one sample of an array of samples.
fn shape_of(header: &Header, place: &str) -> Result<Vec<usize>> {
    let wrong = || {
        let (expected, found) = ("(N,), (N, D) or (N, C, H, W)", header.shape.clone());
        Error::WrongShape { place: place.into(), expected, found }
    };
    if header.shape.contains(&0) {
        return Err(Error::Empty { place: place.into() });
    }
    match header.shape[..] {
        [_] => Ok(vec![1]),
        [_, ref shape @ ..] if shape.len() == 1 || shape.len() == 3 => {
            shape.iter().map(|extent| usize::try_from(*extent).map_err(|_| wrong())).collect()
        }
        _ => Err(wrong()),
    }
}
