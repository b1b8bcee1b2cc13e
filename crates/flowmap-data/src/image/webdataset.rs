//! WebDataset: samples as neighboring members of tar files, `KEY.jpg`, `KEY.png` or `KEY.webp` next to `KEY.cls`.
//!
//! Members with one key, the name up to the first dot after the last slash, are one sample.
//! The class is the whole number in the member `cls`; members of other endings, such as captions, are passed over.
//! A sample without an image, or with two, is a bad one.
//! Reading needs the feature `webdataset`.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::encoded::{Channels, Fit};
use super::split::FileSplit;
#[cfg(feature = "webdataset")]
use crate::labels::Numbering;
use crate::{Error, ImageSet, Result};

/// Images from the shards of a WebDataset, in memory as bytes, brought to one size as in a folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebdatasetConfig {
    /// A tar file, or a folder whose files `.tar`, `.tar.gz` and `.tgz`, those in its subfolders included, are the
    /// shards, in the order of their names.
    pub path: PathBuf,
    /// Which shards of a folder, where their names tell a split.
    pub split: FileSplit,
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
    /// Whether bad samples are counted and passed over, instead of ending the run.
    pub skip_bad: bool,
}

impl WebdatasetConfig {
    /// Reads all shards; a relative path starts at `base_dir`, or at the current directory if that is `None`.
    ///
    /// # Errors
    /// [`Error::NoFeature`] in a program that was built without the feature; no shard; a shard that is not a tar file or
    /// cut short; a sample without an image or with several, or whose image cannot be decoded, has another shape or has
    /// no good class, by shard and member.
    pub fn read(&self, base_dir: Option<&Path>) -> Result<ImageSet> {
        if self.path.as_os_str().is_empty() {
            let (expected, found) = ("the path of a tar file or of a folder of them", "nothing".into());
            return Err(Error::Config { key: "path".into(), expected, found });
        }
        let path = base_dir.map_or_else(|| self.path.clone(), |base| base.join(&self.path));
        self.read_shards(&path)
    }

    /// How the images get their size.
    pub(crate) fn fit(&self) -> Fit {
        Fit { size: self.size, crop: self.crop, channels: self.channels }
    }

    /// Which labels are which classes.
    #[cfg(feature = "webdataset")]
    fn numbering(&self) -> Numbering {
        Numbering { first: self.first_label, classes: self.classes }
    }

    #[cfg(not(feature = "webdataset"))]
    fn read_shards(&self, _path: &Path) -> Result<ImageSet> {
        Err(Error::NoFeature { kind: "webdataset", feature: "webdataset" })
    }
}

#[cfg(feature = "webdataset")]
mod reader {
    use std::collections::BTreeSet;
    use std::io::{BufRead, BufReader, Read};
    use std::path::Path;

    use flate2::bufread::MultiGzDecoder;

    use super::WebdatasetConfig;
    use crate::error::{FormatFault, RecordFault};
    use crate::file::npz::open;
    use crate::file::tar::{Content, Member, Members};
    use crate::image::encoded::Decoded;
    use crate::image::gathered::Gathered;
    use crate::image::left_over::is_left_over;
    use crate::image::shards::shards;
    use crate::image::skipped::Bad;
    use crate::{Error, ImageSet, Result, Warning};

    /// Endings of images that are read.
    const IMAGES: [&str; 6] = ["png", "jpg", "jpeg", "jpe", "jfif", "webp"];

    /// Endings of images that are not read.
    const OTHER_IMAGES: [&str; 21] = [
        "gif", "bmp", "tif", "tiff", "avif", "jxl", "heic", "heif", "jp2", "j2k", "ppm", "pgm", "pbm", "pnm",
        "tga", "ico", "exr", "hdr", "qoi", "dds", "svg",
    ];

    /// How much of a bad class a message shows.
    const N_SHOWN: usize = 40;

