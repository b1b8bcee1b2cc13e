//! The magnitude-preserving U-Net (EDM2, configuration G) with two times.
//!
//! v_{s,t}(x) = σ · U(x/σ; e),  e = mp_silu(mp_sum(mp_sum(W_s p(s), W_t p(t − s)), W_y label))
//!
//! Karras and others 2023 (EDM2), arXiv:2312.02696; two times as in the official code of Boffi, Albergo,
//! Vanden-Eijnden 2025, arXiv:2505.18825: sinusoids p instead of random Fourier features,
//! the length of the jump as the second time, and no preconditioning but σ.
//! Names and layouts follow the public models, below `unet.`; the label for "none" adds nothing.
//! Rows of weights are divided by their magnitude in every pass, and by [`crate::Params::project`] after each update.
//! Dropout as there, before the second convolution of a block, in passes that are given its keys ([`crate::DropoutKeys`]).
//! Differs from the official code: a network that takes the scale w of guidance adds
//! W_g p(1 − 1/w) by `emb_g_linear`, of our own.

mod block;
mod weight;

use std::f64::consts::SQRT_2;
use std::sync::Arc;

use candle_core::Tensor;
use flowmap_dual::{Activation, Dual};
use serde::{Deserialize, Serialize};

use block::{Attends, Block, Flavor, Resample};
use weight::{MP_SILU, MpWeight, mp_cat, mp_sum};

use super::conditioning::{Conditioning, check_shape, check_sides, image_sizes};
use super::time_embedding::Sinusoids;
use super::{ActivationMemory, Cost, DataSpec, NetConfig, Precision};
use crate::{AverageVelocity, Condition, Error, Init, ParamBuilder, Result};

/// Balance of the two halves of every joint embedding and of a skip connection.
const BALANCE: f64 = 0.5;

/// Sizes of the papers, and small ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edm2Size {
    /// 54.7 million parameters for 32x32 images, arXiv:2505.18825, table 2.
    Cifar10,
    /// 124 million for 64x64 images, arXiv:2505.18825, table 2.
    Celeba64,
    /// As `celeba64`.
    Afhq64,
    /// 1.7 million for 16x16 to 32x32 images: three levels of 32, 64 and 64 channels.
    Small,
    /// 0.7 million for 8x8 to 32x32 images: two levels of 32 and 64 channels.
    Tiny,
}

impl Edm2Size {
    /// Base channels, their multiples by level, blocks of a level, and the resolutions with attention.
    fn sizes(self) -> (usize, &'static [usize], usize, &'static [usize]) {
        match self {
            Self::Cifar10 => (128, &[2, 2, 2], 4, &[16]),
            Self::Celeba64 | Self::Afhq64 => (128, &[1, 2, 3, 4], 3, &[16, 8]),
            Self::Small => (32, &[1, 2, 2], 2, &[8]),
            Self::Tiny => (32, &[1, 2], 1, &[8]),
        }
    }
}

/// Sizes of an [`Edm2UNet`].
///
/// In a file `size` stands for what is left out; without it that is `small`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Keys")]
pub struct Edm2UNetConfig {
    /// Base number of channels, and of sines and cosines of a time over the first of `channel_mult`.
    pub channels: usize,
    /// Channels of each level, in multiples of `channels`; every level has half the resolution of the one before.
    pub channel_mult: Vec<usize>,
    /// Residual blocks of a level.
    pub blocks: usize,
    /// Resolutions whose blocks have attention.
    pub attention: Vec<usize>,
    /// Channels of a head of attention.
    pub head_channels: usize,
    /// Probability that an activation is dropped in a training pass on the diagonal.
    pub dropout: f64,
}

/// The keys of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    size: Option<Edm2Size>,
    channels: Option<usize>,
    channel_mult: Option<Vec<usize>>,
    blocks: Option<usize>,
    attention: Option<Vec<usize>>,
    #[serde(default = "head_channels")]
    head_channels: usize,
    #[serde(default)]
    dropout: f64,
}

fn head_channels() -> usize {
    64
}

impl From<Keys> for Edm2UNetConfig {
    fn from(keys: Keys) -> Self {
        let size = Self::new(keys.size.unwrap_or(Edm2Size::Small));
        Self {
            channels: keys.channels.unwrap_or(size.channels),
            channel_mult: keys.channel_mult.unwrap_or(size.channel_mult),
            blocks: keys.blocks.unwrap_or(size.blocks),
            attention: keys.attention.unwrap_or(size.attention),
            head_channels: keys.head_channels,
            dropout: keys.dropout,
        }
    }
}

