//! A compact U-Net for images of 8x8 to 32x32 pixels that trains on a few CPU cores.
//!
//! v_{s,t}(x) = σ · U(x/σ; e_s, e_t),  e_s = E(s, label),  e_t = e_s + E'(s, t − s)
//!
//! Ronneberger and others 2015, arXiv:1505.04597, with the residual blocks of Ho and others 2020, arXiv:2006.11239,
//! whose second normalization is modulated by the embedding (Dhariwal and Nichol 2021, arXiv:2105.05233).
//! What makes it cheap: squares of pixels are folded into channels at once, a 1x1 convolution merges a skip connection
//! before the block that reads it, and the encoder sees the start s of a jump alone
//! (Decoupled Mean Flow, 2025, arXiv:2510.24474), so that ∂_t costs no pass of the encoder.
//! `second_time = "everywhere"` shows the encoder e_t too.

mod block;

use std::sync::Arc;

use candle_core::Tensor;
use flowmap_dual::{Activation, Dual, Modulation};
use serde::{Deserialize, Serialize};

use block::{Attention, EPS, ResBlock};

use super::conditioning::{Conditioning, check_shape, check_sides, image_sizes};
use super::conv::Conv;
use super::linear::Linear;
use super::patches::Patches;
use super::{ActivationMemory, Cost, DataSpec, NetConfig, Precision};
use crate::{AverageVelocity, Condition, Error, Init, ParamBuilder, Result};

/// Which blocks see the length t − s of a jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondTime {
    /// The layers after the encoder.
    #[default]
    Decoder,
    /// All.
    Everywhere,
}

/// Sizes of a [`UNet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UNetConfig {
    /// Sides of the squares of pixels that are folded into channels at the input.
    pub patch: usize,
    /// Channels of each level; every level has half the resolution of the one before.
    pub channels: Vec<usize>,
    /// Residual blocks of a level, in the encoder and again in the decoder.
    pub blocks: usize,
    /// Heads of the attention at the lowest level, 0 for none.
    pub heads: usize,
    /// Numbers of the embedding of times and label.
    pub embedding: usize,
    /// Number K of cosines cos(kπs) and cos(kπ(t − s)) that times are embedded by.
    pub time_features: usize,
    /// Channels of a group of GroupNorm.
    pub group: usize,
    /// Which blocks see t − s.
    pub second_time: SecondTime,
}

impl Default for UNetConfig {
    /// For 28x28 images: 14x14 with 32 channels and 7x7 with 64.
    fn default() -> Self {
        Self {
            patch: 2,
            channels: vec![32, 64],
            blocks: 1,
            heads: 4,
            embedding: 128,
            time_features: 8,
            group: 8,
            second_time: SecondTime::Decoder,
        }
    }
}

impl UNetConfig {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        let range = |key, good, expected, found| {
            if good { Ok(()) } else { Err(Error::OutOfRange { key, expected, found }) }
        };
        range("patch", self.patch > 0, "at least 1", self.patch as f64)?;
        range("group", self.group > 0, "at least 1", self.group as f64)?;
        let n_levels = self.channels.len();
        range("channels", n_levels > 0, "one number for each level", n_levels as f64)?;
        for &channels in &self.channels {
            let fits = channels > 0 && channels.is_multiple_of(self.group);
            range("channels", fits, "positive multiples of `group`", channels as f64)?;
        }
        let lowest = self.channels.last().copied().unwrap_or(1);
        let heads_fit = self.heads == 0 || lowest.is_multiple_of(self.heads);
        range("heads", heads_fit, "a number that divides the last of `channels`", self.heads as f64)?;
        range("blocks", self.blocks > 0, "at least 1", self.blocks as f64)?;
        range("embedding", self.embedding > 0, "at least 1", self.embedding as f64)
    }
}

/// One level of the encoder: what brings its input to the level's size, and its blocks.
#[derive(Clone, Debug)]
struct Down {
    conv: Conv,
    blocks: Vec<Arc<ResBlock>>,
}

/// One level of the decoder: for each block the 1x1 convolution that merges the skip connection, and the block.
#[derive(Clone, Debug)]
struct Up {
    blocks: Vec<(Conv, Arc<ResBlock>)>,
}

/// The U-Net; see the module for its formula.
///
/// Tensors: `embed.{s,t,g,label}`, `embed.out_{s,t}`, `enc.{level}.{conv,block{i}}`, `mid.{block,attn}`,
/// `dec.{level}.{merge{i},block{i}}`, `out.{norm,conv}`.
#[derive(Clone, Debug)]
pub struct UNet {
    config: UNetConfig,
    shape: Vec<usize>,
    conditioning: Conditioning,
    sigma_data: f64,
    patches: Patches,
    /// kπ, `(1, K)`.
    frequencies: Tensor,
    embed_s: Linear,
    embed_t: Linear,
    embed_g: Option<Linear>,
    label_table: Option<Tensor>,
    out_s: Linear,
    out_t: Linear,
    activations: ActivationMemory,
    precision: Precision,
    encoder: Vec<Down>,
    middle: Arc<ResBlock>,
    attention: Option<Arc<Attention>>,
    decoder: Vec<Up>,
    out_weight: Tensor,
    out_bias: Tensor,
    out_conv: Conv,
}

