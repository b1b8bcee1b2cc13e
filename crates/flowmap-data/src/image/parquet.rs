//! Parquet files of encoded images, as data sets are published: one column of PNG, JPEG or WebP files, one of classes.
//!
//! The column of images holds bytes, or structs of which `bytes` is one field (and `path`, which is passed over, another).
//! Row groups are read one after the other, with nothing in memory but the one at hand and what is decoded.
//! Reading needs the feature `parquet`; all compressions but LZO are read.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::encoded::{Channels, Fit};
use super::split::FileSplit;
#[cfg(feature = "parquet")]
use crate::labels::Numbering;
use crate::{Error, ImageSet, Result};

/// Images from Parquet files, in memory as bytes, brought to one size as in a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ParquetConfig {
    /// A file, or a folder whose `.parquet` files, those in its subfolders included, are the parts, in the order of their
    /// names.
    pub path: PathBuf,
    /// Which files of a folder, where their names tell a split.
    pub split: FileSplit,
    /// The column of images.
    pub image_column: String,
    /// The column of classes, whole numbers; without it, `label` if there is such a column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_column: Option<String>,
    /// Height and width of the samples in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<NonZeroU32>,
    /// Side of the square that is cut out of the middle before resizing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<NonZeroU32>,
    /// `gray` or `rgb`.
    pub channels: Channels,
    /// The number of classes, which no label may reach; if absent, one more than the largest label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<NonZeroU32>,
    /// The label of class 0; 0 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_label: Option<i32>,
    /// Whether half of the samples are mirrored left to right.
    pub flip: bool,
    /// Whether bad records are counted and passed over, instead of ending the run.
    pub skip_bad: bool,
}

impl Default for ParquetConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            split: FileSplit::default(),
            image_column: "image".into(),
            label_column: None,
            size: None,
            crop: None,
            channels: Channels::default(),
            classes: None,
            first_label: None,
            flip: false,
            skip_bad: false,
        }
    }
}

impl ParquetConfig {
    /// Reads all files; a relative path starts at `base_dir`, or at the current directory if that is `None`.
    ///
    /// # Errors
    /// [`Error::NoFeature`] in a program that was built without the feature; no file; a file that is not a Parquet file or
    /// cut short, or lacks a column; a record whose image cannot be decoded, has another shape or has no good class, by
    /// file and record.
    pub fn read(&self, base_dir: Option<&Path>) -> Result<ImageSet> {
        if self.path.as_os_str().is_empty() {
            let (expected, found) = ("the path of a Parquet file or of a folder of them", "nothing".into());
            return Err(Error::Config { key: "path".into(), expected, found });
        }
        let path = base_dir.map_or_else(|| self.path.clone(), |base| base.join(&self.path));
        self.read_files(&path)
    }

    /// How the images get their size.
    pub(crate) fn fit(&self) -> Fit {
        Fit { size: self.size, crop: self.crop, channels: self.channels }
    }

    /// Which labels are which classes.
    #[cfg(feature = "parquet")]
    fn numbering(&self) -> Numbering {
        Numbering { first: self.first_label, classes: self.classes }
    }

    #[cfg(not(feature = "parquet"))]
    fn read_files(&self, _path: &Path) -> Result<ImageSet> {
        Err(Error::NoFeature { kind: "parquet", feature: "parquet" })
    }
}

#[cfg(feature = "parquet")]
mod reader {
    use std::path::Path;
    use std::sync::Arc;

    use ::parquet::basic::Type as Physical;
    use ::parquet::errors::ParquetError;
    use ::parquet::file::reader::{FileReader, SerializedFileReader};
    use ::parquet::record::reader::RowIter;
    use ::parquet::record::{Field, Row};
    use ::parquet::schema::types::{Type, TypePtr};
    use rayon::prelude::*;

    use super::ParquetConfig;
    use crate::error::{FormatFault, RecordFault};
    use crate::file::npz::open;
    use crate::image::encoded::Decoded;
    use crate::image::gathered::Gathered;
    use crate::image::shards::shards;
    use crate::image::skipped::Bad;
    use crate::{Error, ImageSet, Result};

    /// Images that are decoded at a time.
    const CHUNK: usize = 256;
    /// How much of a bad class a message shows.
    const N_SHOWN: usize = 40;
    /// The column of classes where none is named.
    const LABEL: &str = "label";

    impl ParquetConfig {
        pub(super) fn read_files(&self, path: &Path) -> Result<ImageSet> {
            let is_part = |name: &str| name.ends_with(".parquet") || name.ends_with(".parq");
            let parts = shards(path, "a file that ends in .parquet", is_part, self.split)?;
            let mut images = Gathered::new(self.fit().shape(), Bad::allowed_by(&self.skip_bad));
            for file in &parts.files {
                self.read_file(file, &mut images)?;
            }
            images.into_set(parts.place, self.numbering(), self.flip.into())
        }

