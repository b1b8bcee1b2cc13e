//! Points and images from the arrays of NPZ and NPY files.

use std::path::Path;

use super::columns;
use super::{PointsConfig, select};
use crate::file::npy::{Header, Source, Stored};
use crate::file::npz::{array, arrays, single};
use crate::image::arrays::{planes, read_pixels};
use crate::image::layout::{Layout, NAMELESS};
use crate::image::range::Doubt;
use crate::image::set::{Pixels, value_of};
use crate::{Error, FiniteSet, Result, Warning};

/// The arrays that are read if there are several: the name that `flowmap sample` writes, that of papers, and that of
/// NumPy.
const SAMPLES: [&str; 3] = ["samples", "x1", NAMELESS];

/// The arrays of noise, for pairs.
const NOISE: [&str; 2] = ["noise", "x0"];

/// The array of labels that is read if it exists, and the array of labels of an array without a name.
const LABELS: &str = "labels";
const NAMELESS_LABELS: &str = "arr_1";

/// Remedy for an unclear layout or range of images; points have no key for either.
const AS_IMAGES: &str =
    "read them by `data.kind` = \"images\", where the keys `layout` and `range` say what they are";

/// An array of samples and what is in doubt about it.
struct Samples {
    place: String,
    shape: Vec<usize>,
    values: Vec<f32>,
    warnings: Vec<Warning>,
}