impl UNet {
    /// Builds the network for images `shape` = `(C, H, W)`, conditional on `conditioning` (a number of classes, 0 for
    /// none, or with the scale of guidance as well), and data of standard deviation `sigma_data`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a bad config, [`Error::NotAnImage`] or [`Error::ImageSides`] for samples that do not
    /// fit it; what `builder` finds wrong with a checkpoint.
    pub fn new(config: &UNetConfig, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Self> {
        config.validate()?;
        let DataSpec { shape, conditioning, sigma_data } = *data;
        let sizes = image_sizes(shape)?;
        let levels = &config.channels;
        check_sides(sizes, config.patch << (levels.len() - 1))?;
        let patches = Patches::new(sizes, config.patch);
        let (n_emb, n_features) = (config.embedding, 1 + config.time_features);
        let res_block = |name: &str, channels: usize, builder: &mut ParamBuilder| {
            ResBlock::new(name, channels, n_emb, config.group, builder).map(Arc::new)
        };
        let embed = |name: &str, builder: &mut ParamBuilder| {
            Linear::new(&format!("embed.{name}"), n_features, n_emb, Init::LecunNormal, builder)
        };
        let out = |name: &str, builder: &mut ParamBuilder| {
            Linear::new(&format!("embed.{name}"), n_emb, n_emb, Init::LecunNormal, builder)
        };
        let label_table = match conditioning.n_classes() {
            0 => None,
            n => Some(builder.param("embed.label.weight", (n + 1, n_emb), Init::Normal(1.0))?),
        };
        let embed_g = conditioning.takes_guidance().then(|| embed("g", builder)).transpose()?;
        let frequencies = (1..=config.time_features).map(|k| std::f64::consts::PI * k as f64).collect();
        let frequencies = builder.constant((1, config.time_features), frequencies)?;

        let mut encoder = Vec::new();
        let (mut c, mut skips) = (patches.len(), Vec::new());
        for (level, &channels) in levels.iter().enumerate() {
            let name = format!("enc.{level}");
            // 3x3 at the input, 2x2 with stride 2 from level to level.
            let (side, pad, stride) = if level == 0 { (3, 1, 1) } else { (2, 0, 2) };
            let (name_of_conv, window) = (format!("{name}.conv"), (side, pad, stride));
            let conv = Conv::new(&name_of_conv, (c, channels), window, Init::LecunNormal, builder)?;
            c = channels;
            let blocks = (0..config.blocks)
                .map(|i| res_block(&format!("{name}.block{i}"), c, builder))
                .collect::<Result<_>>()?;
            skips.extend(std::iter::repeat_n(c, config.blocks));
            encoder.push(Down { conv, blocks });
        }
        let middle = res_block("mid.block", c, builder)?;
        let attention = match config.heads {
            0 => None,
            heads => Some(Arc::new(Attention::new("mid.attn", c, heads, config.group, builder)?)),
        };
        let mut decoder = Vec::new();
        for (level, &channels) in levels.iter().enumerate().rev() {
            let mut blocks = Vec::new();
            for i in 0..config.blocks {
                let name = |layer: &str| format!("dec.{level}.{layer}{i}");
                let c_in = c + skips.pop().unwrap_or_default();
                let (sizes, window) = ((c_in, channels), (1, 0, 1));
                let merge = Conv::new(&name("merge"), sizes, window, Init::LecunNormal, builder)?;
                blocks.push((merge, res_block(&name("block"), channels, builder)?));
                c = channels;
            }
            decoder.push(Up { blocks });
        }
        Ok(Self {
            embed_s: embed("s", builder)?,
            embed_t: embed("t", builder)?,
            embed_g,
            label_table,
            out_s: out("out_s", builder)?,
            out_t: out("out_t", builder)?,
            activations: builder.activations(),
            precision: builder.precision(),
            encoder,
            middle,
            attention,
            decoder,
            out_weight: builder.param("out.norm.weight", c, Init::Ones)?,
            out_bias: builder.param("out.norm.bias", c, Init::Zeros)?,
            out_conv: Conv::new("out.conv", (c, patches.len()), (3, 1, 1), Init::Zeros, builder)?,
            config: config.clone(),
            shape: shape.to_vec(),
            conditioning,
            sigma_data,
            patches,
            frequencies,
        })
    }

    /// The embeddings that the encoder and all that follows it see, each `(B, n_emb)` and SiLU of it.
    fn embeddings(&self, s: &Dual, t: &Dual, condition: Condition<'_>) -> Result<(Dual, Dual)> {
        let features = |time: &Dual| -> Result<Dual> {
            let time = time.column(2)?;
            let cosines = time.mul(&Dual::from(&self.frequencies))?.cos()?;
            Ok(Dual::cat_last(&[time, cosines])?)
        };
        let of_s = features(s)?;
        let mut start = self.embed_s.forward(&of_s)?;
        if let (Some(linear), Some(g)) = (&self.embed_g, self.conditioning.guidance(condition)?) {
            start = start.add(&linear.forward(&features(&g)?)?)?;
        }
        if let (Some(table), Some(labels)) = (&self.label_table, self.conditioning.labels(condition)?) {
            start = start.add(&Dual::constant(table.index_select(labels, 0)?))?;
        }
        let both = start.add(&self.embed_t.forward(&features(&t.sub(s)?)?)?)?;
        let out =
            |linear: &Linear, e: &Dual| linear.activated(&e.activate(Activation::Silu)?, Activation::Silu);
        let both = out(&self.out_t, &both)?;
        match self.config.second_time {
            SecondTime::Everywhere => Ok((out(&self.out_s, &start)?.add(&both)?, both)),
            SecondTime::Decoder => Ok((out(&self.out_s, &start)?, both)),
        }
    }
}

impl AverageVelocity for UNet {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        check_shape(&self.shape, x)?;
        let (e_s, e_t) = self.embeddings(s, t, condition)?;
        let (e_s, e_t) = (self.precision.inside(&e_s)?, self.precision.inside(&e_t)?);
        let mut h = self.precision.inside(&self.patches.folded(&x.scale(self.sigma_data.recip())?)?)?;
        let of_block = |block: &Arc<ResBlock>, h: &Dual, e: &Dual| {
            let block = block.clone();
            self.activations.run([h, e], move |[h, e]| block.forward(h, e))
        };
        let mut skips = Vec::new();
        for down in &self.encoder {
            h = down.conv.forward(&h)?;
            for block in &down.blocks {
                h = of_block(block, &h, &e_s)?;
                skips.push(h.clone());
            }
        }
        h = of_block(&self.middle, &h, &e_t)?;
        if let Some(attention) = self.attention.clone() {
            h = self.activations.run([&h], move |[h]| attention.forward(h))?;
        }
        for (i, up) in self.decoder.iter().enumerate() {
            if i > 0 {
                h = h.upsample_nearest2d(2)?;
            }
            for (merge, block) in &up.blocks {
                let (merge, block) = (merge.clone(), block.clone());
                h = match &skips.pop() {
                    None => self
                        .activations
                        .run([&h, &e_t], move |[h, e]| block.forward(&merge.forward(h)?, e))?,
                    Some(skip) => self.activations.run([&h, skip, &e_t], move |[h, skip, e]| {
                        block.forward(&merge.forward(&Dual::cat(&[h.clone(), skip.clone()], 1)?)?, e)
                    })?,
                };
            }
        }
        let affine = Modulation::Affine { weight: &self.out_weight, bias: Some(&self.out_bias) };
        let groups = self.out_weight.elem_count() / self.config.group;
        let h = h.group_norm_with(groups, EPS, affine, Some(Activation::Silu))?;
        let v = self.out_conv.forward(&h)?.to_dtype(x.dtype())?;
        Ok(self.patches.unfolded(&v)?.scale(self.sigma_data)?)
    }

