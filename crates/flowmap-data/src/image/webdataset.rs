//! WebDataset: samples as neighboring members of tar files, `KEY.jpg` or `KEY.png` beside `KEY.cls`.
//!
//! Members with one key, the name up to the first dot after the last slash, are one sample.
//! The class is the whole number in the member `cls`; members of other endings are passed over.
//! Reading needs the feature `webdataset`.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::encoded::{Channels, Fit};
#[cfg(feature = "webdataset")]
use crate::labels::Numbering;
use crate::{Error, ImageSet, Result};

/// Images from the shards of a WebDataset, in memory as bytes, brought to one size as those of a folder are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebdatasetConfig {
    /// A tar file, or a folder whose `.tar` files are the shards, in the order of their names.
    pub path: PathBuf,
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
    /// Reads all shards; a relative path starts at `base_dir`, or at the current directory where that is `None`.
    ///
    /// # Errors
    /// [`Error::NoFeature`] in a program that was built without the feature; no shard; a shard that is no tar file or
    /// cut short; a sample whose image cannot be decoded, has another shape or has no good class, by shard and member.
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
    use std::fs::File;
    use std::io::BufReader;
    use std::path::Path;

    use super::WebdatasetConfig;
    use crate::error::RecordFault;
    use crate::file::npz::open;
    use crate::file::tar::Members;
    use crate::image::encoded::{Fit, OneShape};
    use crate::image::set::Pixels;
    use crate::image::shards::{all_or_none, shards};
    use crate::image::skipped::Bad;
    use crate::{Error, ImageSet, Result};

    /// Endings of images.
    const IMAGES: [&str; 3] = ["png", "jpg", "jpeg"];

    /// The parts of a sample so far.
    #[derive(Default)]
    struct Sample {
        key: String,
        image: Option<(String, Vec<u8>)>,
        class: Option<(String, Vec<u8>)>,
    }

    impl WebdatasetConfig {
        pub(super) fn read_shards(&self, path: &Path) -> Result<ImageSet> {
            let place = path.display().to_string();
            let mut bad = Bad::allowed_by(&self.skip_bad);
            let mut images = OneShape { shape: self.fit().shape(), bytes: Vec::new() };
            let mut labels: Vec<Option<u32>> = Vec::new();
            for shard in shards(path, "tar")? {
                let (file, _) = open(&shard)?;
                let mut members = Members::new(BufReader::new(file), shard.display().to_string());
                let mut sample = Sample::default();
                loop {
                    // What comes after a bad header cannot be found.
                    let member = match next(&mut members) {
                        Ok(member) => member,
                        Err(error) => {
                            bad.record(error)?;
                            // The sample before is whole, unless its class is what is missing.
                            let is_whole = sample.class.is_some() || labels.iter().all(Option::is_none);
                            if is_whole {
                                let added = self.add(sample, &shard, &mut images);
                                labels.extend(bad.good(added)?.flatten());
                            }
                            break;
                        }
                    };
                    let key = member.as_ref().map_or("", |member| &member.0);
                    if key != sample.key || member.is_none() {
                        let done = std::mem::take(&mut sample);
                        let added = self.add(done, &shard, &mut images);
                        labels.extend(bad.good(added)?.flatten());
                    }
                    let Some((key, ending, name, data)) = member else { break };
                    sample.key = key;
                    if IMAGES.contains(&ending.as_str()) {
                        sample.image = Some((name, data));
                    } else if ending == "cls" {
                        sample.class = Some((name, data));
                    }
                }
            }
            let labels = all_or_none(&place, labels, self.classes)?;
            let Some(shape) = images.shape else { return Err(Error::Empty { place }) };
            let empty =
                labels.labels.as_ref().and_then(|labels| self.numbering().empty_classes(&place, labels));
            let (pixels, skipped) = (Pixels::Bytes(images.bytes), bad.into_skipped());
            let set = ImageSet::new(place, shape, pixels, labels, self.flip.into(), skipped)?;
            Ok(set.with_warnings(Vec::from_iter(empty)))
        }

        /// Appends the image of a sample and gives its class; `None` for a sample without an image.
        fn add(&self, sample: Sample, shard: &Path, images: &mut OneShape) -> Result<Option<Option<u32>>> {
            let Some((name, image)) = sample.image else { return Ok(None) };
            let place = |name: &str| format!("{}, member `{name}`", shard.display());
            let numbering = self.numbering();
            let class = match &sample.class {
                None => None,
                Some((name, text)) => {
                    let text = String::from_utf8_lossy(text);
                    let class = text.trim().parse().ok().and_then(|label| numbering.class_of(label));
                    let (min, max) = (numbering.min(), numbering.max());
                    let error = || Error::Record {
                        place: place(name),
                        fault: RecordFault::Class { min, max, found: text.chars().take(N_SHOWN).collect() },
                    };
                    Some(class.ok_or_else(error)?)
                }
            };
            let fit: Fit = self.fit();
            let place = place(&name);
            images.push(fit.decode(&image, &place)?, &place)?;
            Ok(Some(class))
        }
    }

    /// How much of a bad class a message shows.
    const N_SHOWN: usize = 40;

    /// Key, ending, name and data of the next member.
    type Part = (String, String, String, Vec<u8>);

    fn next(members: &mut Members<BufReader<File>>) -> Result<Option<Part>> {
        let member = members.next()?;
        Ok(member.map(|member| {
            let base = member.name.rfind('/').map_or(0, |slash| slash + 1);
            let dot = member.name[base..].find('.').map_or(member.name.len(), |dot| base + dot);
            let ending = member.name[dot..].trim_start_matches('.').to_lowercase();
            (member.name[..dot].to_owned(), ending, member.name, member.data)
        }))
    }
}
