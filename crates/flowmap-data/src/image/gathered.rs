//! Images with their classes as they are read one by one, from records that may be bad.

use super::encoded::{Decoded, OneShape};
use super::set::{Labels, Mirror, Pixels};
use super::skipped::Bad;
use crate::error::RecordFault;
use crate::labels::Numbering;
use crate::{Error, ImageSet, Result};

/// How many images without a class are named.
const N_NAMED: usize = 5;

/// Images read so far.
#[derive(Debug)]
pub(crate) struct Gathered {
    images: OneShape,
    labels: Vec<Option<u32>>,
    /// The first images without a class.
    unlabelled: Vec<String>,
    bad: Bad,
}

impl Gathered {
    /// Nothing so far; images have this shape, or the shape of the first image if none is given.
    pub fn new(shape: Option<[usize; 3]>, bad: Bad) -> Self {
        let images = OneShape { shape, bytes: Vec::new() };
        Self { images, labels: Vec::new(), unlabelled: Vec::new(), bad }
    }

    /// Whether an image has a class.
    pub fn has_labels(&self) -> bool {
        self.labels.iter().any(Option::is_some)
    }

    /// Appends an image with its class; `place` names it.
    ///
    /// # Errors
    /// The fault of the image, unless bad images are allowed.
    pub fn push(&mut self, found: Result<(Decoded, Option<u32>)>, place: &str) -> Result<()> {
        let pushed = found.and_then(|(image, class)| self.images.push(image, place).map(|()| class));
        let Some(class) = self.bad.good(pushed)? else { return Ok(()) };
        if class.is_none() && self.unlabelled.len() < N_NAMED {
            self.unlabelled.push(place.to_owned());
        }
        self.labels.push(class);
        Ok(())
    }

    /// Notes what is not an image and should be one.
    ///
    /// # Errors
    /// The record's own, where none may be bad.
    pub fn record(&mut self, error: Error) -> Result<()> {
        self.bad.record(error)
    }

    /// The set of all images; `place` says where they come from.
    ///
    /// If some images have a class and others do not, the others are bad records.
    ///
    /// # Errors
    /// No image, an image without a class among others that have one, and as [`ImageSet::new`].
    pub fn into_set(mut self, place: String, numbering: Numbering, mirror: Mirror) -> Result<ImageSet> {
        let Some(shape) = self.images.shape.filter(|_| !self.labels.is_empty()) else {
            return Err(Error::Empty { place });
        };
        let mut labels = None;
        if self.has_labels() {
            let missing = self.labels.iter().filter(|label| label.is_none()).count();
            for number in 0..missing {
                let named = self.unlabelled.get(number).or(self.unlabelled.last());
                let place = named.cloned().unwrap_or_default();
                self.bad.record(Error::Record { place, fault: RecordFault::NoClass })?;
            }
            if missing > 0 {
                let size = shape.iter().product::<usize>().max(1);
                let images = self.images.bytes.chunks_exact(size).zip(&self.labels);
                let kept = images.filter(|(_, label)| label.is_some());
                self.images.bytes = kept.flat_map(|(image, _)| image).copied().collect();
            }
            labels = Some(self.labels.into_iter().flatten().collect());
        }
        let empty = labels.as_ref().and_then(|labels: &Vec<u32>| numbering.empty_classes(&place, labels));
        let labels = Labels { labels, classes: numbering.classes };
        let pixels = Pixels::Bytes(self.images.bytes);
        let set = ImageSet::new(place, shape, pixels, labels, mirror, self.bad.into_skipped())?;
        Ok(set.with_warnings(Vec::from_iter(empty)))
    }
}