    fn cost(&self) -> Option<Cost> {
        let mut cost = Cost::default();
        for linear in [Some(&self.embed_s), Some(&self.embed_t), self.embed_g.as_ref()].into_iter().flatten()
        {
            cost += Cost::layer(linear.products(), self.config.embedding);
        }
        for linear in [&self.out_s, &self.out_t] {
            cost += Cost::layer(linear.products(), 2 * self.config.embedding);
        }
        let mut pixels = self.patches.n();
        for (level, down) in self.encoder.iter().enumerate() {
            pixels /= if level == 0 { 1 } else { 4 };
            cost += down.conv.cost(pixels);
            down.blocks.iter().for_each(|block| cost += block.cost(pixels));
        }
        cost += self.middle.cost(pixels);
        self.attention.iter().for_each(|attention| cost += attention.cost(pixels));
        for (i, up) in self.decoder.iter().enumerate() {
            pixels *= if i == 0 { 1 } else { 4 };
            for (merge, block) in &up.blocks {
                let mut both = merge.cost(pixels);
                both += block.cost(pixels);
                cost += both.of_block(merge.cost(pixels).activations);
            }
        }
        cost += self.out_conv.cost(pixels);
        cost += Cost::layer(0, pixels * self.out_weight.elem_count());
        Some(cost)
    }
}

impl NetConfig for UNetConfig {
    fn kind(&self) -> &'static str {
        "unet"
    }

    fn validate(&self) -> Result<()> {
        UNetConfig::validate(self)
    }

    fn build(&self, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Box<dyn AverageVelocity>> {
        Ok(Box::new(UNet::new(self, data, builder)?))
    }
}