    /// First bytes of files of other packings.
    const PACKINGS: [(&[u8], &str); 4] =
        [(b"\x28\xb5\x2f\xfd", "Zstandard"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"), (b"PK\x03\x04", "zip")];

    /// First bytes of a gzip file.
    const GZIP: &[u8] = &[0x1f, 0x8b];

    /// The parts of a sample so far.
    #[derive(Default)]
    struct Sample {
        key: String,
        /// Members with the ending of an image, read or not, with their endings.
        images: Vec<(String, Member)>,
        class: Option<Member>,
        /// Other endings.
        others: Vec<(String, String)>,
    }

    /// Members that are passed over in good samples.
    #[derive(Default)]
    struct PassedOver {
        /// Endings of members that are images, such as `seg.png` in addition to `png`.
        images: BTreeSet<String>,
        /// Endings of other members.
        others: BTreeSet<String>,
    }

    impl WebdatasetConfig {
        pub(super) fn read_shards(&self, path: &Path) -> Result<ImageSet> {
            let is_shard =
                |name: &str| name.ends_with(".tar") || name.ends_with(".tgz") || name.contains(".tar.");
            let shards = shards(path, "a file that ends in .tar, .tar.gz or .tgz", is_shard, self.split)?;
            let mut gathered = Gathered::new(self.fit().shape(), Bad::allowed_by(&self.skip_bad));
            let (mut passed_over, mut warnings) = (PassedOver::default(), Vec::new());
            for shard in &shards.files {
                let place = shard.display().to_string();
                let (file, _) = open(shard)?;
                let mut reader = BufReader::new(file);
                let start = reader.fill_buf().map_err(|source| Error::Io { path: shard.clone(), source })?;
                if let Some((_, packing)) = PACKINGS.iter().find(|(magic, _)| start.starts_with(magic)) {
                    return Err(Error::Format { place, fault: FormatFault::TarPacking { packing } });
                }
                let reader: Box<dyn Read> = if start.starts_with(GZIP) {
                    Box::new(MultiGzDecoder::new(reader))
                } else {
                    Box::new(reader)
                };
                let mut members = Members::new(reader, place);
                self.read_shard(&mut members, shard, &mut gathered, &mut passed_over)?;
                if !members.has_end() {
                    warnings.push(without_end(shard));
                }
            }
            let has_labels = gathered.has_labels();
            let set = gathered.into_set(shards.place.clone(), self.numbering(), self.flip.into())?;
            warnings.extend(passed_over.warnings(&shards.place, has_labels));
            Ok(set.with_warnings(warnings))
        }

        fn read_shard(
            &self,
            members: &mut Members<Box<dyn Read>>,
            shard: &Path,
            gathered: &mut Gathered,
            passed_over: &mut PassedOver,
        ) -> Result<()> {
            let mut sample = Sample::default();
            loop {
                let member = match members.next() {
                    Ok(member) => member,
                    // Members after a bad header cannot be found.
                    Err(error) => {
                        gathered.record(error)?;
                        // The sample before is whole, unless its class is what is missing.
                        if sample.class.is_some() || !gathered.has_labels() {
                            self.add(sample, shard, gathered, passed_over)?;
                        }
                        return Ok(());
                    }
                };
                let Some(member) = member else { return self.add(sample, shard, gathered, passed_over) };
                let Some((key, ending)) = key_and_ending(&member.name) else { continue };
                if key != sample.key {
                    self.add(std::mem::take(&mut sample), shard, gathered, passed_over)?;
                    sample.key = key.to_owned();
                }
                let last = ending.rsplit('.').next().unwrap_or_default();
                if IMAGES.contains(&ending.as_str()) || OTHER_IMAGES.contains(&ending.as_str()) {
                    sample.images.push((ending, member));
                } else if ending == "cls" {
                    if sample.class.replace(member).is_some() {
                        let place = place(shard, &format!("{}.cls", sample.key));
                        gathered.record(Error::Record { place, fault: RecordFault::TwoClasses })?;
                    }
                } else {
                    let is_image = IMAGES.contains(&last) || OTHER_IMAGES.contains(&last);
                    if is_image {
                        passed_over.images.insert(ending.clone());
                    }
                    sample.others.push((ending, member.name));
                }
            }
        }

        /// Appends the image of a sample with its class.
        fn add(
            &self,
            sample: Sample,
            shard: &Path,
            gathered: &mut Gathered,
            passed_over: &mut PassedOver,
        ) -> Result<()> {
            let Sample { images, class, others, .. } = sample;
            let record = |name: &str, fault: RecordFault| Error::Record { place: place(shard, name), fault };
            let mut images = images.into_iter();
            let (ending, image) = match (images.next(), images.next()) {
                (Some(image), None) => image,
                (Some((_, first)), Some((_, second))) => {
                    return gathered
                        .record(record(&first.name, RecordFault::TwoImages { other: second.name }));
                }
                (None, _) => {
                    let is_image = |(ending, _): &&(String, String)| {
                        let last = ending.rsplit('.').next().unwrap_or_default();
                        IMAGES.contains(&last) || OTHER_IMAGES.contains(&last)
                    };
                    if let Some((ending, name)) = others.iter().find(is_image) {
                        let ending = ending.clone();
                        return gathered.record(record(name, RecordFault::DottedName { ending }));
                    }
                    let name = class
                        .map(|class| class.name)
                        .or_else(|| others.into_iter().next().map(|(_, name)| name));
                    let without = |name: String| gathered.record(record(&name, RecordFault::NoImage));
                    return name.map_or(Ok(()), without);
                }
            };
            passed_over.others.extend(others.into_iter().map(|(ending, _)| ending));
            let found = self.decoded(&ending, &image, class.as_ref(), shard);
            gathered.push(found, &place(shard, &image.name))
        }

        /// The image of a sample and its class, `None` if there is none.
        fn decoded(
            &self,
            ending: &str,
            image: &Member,
            class: Option<&Member>,
            shard: &Path,
        ) -> Result<(Decoded, Option<u32>)> {
            let error = |member: &Member, fault| Error::Record { place: place(shard, &member.name), fault };
            let numbering = self.numbering();
            let (min, max) = (numbering.min(), numbering.max());
            let class = match class {
                None => None,
                Some(member) => {
                    let text = String::from_utf8_lossy(data(member, shard)?);
                    let class = text.trim().parse().ok().and_then(|label| numbering.class_of(label));
                    let found = || text.chars().take(N_SHOWN).collect();
                    Some(
                        class
                            .ok_or_else(|| error(member, RecordFault::Class { min, max, found: found() }))?,
                    )
                }
            };
            let bytes = data(image, shard)?;
            if OTHER_IMAGES.contains(&ending) {
                let message = format!("one that ends in .{ending}");
                return Err(error(image, RecordFault::NotAnImage { message }));
            }
            Ok((self.fit().decode(bytes, &place(shard, &image.name))?, class))
        }
    }

    impl PassedOver {
        fn warnings(self, place: &str, has_labels: bool) -> Vec<Warning> {
            let list = |endings: &BTreeSet<String>| {
                endings.iter().map(|ending| format!("`{ending}`")).collect::<Vec<_>>().join(", ")
            };
            let mut warnings = Vec::new();
            if !self.images.is_empty() {
                warnings.push(Warning {
                    subject: place.to_owned(),
                    seen: format!("the samples have further images, {}", list(&self.images)),
                    consequence: "the image whose name has one dot is read, and they are passed over".into(),
                    remedy: "pack images that are samples under names with one dot".into(),
                });
            }
            let others: BTreeSet<String> = self.others.difference(&self.images).cloned().collect();
            if !has_labels && !others.is_empty() {
                warnings.push(Warning {
                    subject: place.to_owned(),
                    seen: format!("no sample has a member `cls`; the other members are {}", list(&others)),
                    consequence: "the samples have no classes".into(),
                    remedy: "pack the class of each sample as a whole number into a member `cls`, unless none is meant"
                        .into(),
                });
            }
            warnings
        }
    }

    /// Bytes of a regular file.
    fn data<'a>(member: &'a Member, shard: &Path) -> Result<&'a [u8]> {
        match &member.content {
            Content::File(data) => Ok(data),
            Content::Other(kind) => {
                let fault = RecordFault::NotAFile { kind };
                Err(Error::Record { place: place(shard, &member.name), fault })
            }
        }
    }

    /// A member in a message.
    fn place(shard: &Path, name: &str) -> String {
        format!("{}, member `{name}`", shard.display())
    }

    /// Key and ending of a name, the ending in small letters; `None` for what systems leave and for metadata.
    fn key_and_ending(name: &str) -> Option<(&str, String)> {
        let mut parts = name.split('/').filter(|part| *part != "." && *part != "..");
        let is_metadata = |part: &str| part.starts_with("__") && part.ends_with("__");
        if parts.any(|part| is_left_over(part) || is_metadata(part)) {
            return None;
        }
        let base = name.rfind('/').map_or(0, |slash| slash + 1);
        let dot = name[base..].find('.').map_or(name.len(), |dot| base + dot);
        Some((&name[..dot], name[dot..].trim_start_matches('.').to_lowercase()))
    }

    fn without_end(shard: &Path) -> Warning {
        Warning {
            subject: shard.display().to_string(),
            seen: "the file ends without the two blocks of zeros that end a tar file".into(),
            consequence: "samples are missing if it was cut".into(),
            remedy: "compare its size with the size of its source, and pack it again".into(),
        }
    }
}