impl Edm2UNetConfig {
    /// A network of a named size.
    pub fn new(size: Edm2Size) -> Self {
        let (channels, mult, blocks, attention) = size.sizes();
        Self {
            channels,
            channel_mult: mult.to_vec(),
            blocks,
            attention: attention.to_vec(),
            head_channels: head_channels(),
            dropout: 0.0,
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
        let even = self.channels > 0 && self.channels.is_multiple_of(2);
        range("channels", even, "a positive even number", self.channels as f64)?;
        let levels = &self.channel_mult;
        range("channel_mult", !levels.is_empty(), "one number for each level", levels.len() as f64)?;
        range("channel_mult", levels.iter().all(|n| *n > 0), "positive numbers", 0.0)?;
        range("blocks", self.blocks > 0, "at least 1", self.blocks as f64)?;
        range(
            "dropout",
            (0.0..1.0).contains(&self.dropout),
            "a number from 0 to 1, 1 excluded",
            self.dropout,
        )?;
        let fits = |width: usize| width < self.head_channels || width.is_multiple_of(self.head_channels);
        let heads_fit = self.head_channels > 0 && levels.iter().all(|mult| fits(self.channels * mult));
        range("head_channels", heads_fit, "a number that divides all channels", self.head_channels as f64)
    }

    /// Channels of each level.
    fn levels(&self) -> Vec<usize> {
        self.channel_mult.iter().map(|mult| self.channels * mult).collect()
    }
}

/// The U-Net; see the module for its formula and the names of its tensors.
#[derive(Clone, Debug)]
pub struct Edm2UNet {
    shape: Vec<usize>,
    conditioning: Conditioning,
    sigma_data: f64,
    features: Sinusoids,
    emb_s: MpWeight,
    emb_t: MpWeight,
    emb_g: Option<MpWeight>,
    emb_label: Option<MpWeight>,
    conv_in: MpWeight,
    activations: ActivationMemory,
    precision: Precision,
    encoder: Vec<Arc<Block>>,
    decoder: Vec<Arc<Block>>,
    conv_out: MpWeight,
    out_gain: Tensor,
}

impl Edm2UNet {
    /// Builds the network for images `shape` = `(C, R, R)`, conditional on `conditioning` (a number of classes, 0 for
    /// none, or with the scale of guidance as well), and data of standard deviation `sigma_data`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a bad config, [`Error::NotAnImage`] or [`Error::ImageSides`] for samples that do not
    /// fit it; what `builder` finds wrong with a checkpoint.
    pub fn new(config: &Edm2UNetConfig, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Self> {
        config.validate()?;
        let DataSpec { shape, conditioning, sigma_data } = *data;
        let [image_channels, height, width] = image_sizes(shape)?;
        let levels = config.levels();
        check_sides([image_channels, height, width], 1 << (levels.len() - 1))?;
        let n_features = levels[0];
        let n_emb = levels.iter().copied().max().unwrap_or(n_features);
        let linear = |name: &str, d_in: usize, builder: &mut ParamBuilder| {
            MpWeight::new(&format!("unet.{name}.weight"), (n_emb, d_in), builder)
        };
        let (emb_s, emb_t) =
            (linear("emb_s_linear", n_features, builder)?, linear("emb_t_linear", n_features, builder)?);
        let emb_g = conditioning.takes_guidance().then(|| linear("emb_g_linear", n_features, builder));
        let emb_label = match conditioning.n_classes() {
            0 => None,
            n => Some(linear("emb_label", n, builder)?),
        };

        let side = |level: usize| height >> level;
        let name = |part: &str, level: usize, layer: &str| {
            format!("unet.{part}.{side}x{side}_{layer}", side = side(level))
        };
        let plan = |attends: bool| Attends { head_channels: if attends { config.head_channels } else { 0 } };
        let attends = |level: usize| plan(config.attention.contains(&side(level)));
        let kernel = (levels[0], image_channels + 1, 3, 3);
        let conv_in = MpWeight::new(&format!("{}.weight", name("enc", 0, "conv")), kernel, builder)?;
        let (mut encoder, mut decoder) = (Vec::new(), Vec::new());
        let (mut c, mut skips) = (levels[0], vec![levels[0]]);
        let mut block = |name: String, sizes, flavor, resample, attends, to: &mut Vec<_>| -> Result<()> {
            to.push(Arc::new(Block::new(
                &name,
                sizes,
                n_emb,
                (flavor, resample),
                (attends, config.dropout),
                builder,
            )?));
            Ok(())
        };
        for (level, &channels) in levels.iter().enumerate() {
            if level > 0 {
                let (name, resample) = (name("enc", level, "down"), Resample::Down);
                block(name, (c, c), Flavor::Encoder, resample, plan(false), &mut encoder)?;
                skips.push(c);
            }
            for i in 0..config.blocks {
                let (name, sizes) = (name("enc", level, &format!("block{i}")), (c, channels));
                block(name, sizes, Flavor::Encoder, Resample::Keep, attends(level), &mut encoder)?;
                c = channels;
                skips.push(c);
            }
        }
        for (level, &channels) in levels.iter().enumerate().rev() {
            if level + 1 == levels.len() {
                for (layer, attends) in [("in0", plan(true)), ("in1", plan(false))] {
                    let name = name("dec", level, layer);
                    block(name, (c, c), Flavor::Decoder, Resample::Keep, attends, &mut decoder)?;
                }
            } else {
                let (name, resample) = (name("dec", level, "up"), Resample::Up);
                block(name, (c, c), Flavor::Decoder, resample, plan(false), &mut decoder)?;
            }
            for i in 0..=config.blocks {
                let skip = skips.pop().unwrap_or_default();
                let (name, sizes) = (name("dec", level, &format!("block{i}")), (c + skip, channels));
                block(name, sizes, Flavor::Joining, Resample::Keep, attends(level), &mut decoder)?;
                c = channels;
            }
        }
        Ok(Self {
            shape: shape.to_vec(),
            conditioning,
            sigma_data,
            features: Sinusoids::new(n_features, 1.0, builder)?,
            emb_s,
            emb_t,
            emb_g: emb_g.transpose()?,
            emb_label,
            conv_in,
            activations: builder.activations(),
            precision: builder.precision(),
            encoder,
            decoder,
            conv_out: MpWeight::new("unet.out_conv.weight", (image_channels, c, 3, 3), builder)?,
            out_gain: builder.param("unet.out_gain", 1, Init::Zeros)?,
        })
    }

    /// e, `(B, C)`.
    fn embedding(&self, s: &Dual, t: &Dual, condition: Condition<'_>) -> Result<Dual> {
        let embed = |weight: &MpWeight, time: &Dual| -> Result<Dual> {
            // The features have magnitude one: √2 [ cos, sin ].
            Ok(self.features.forward(time)?.linear(&weight.scaled(SQRT_2)?, None)?)
        };
        let mut e = mp_sum(&embed(&self.emb_s, s)?, &embed(&self.emb_t, &t.sub(s)?)?, BALANCE)?;
        if let (Some(weight), Some(g)) = (&self.emb_g, self.conditioning.guidance(condition)?) {
            e = mp_sum(&e, &embed(weight, &g)?, BALANCE)?;
        }
        if let (Some(weight), Some(labels)) = (&self.emb_label, self.conditioning.labels(condition)?) {
            let columns = weight.unit()?.t()?; // one-hot labels of magnitude one select columns
            let none = columns.narrow(0, 0, 1)?.zeros_like()?;
            let table = Tensor::cat(&[columns, none], 0)?;
            e = mp_sum(&e, &Dual::constant(table.index_select(labels, 0)?), BALANCE)?;
        }
        Ok(e.activate(Activation::Silu)?.scale(MP_SILU)?)
    }
}

impl AverageVelocity for Edm2UNet {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        check_shape(&self.shape, x)?;
        let keys = condition.dropout;
        let (e, dtype) = (self.precision.inside(&self.embedding(s, t, condition)?)?, x.dtype());
        let x = self.precision.inside(&x.scale(self.sigma_data.recip())?)?;
        let ones = Dual::constant(x.primal().narrow(1, 0, 1)?.ones_like()?.detach());
        let mut h = Dual::cat(&[x, ones], 1)?.conv2d(&self.conv_in.scaled(1.0)?, 1, 1)?;
        let mut skips = vec![h.clone()];
        for block in &self.encoder {
            let block = block.clone();
            h = self.activations.run([&h, &e], move |[h, e]| block.forward(h, e, keys))?;
            skips.push(h.clone());
        }
        for block in &self.decoder {
            let (block, skip) = (block.clone(), skips.pop_if(|_| block.joins()));
            h = match &skip {
                None => self.activations.run([&h, &e], move |[h, e]| block.forward(h, e, keys))?,
                Some(skip) => self.activations.run([&h, skip, &e], move |[h, skip, e]| {
                    block.forward(&mp_cat(h, skip, BALANCE)?, e, keys)
                })?,
            };
        }
        let kernel = self.conv_out.scaled(self.sigma_data)?.broadcast_mul(&self.out_gain)?;
        Ok(h.conv2d(&kernel, 1, 1)?.to_dtype(dtype)?)
    }

    fn cost(&self) -> Option<Cost> {
        let mut pixels: usize = self.shape.iter().skip(1).product();
        let mut cost = self.conv_in.cost(pixels);
        let embeddings = [Some(&self.emb_s), Some(&self.emb_t), self.emb_g.as_ref()];
        embeddings.into_iter().flatten().for_each(|weight| cost += weight.cost(1));
        for block in self.encoder.iter().chain(&self.decoder) {
            pixels = block.pixels_after(pixels);
            cost += block.cost(pixels);
        }
        cost += self.conv_out.cost(pixels);
        Some(cost)
    }
}

impl NetConfig for Edm2UNetConfig {
    fn kind(&self) -> &'static str {
        "edm2_unet"
    }

    fn validate(&self) -> Result<()> {
        Edm2UNetConfig::validate(self)
    }

    fn build(&self, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Box<dyn AverageVelocity>> {
        Ok(Box::new(Edm2UNet::new(self, data, builder)?))
    }
}