impl PointsConfig {
    pub(super) fn read_npz(&self, path: &Path) -> Result<FiniteSet> {
        self.check_is_no_text(path)?;
        let (mut file, length, entries) = arrays(path)?;
        let names: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        let missing =
            |wanted: String| Error::MissingArray { path: path.into(), wanted, found: names.clone() };
        let find = |wanted: &str| entries.iter().find(|entry| entry.name == wanted);
        let labels = self.labels.as_deref().unwrap_or(LABELS);
        let unknown: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != labels).collect();
        // Two arrays without names are samples and labels if the second one looks so, or else anything.
        let mut nameless_labels = None;
        if unknown.len() == 2
            && self.labels.is_none()
            && unknown.contains(&NAMELESS)
            && let Some(entry) = find(NAMELESS_LABELS)
        {
            let header = array(&mut file, entry, length, path)?.header;
            let is_labels = header.dtype.is_whole() && matches!(header.shape[..], [_] | [_, 1]);
            nameless_labels = is_labels.then_some(NAMELESS_LABELS);
        }
        let known = SAMPLES.into_iter().find(|known| unknown.contains(known));
        let known =
            known.filter(|known| *known != NAMELESS || unknown.len() == 1 || nameless_labels.is_some());
        let wanted = match (&self.array, known, &unknown[..]) {
            (Some(array), ..) => array.as_str(),
            (None, Some(known), _) => known,
            (None, None, [only]) => only,
            _ => return Err(missing("an array `samples` or a single one, or the key `array`".into())),
        };
        let entry = find(wanted).ok_or_else(|| missing(format!("array `{wanted}`")))?;
        let samples = self.read_array(array(&mut file, entry, length, path)?, &entry.name)?;
        let labels = match (find(labels), &self.labels) {
            (None, Some(name)) => return Err(missing(format!("array `{name}`"))),
            (None, None) => nameless_labels.filter(|_| wanted == NAMELESS).and_then(find),
            (found, _) => found,
        };
        let labels = match labels {
            Some(entry) => {
                let stored = array(&mut file, entry, length, path)?;
                Some((stored.place.clone(), stored.labels()?))
            }
            None => None,
        };
        self.assemble(path, samples, labels)
    }

    pub(super) fn read_npy(&self, path: &Path) -> Result<FiniteSet> {
        self.check_is_no_text(path)?;
        let does_not_apply = |key| Error::OptionDoesNotApply { key, path: path.into() };
        self.array.as_ref().map_or(Ok(()), |_| Err(does_not_apply("array")))?;
        self.labels.as_ref().map_or(Ok(()), |_| Err(does_not_apply("labels")))?;
        let samples = self.read_array(single(path)?, "")?;
        self.assemble(path, samples, None)
    }

    /// The noise of pairs, in the array that the config or its name says.
    pub(super) fn read_noise(&self, path: &Path) -> Result<FiniteSet> {
        let (mut file, length, entries) = arrays(path)?;
        let find = |wanted: &str| entries.iter().find(|entry| entry.name == wanted);
        let entry = match &self.noise {
            Some(name) => find(name),
            None => NOISE.into_iter().find_map(find),
        };
        let wanted = || {
            self.noise
                .as_ref()
                .map_or("an array `noise` or the key `noise`".into(), |n| format!("array `{n}`"))
        };
        let entry = entry.ok_or_else(|| Error::MissingArray {
            path: path.into(),
            wanted: wanted(),
            found: entries.iter().map(|entry| entry.name.clone()).collect(),
        })?;
        let noise = self.read_array(array(&mut file, entry, length, path)?, &entry.name)?;
        let Samples { place, shape, values, .. } = self.chosen_columns(path, noise)?;
        FiniteSet::new(place, shape, values, None)
    }

    fn check_is_no_text(&self, path: &Path) -> Result<()> {
        let does_not_apply = || Error::OptionDoesNotApply { key: "header", path: path.into() };
        self.header.map_or(Ok(()), |_| Err(does_not_apply()))
    }

    fn read_array<R: Source>(&self, stored: Stored<R>, name: &str) -> Result<Samples> {
        let (place, shape) = (stored.place.clone(), shape_of(&stored.header, &stored.place)?);
        let [channels, height, width] = shape[..] else {
            return Ok(Samples { place, shape, values: stored.values()?, warnings: Vec::new() });
        };
        let n = stored.header.shape[0] as usize;
        let extents = [n, channels, height, width];
        let warning = |seen: String, consequence: String| Warning {
            subject: place.clone(),
            seen,
            consequence,
            remedy: AS_IMAGES.into(),
        };
        let (layout, in_doubt) = Layout::of(name, extents, &place, AS_IMAGES).unwrap_or_else(|_| {
            let seen = format!("shape {extents:?} looks like (N, H, W, C)");
            (Layout::Nchw, Some(warning(seen, format!("it is read as {}", Layout::Nchw))))
        });
        let sample = layout.sample(extents);
        let pixels = read_pixels(stored, extents)?;
        let mut warnings = Vec::from_iter(in_doubt);
        warnings.extend(Doubt::about(&pixels).map(|doubt| warning(doubt.seen, doubt.consequence.into())));
        let values = match pixels {
            Pixels::Bytes(bytes) => bytes.into_iter().map(value_of).collect(),
            Pixels::Floats(floats) => floats,
        };
        let values = if layout == Layout::Nhwc { planes(layout, &values, sample, 0..n) } else { values };
        Ok(Samples { place, shape: sample.into(), values, warnings })
    }

    /// The samples with the columns that the config chooses.
    fn chosen_columns(&self, path: &Path, mut samples: Samples) -> Result<Samples> {
        let Some(columns) = &self.columns else { return Ok(samples) };
        let [n_columns] = samples.shape[..] else {
            return Err(Error::OptionDoesNotApply { key: "columns", path: path.into() });
        };
        let columns = select(columns, None, n_columns, &samples.place)?;
        let rows = samples.values.chunks_exact(n_columns);
        samples.values = rows.flat_map(|row| columns.iter().map(|column| row[*column])).collect();
        samples.shape = vec![columns.len()];
        Ok(samples)
    }

    /// The set of an array, with its columns chosen, and of its labels.
    fn assemble(
        &self,
        path: &Path,
        samples: Samples,
        labels: Option<(String, Vec<f64>)>,
    ) -> Result<FiniteSet> {
        if labels.is_none() && self.first_label.is_some() {
            return Err(Error::OptionDoesNotApply { key: "first_label", path: path.into() });
        }
        let Samples { place, shape, values, mut warnings } = self.chosen_columns(path, samples)?;
        let labels = match labels {
            Some((label_place, labels)) => {
                let classes = self.classes(&label_place, &labels)?;
                warnings.extend(self.numbering().empty_classes(&label_place, &classes));
                Some(classes)
            }
            None => None,
        };
        if let [n_columns] = shape[..] {
            let names: Vec<String> = match &self.columns {
                Some(columns) => columns.iter().map(ToString::to_string).collect(),
                None => (0..n_columns).map(|column| column.to_string()).collect(),
            };
            warnings.extend(columns::warnings(&place, &names, &values, self.chosen()));
        }
        Ok(FiniteSet::new(place, shape, values, labels)?.with_warnings(warnings))
    }
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