        /// Appends the images of a file, one row group after the other.
        fn read_file(&self, path: &Path, images: &mut Gathered) -> Result<()> {
            let place = path.display().to_string();
            let damaged = |error: ParquetError| {
                let fault = FormatFault::Parquet { message: error.to_string() };
                Error::Format { place: place.clone(), fault }
            };
            let reader = SerializedFileReader::new(open(path)?.0).map_err(damaged)?;
            let columns = self.columns(reader.metadata().file_metadata().schema(), &place)?;
            let mut first: u64 = 0;
            for group in 0..reader.num_row_groups() {
                let group = reader.get_row_group(group).map_err(damaged)?;
                let mut rows = group.get_row_iter(Some(columns.clone())).map_err(damaged)?;
                let mut record = first;
                loop {
                    let chunk = chunk(&mut rows);
                    let (n, is_cut) = (chunk.len(), chunk.last().is_some_and(Result::is_err));
                    let places: Vec<String> =
                        (record..).take(n).map(|n| format!("{place}, record {n} (counted from 0)")).collect();
                    let decoded = chunk.into_par_iter().zip(&places).map(|(row, at)| self.decoded(row, at));
                    for (decoded, at) in decoded.collect::<Vec<_>>().into_iter().zip(&places) {
                        images.push(decoded, at)?;
                    }
                    record += n as u64;
                    // Nothing that follows a record that cannot be read can be found, to the end of its group.
                    if n < CHUNK || is_cut {
                        break;
                    }
                }
                first += u64::try_from(group.metadata().num_rows()).unwrap_or(0);
            }
            Ok(())
        }

        /// The columns to read, out of all columns of a file.
        fn columns(&self, schema: &Type, place: &str) -> Result<Type> {
            let find = |name: &str| schema.get_fields().iter().find(|field| field.name() == name);
            let missing = |name: &str| {
                let found = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
                Error::MissingColumn { place: place.into(), wanted: format!("`{name}`"), found }
            };
            let image = find(&self.image_column).ok_or_else(|| missing(&self.image_column))?;
            let label = match &self.label_column {
                Some(name) => Some(find(name).ok_or_else(|| missing(name))?),
                None => find(LABEL),
            };
            let image = bytes_of(image).ok_or_else(|| Error::WrongDtype {
                place: format!("{place}, column `{}`", self.image_column),
                expected: "bytes, or structs with a field `bytes` of them",
                found: match &**image {
                    Type::PrimitiveType { physical_type, .. } => physical_type.to_string(),
                    Type::GroupType { .. } => "another struct".into(),
                },
            })?;
            let fields = [Some(image), label.cloned()].into_iter().flatten().collect();
            Ok(group(schema, fields))
        }

        /// The image of a record and its class, `None` if there is no column of them.
        fn decoded(&self, row: Result<Row, ParquetError>, place: &str) -> Result<(Decoded, Option<u32>)> {
            let fault = |fault: RecordFault| Error::Record { place: place.into(), fault };
            let row = row.map_err(|error| fault(RecordFault::Unreadable { message: error.to_string() }))?;
            let mut columns = row.into_columns().into_iter().map(|(_, field)| field);
            let image = match columns.next() {
                Some(Field::Group(image)) => image.into_columns().into_iter().next().map(|(_, field)| field),
                other => other,
            };
            let Some(Field::Bytes(image)) = image else {
                return Err(fault(RecordFault::NotAnImage { message: "no bytes".into() }));
            };
            let numbering = self.numbering();
            let class = match columns.next() {
                None => None,
                Some(field) => Some(label(&field).and_then(|l| numbering.class_of(l)).ok_or_else(|| {
                    let found = field.to_string().chars().take(N_SHOWN).collect();
                    fault(RecordFault::Class { min: numbering.min(), max: numbering.max(), found })
                })?),
            };
            Ok((self.fit().decode(image.data(), place)?, class))
        }
    }

    /// The next rows of a group, up to the first one that cannot be read.
    fn chunk(rows: &mut RowIter<'_>) -> Vec<Result<Row, ParquetError>> {
        let mut chunk = Vec::new();
        for row in rows.take(CHUNK) {
            let is_good = row.is_ok();
            chunk.push(row);
            if !is_good {
                break;
            }
        }
        chunk
    }

    /// A column of bytes, alone or as the field `bytes` of a struct without its other fields.
    fn bytes_of(column: &TypePtr) -> Option<TypePtr> {
        let is_bytes = |field: &TypePtr| match &**field {
            Type::PrimitiveType { physical_type, .. } => *physical_type == Physical::BYTE_ARRAY,
            Type::GroupType { .. } => false,
        };
        match &**column {
            Type::PrimitiveType { .. } => Some(column.clone()).filter(is_bytes),
            Type::GroupType { fields, .. } => {
                let bytes = fields.iter().find(|field| field.name() == "bytes" && is_bytes(field))?;
                Some(Arc::new(group(column, vec![bytes.clone()])))
            }
        }
    }

    /// This group with these fields alone.
    fn group(all: &Type, fields: Vec<TypePtr>) -> Type {
        Type::GroupType { basic_info: all.get_basic_info().clone(), fields }
    }

    /// A whole number as a label.
    fn label(field: &Field) -> Option<i64> {
        match *field {
            Field::Bool(value) => Some(value.into()),
            Field::Byte(value) => Some(value.into()),
            Field::Short(value) => Some(value.into()),
            Field::Int(value) => Some(value.into()),
            Field::Long(value) => Some(value),
            Field::UByte(value) => Some(value.into()),
            Field::UShort(value) => Some(value.into()),
            Field::UInt(value) => Some(value.into()),
            Field::ULong(value) => value.try_into().ok(),
            _ => None,
        }
    }
}
