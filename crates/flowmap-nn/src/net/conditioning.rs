//! What a network is conditional on.

use candle_core::Tensor;
use flowmap_dual::Dual;

use crate::{Condition, Error, Result};

/// What a network is conditional on; a number stands for that many classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conditioning {
    /// Nothing.
    #[default]
    None,
    /// A label out of this many classes; the number of classes itself is the label for "none".
    Labels(usize),
    /// A label out of this many classes, and the scale w of guidance toward it.
    GuidedLabels(usize),
}

impl Conditioning {
    /// Number of classes, 0 for none.
    pub fn n_classes(self) -> usize {
        match self {
            Self::None => 0,
            Self::Labels(n) | Self::GuidedLabels(n) => n,
        }
    }

    /// Whether the scale of guidance is an input.
    pub fn takes_guidance(self) -> bool {
        matches!(self, Self::GuidedLabels(_))
    }

    /// The labels of a condition; `None` if there are none and the network takes none.
    ///
    /// # Errors
    /// [`Error::Labels`] if the network takes labels and there are none, or takes none and there are some.
    pub fn labels(self, condition: Condition<'_>) -> Result<Option<&Tensor>> {
        match (self.n_classes(), condition.labels) {
            (0, None) => Ok(None),
            (n_classes, Some(labels)) if n_classes > 0 => Ok(Some(labels)),
            (n_classes, found) => {
                Err(Error::Labels { n_classes, found: if found.is_some() { "with" } else { "without" } })
            }
        }
    }

    /// g = 1 − 1/w `(B,)` for the scales w of guidance, in \[0, 1) for w >= 1; `None` where the network takes none.
    ///
    /// # Errors
    /// [`Error::Guidance`] where scales are missing or unexpected.
    pub fn guidance(self, condition: Condition<'_>) -> Result<Option<Dual>> {
        match (self.takes_guidance(), condition.guidance) {
            (true, Some(w)) => Ok(Some(Dual::constant((1.0 - w.recip()?)?))),
            (false, None) => Ok(None),
            (true, None) => Err(Error::Guidance { takes: "takes", found: "without" }),
            (false, Some(_)) => Err(Error::Guidance { takes: "does not take", found: "with" }),
        }
    }
}

impl From<usize> for Conditioning {
    fn from(n_classes: usize) -> Self {
        match n_classes {
            0 => Self::None,
            n => Self::Labels(n),
        }
    }
}

/// Refuses samples of another shape than the network was built for.
///
/// # Errors
/// [`Error::SampleShape`].
pub fn check_shape(expected: &[usize], x: &Dual) -> Result<()> {
    match x.dims().get(1..) {
        Some(found) if found == expected => Ok(()),
        found => {
            let found = found.unwrap_or_default().to_vec();
            Err(Error::SampleShape { expected: expected.to_vec(), found })
        }
    }
}

/// Sizes of samples that are images.
///
/// # Errors
/// [`Error::NotAnImage`] for a shape other than `(C, H, W)`.
pub fn image_sizes(shape: &[usize]) -> Result<[usize; 3]> {
    <[usize; 3]>::try_from(shape).map_err(|_| Error::NotAnImage { found: shape.to_vec() })
}

/// Refuses an image whose sides a factor does not divide.
///
/// # Errors
/// [`Error::ImageSides`].
pub(super) fn check_sides([_, height, width]: [usize; 3], factor: usize) -> Result<()> {
    match factor > 0 && height > 0 && height.is_multiple_of(factor) && width.is_multiple_of(factor) {
        true => Ok(()),
        false => Err(Error::ImageSides { factor, height, width }),
    }
}
