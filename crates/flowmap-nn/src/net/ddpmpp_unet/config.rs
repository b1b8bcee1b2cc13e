//! Sizes of the DDPM++ U-Net.

use serde::{Deserialize, Serialize};

use super::super::TimeDirection;
use super::block::has_groups;
use crate::{Error, Result};

/// Numbers of the embedding over `channels`.
const EMBEDDING_MULT: usize = 4;

/// The size of the paper, and small ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DdpmPpSize {
    /// 55.9 million parameters for 32x32 images, arXiv:2505.13447, appendix A.
    Cifar10,
    /// 1.7 million for 16x16 to 32x32 images: three levels of 32, 64 and 64 channels.
    Small,
    /// 0.9 million for 8x8 to 32x32 images: two levels of 32 and 64 channels.
    Tiny,
}

impl DdpmPpSize {
    /// Base channels, their multiples by level, blocks of a level, and the resolutions with attention.
    fn sizes(self) -> (usize, &'static [usize], usize, &'static [usize]) {
        match self {
            Self::Cifar10 => (128, &[2, 2, 2], 4, &[16]),
            Self::Small => (32, &[1, 2, 2], 2, &[8]),
            Self::Tiny => (32, &[1, 2], 1, &[8]),
        }
    }
}

/// Sizes of a [`DdpmPpUNet`](super::DdpmPpUNet).
///
/// In a file `size` stands for what is left out; without it that is `small`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Keys")]
pub struct DdpmPpUNetConfig {
    /// Base number of channels.
    pub channels: usize,
    /// Channels of each level, in multiples of `channels`; every level has half the resolution of the one before.
    pub channel_mult: Vec<usize>,
    /// Residual blocks of a level.
    pub blocks: usize,
    /// Resolutions with attention: in every block of the encoder, and in the last one of the decoder.
    pub attention: Vec<usize>,
    /// Numbers of sines and cosines of a time, in multiples of `channels`.
    pub noise_mult: usize,
    /// The filter of changes of resolution along each axis, of even length.
    pub filter: Vec<f64>,
    /// Probability that an activation is dropped, in the passes that a term of the loss names.
    pub dropout: f64,
    /// Numbers that tell the network how an image was augmented; 0 for none.
    pub augment_dim: usize,
    /// Which way the time runs that the network is given.
    pub time: TimeDirection,
}

/// The keys of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    size: Option<DdpmPpSize>,
    channels: Option<usize>,
    channel_mult: Option<Vec<usize>>,
    blocks: Option<usize>,
    attention: Option<Vec<usize>>,
    noise_mult: Option<usize>,
    filter: Option<Vec<f64>>,
    #[serde(default)]
    dropout: f64,
    #[serde(default)]
    augment_dim: usize,
    #[serde(default)]
    time: TimeDirection,
}

impl From<Keys> for DdpmPpUNetConfig {
    fn from(keys: Keys) -> Self {
        let size = Self::new(keys.size.unwrap_or(DdpmPpSize::Small));
        Self {
            channels: keys.channels.unwrap_or(size.channels),
            channel_mult: keys.channel_mult.unwrap_or(size.channel_mult),
            blocks: keys.blocks.unwrap_or(size.blocks),
            attention: keys.attention.unwrap_or(size.attention),
            noise_mult: keys.noise_mult.unwrap_or(size.noise_mult),
            filter: keys.filter.unwrap_or(size.filter),
            dropout: keys.dropout,
            augment_dim: keys.augment_dim,
            time: keys.time,
        }
    }
}

impl DdpmPpUNetConfig {
    /// A network of a named size.
    pub fn new(size: DdpmPpSize) -> Self {
        let (channels, mult, blocks, attention) = size.sizes();
        Self {
            channels,
            channel_mult: mult.to_vec(),
            blocks,
            attention: attention.to_vec(),
            noise_mult: 2,
            filter: vec![1.0, 3.0, 3.0, 1.0],
            dropout: 0.0,
            augment_dim: 0,
            time: TimeDirection::default(),
        }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        let range = |key, good, expected, found| {
            if good { Ok(()) } else { Err(Error::OutOfRange { key, expected, found }) }
        };
        let levels = &self.channel_mult;
        range("channel_mult", !levels.is_empty(), "one number for each level", levels.len() as f64)?;
        range("channel_mult", levels.iter().all(|n| *n > 0), "positive numbers", 0.0)?;
        // Widths are multiples of `channels`, the largest being the width of two levels joined.
        let most = levels.iter().copied().max().unwrap_or(1).max(1) * 2;
        let fits = (1..=most).all(|mult| has_groups(self.channels.saturating_mul(mult)));
        let expected = "a multiple of 32, or one of 4 in a network of at most 128 channels";
        range("channels", fits, expected, self.channels as f64)?;
        range("blocks", self.blocks > 0, "at least 1", self.blocks as f64)?;
        range("noise_mult", self.noise_mult > 0, "at least 1", self.noise_mult as f64)?;
        let is_even = !self.filter.is_empty() && self.filter.len().is_multiple_of(2);
        range("filter", is_even, "an even number of numbers", self.filter.len() as f64)?;
        let sum: f64 = self.filter.iter().sum();
        range("filter", sum > 0.0 && sum.is_finite(), "numbers of a positive sum", sum)?;
        let dropout_fits = (0.0..1.0).contains(&self.dropout);
        range("dropout", dropout_fits, "a number from 0 to 1, 1 excluded", self.dropout)
    }

    /// Channels of each level.
    pub(super) fn levels(&self) -> Vec<usize> {
        self.channel_mult.iter().map(|mult| self.channels * mult).collect()
    }

    /// Numbers of the embedding.
    pub(super) fn n_embedding(&self) -> usize {
        EMBEDDING_MULT * self.channels
    }
}
