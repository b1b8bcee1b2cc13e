//! What a network is told in addition to times and points: labels, the scale of guidance, how an image was augmented, and the
//! keys of dropout.

use candle_core::Tensor;

use crate::{DropoutKeys, Error, Result};

/// The condition of every sample of a batch; the default is no condition.
///
/// Whatever takes a condition takes labels alone too, `Some(&labels)` or `None`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use flowmap_nn::Condition;
///
/// let (labels, scales) = (Tensor::new(&[2u32, 0], &Device::Cpu)?, Tensor::new(&[1.5f32, 3.0], &Device::Cpu)?);
/// let condition = Condition::labels(&labels).with_guidance(&scales);
/// let first = condition.rows(0, 1)?;
/// assert_eq!(Condition::from(&first).guidance.unwrap().to_vec1::<f32>()?, [1.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Condition<'a> {
    /// Labels, `(B,)` of u32.
    pub labels: Option<&'a Tensor>,
    /// Scales w of classifier-free guidance, `(B,)`, for a network that takes them as an input.
    pub guidance: Option<&'a Tensor>,
    /// How each image was augmented, `(B, n)`; zeros, or `None`, for an image that was not.
    /// Networks that take no such labels pass over them.
    pub augment: Option<&'a Tensor>,
    /// Keys of the masks of dropout; none for a pass without dropout.
    pub dropout: Option<DropoutKeys>,
}

impl<'a> Condition<'a> {
    /// Labels `(B,)` of u32, and no scale.
    pub fn labels(labels: &'a Tensor) -> Self {
        Self { labels: Some(labels), ..Self::default() }
    }

    /// This condition with scales w of guidance `(B,)`.
    pub fn with_guidance(self, guidance: &'a Tensor) -> Self {
        Self { guidance: Some(guidance), ..self }
    }

    /// This condition with labels `(B, n)` of how each image was augmented.
    pub fn with_augment(self, augment: &'a Tensor) -> Self {
        Self { augment: Some(augment), ..self }
    }

    /// This condition for a pass with dropout, whose masks are drawn from `keys`.
    pub fn with_dropout(self, keys: DropoutKeys) -> Self {
        Self { dropout: Some(keys), ..self }
    }

    /// This condition for a pass without dropout.
    pub fn without_dropout(self) -> Self {
        Self { dropout: None, ..self }
    }

    /// No label, no guidance and no dropout, (∅, w = 1), for the same samples, augmented as they are; `null_label` is the label that stands for "none".
    ///
    /// # Errors
    /// [`Error::Labels`] if there are no labels to hide.
    pub fn hidden(&self, null_label: u32) -> Result<OwnedCondition> {
        let Some(labels) = self.labels else {
            return Err(Error::Labels { n_classes: null_label as usize, found: "without" });
        };
        let null = Tensor::full(null_label, labels.shape(), labels.device())?;
        let guidance = self.guidance.map(Tensor::ones_like).transpose()?;
        Ok(OwnedCondition { labels: Some(null), guidance, augment: self.augment.cloned(), dropout: None })
    }

    /// The condition of the samples `first..first + n`.
    ///
    /// # Errors
    /// Where there are not that many.
    pub fn rows(&self, first: usize, n: usize) -> Result<OwnedCondition> {
        let rows = |x: &Tensor| x.narrow(0, first, n);
        Ok(OwnedCondition {
            labels: self.labels.map(rows).transpose()?,
            guidance: self.guidance.map(rows).transpose()?,
            augment: self.augment.map(rows).transpose()?,
            dropout: self.dropout.map(|keys| keys.starting_at(first)),
        })
    }
}

impl<'a> From<Option<&'a Tensor>> for Condition<'a> {
    fn from(labels: Option<&'a Tensor>) -> Self {
        Self { labels, ..Self::default() }
    }
}

impl<'a> From<&'a OwnedCondition> for Condition<'a> {
    fn from(owned: &'a OwnedCondition) -> Self {
        let OwnedCondition { labels, guidance, augment, dropout } = owned;
        Self {
            labels: labels.as_ref(),
            guidance: guidance.as_ref(),
            augment: augment.as_ref(),
            dropout: *dropout,
        }
    }
}

/// A [`Condition`] with tensors of its own.
#[derive(Clone, Debug, Default)]
pub struct OwnedCondition {
    /// Labels, `(B,)` of u32.
    pub labels: Option<Tensor>,
    /// Scales w of classifier-free guidance, `(B,)`.
    pub guidance: Option<Tensor>,
    /// How each image was augmented, `(B, n)`.
    pub augment: Option<Tensor>,
    /// Keys of the masks of dropout.
    pub dropout: Option<DropoutKeys>,
}
