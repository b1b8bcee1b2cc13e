//! The DDPM++ U-Net with two times, the network of Mean Flow on CIFAR-10.
//!
//! v_{s,t}(x) = σ · U(x/σ; e),  with the embedding e of s, t − s and of how an image was augmented
//!
//! DDPM++: Song and others 2020, arXiv:2011.13456, in the form of EDM, Karras and others 2022, arXiv:2206.00364;
//! two times as in the authors' code of Mean Flow, Geng and others 2025, arXiv:2505.13447: each has sinusoids of its own,
//! side by side, and changes of resolution are bilinear.
//! Names and layouts follow the public model, except for its buffers `resample_filter`, which are the key `filter` of
//! the config here.
//! Dropout before the second convolution of a block, in passes that are given its keys ([`crate::DropoutKeys`]).
//! There time runs from data to noise, and there are neither labels nor scales of guidance. With
//! [`TimeDirection::FromData`] the tensors make the function of that model, e of 1 − s and t − s and v = −σ · U;
//! with the default weights of it are wrapped in [`super::ReversedTime`].

mod block;
mod config;
mod embedding;
mod resample;

use std::sync::Arc;

use flowmap_dual::{Activation, Dual};

use block::{Block, GroupNorm, INIT, INIT_LAST, NEIGHBORS, Role, Shared};
pub use config::{DdpmPpSize, DdpmPpUNetConfig};
use embedding::Embedding;
use resample::Resample;

use super::conditioning::{check_shape, check_sides, image_sizes};
use super::conv::Conv;
use super::{ActivationMemory, Cost, DataSpec, NetConfig, Precision, TimeDirection};
use crate::{AverageVelocity, Condition, ParamBuilder, Result};

/// The U-Net; see the module for its formula and the names of its tensors.
#[derive(Clone, Debug)]
pub struct DdpmPpUNet {
    shape: Vec<usize>,
    sigma_data: f64,
    embedding: Embedding,
    conv_in: Conv,
    encoder: Vec<Arc<Block>>,
    decoder: Vec<Arc<Block>>,
    norm_out: GroupNorm,
    conv_out: Conv,
    activations: ActivationMemory,
    precision: Precision,
    time: TimeDirection,
}

impl DdpmPpUNet {
    /// Builds the network for images `shape` = `(C, H, W)`, conditional on `conditioning` (a number of classes, 0 for
    /// none, or with the scale of guidance as well), and data of standard deviation `sigma_data`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfRange`] for a bad config, [`crate::Error::NotAnImage`] or [`crate::Error::ImageSides`] for
    /// samples that do not fit it; what `builder` finds wrong with a checkpoint.
    pub fn new(config: &DdpmPpUNetConfig, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Self> {
        config.validate()?;
        let DataSpec { shape, conditioning, sigma_data } = *data;
        let [image_channels, height, width] = image_sizes(shape)?;
        let levels = config.levels();
        check_sides([image_channels, height, width], 1 << (levels.len() - 1))?;
        let embedding = Embedding::new(config, conditioning, builder)?;
        let shared = Shared { n_emb: config.n_embedding(), filter: &config.filter, dropout: config.dropout };

        let side = |level: usize| height >> level;
        let name = |part: &str, level: usize, layer: &str| {
            format!("{part}.{side}x{side}_{layer}", side = side(level))
        };
        let attends = |level: usize| config.attention.contains(&side(level));
        let mut c = config.channels;
        let conv_in = Conv::new(&name("enc", 0, "conv"), (image_channels, c), NEIGHBORS, INIT, builder)?;
        let (mut encoder, mut decoder, mut skips) = (Vec::new(), Vec::new(), vec![c]);
        let mut block = |name: String, sizes, level: usize, role, to: &mut Vec<_>| -> Result<()> {
            let pixels = (height >> level, width >> level);
            to.push(Arc::new(Block::new(&name, sizes, pixels, role, &shared, builder)?));
            Ok(())
        };
        for (level, &channels) in levels.iter().enumerate() {
            if level > 0 {
                let (name, role) = (name("enc", level, "down"), Role::Resampling(Resample::Down));
                block(name, (c, c), level - 1, role, &mut encoder)?;
                skips.push(c);
            }
            for i in 0..config.blocks {
                let role = if attends(level) { Role::Attending } else { Role::Plain };
                block(name("enc", level, &format!("block{i}")), (c, channels), level, role, &mut encoder)?;
                c = channels;
                skips.push(c);
            }
        }
        for (level, &channels) in levels.iter().enumerate().rev() {
            if level + 1 == levels.len() {
                block(name("dec", level, "in0"), (c, c), level, Role::Attending, &mut decoder)?;
                block(name("dec", level, "in1"), (c, c), level, Role::Plain, &mut decoder)?;
            } else {
                let (name, role) = (name("dec", level, "up"), Role::Resampling(Resample::Up));
                block(name, (c, c), level + 1, role, &mut decoder)?;
            }
            for i in 0..=config.blocks {
                let sizes = (c + skips.pop().unwrap_or_default(), channels);
                let is_last = i == config.blocks && attends(level);
                let role = if is_last { Role::JoiningAttending } else { Role::Joining };
                block(name("dec", level, &format!("block{i}")), sizes, level, role, &mut decoder)?;
                c = channels;
            }
        }
        let sizes = (c, image_channels);
        Ok(Self {
            shape: shape.to_vec(),
            sigma_data,
            embedding,
            conv_in,
            encoder,
            decoder,
            norm_out: GroupNorm::new(&name("dec", 0, "aux_norm"), c, builder)?,
            conv_out: Conv::new(&name("dec", 0, "aux_conv"), sizes, NEIGHBORS, INIT_LAST, builder)?,
            activations: builder.activations(),
            precision: builder.precision(),
            time: config.time,
        })
    }

    /// σ · U(x/σ; e), with e of these times as they are.
    fn forward(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        let keys = condition.dropout;
        let e = self.precision.inside(&self.embedding.forward(s, t, condition)?)?;
        let mut h = self.conv_in.forward(&self.precision.inside(&x.scale(self.sigma_data.recip())?)?)?;
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
                    block.forward(&Dual::cat(&[h.clone(), skip.clone()], 1)?, e, keys)
                })?,
            };
        }
        let v = self.conv_out.forward(&self.norm_out.forward(&h, Some(Activation::Silu))?)?;
        Ok(v.to_dtype(x.dtype())?.scale(self.sigma_data)?)
    }
}

impl AverageVelocity for DdpmPpUNet {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        check_shape(&self.shape, x)?;
        self.time.velocity(s, t, |start, end| self.forward(start, end, x, condition))
    }

    fn cost(&self) -> Option<Cost> {
        let mut pixels: usize = self.shape.iter().skip(1).product();
        let mut cost = self.embedding.cost();
        cost += self.conv_in.cost(pixels);
        for block in self.encoder.iter().chain(&self.decoder) {
            cost += block.cost(pixels);
            pixels = block.pixels_after(pixels);
        }
        cost += self.norm_out.cost(pixels);
        cost += self.conv_out.cost(pixels);
        Some(cost)
    }
}

impl NetConfig for DdpmPpUNetConfig {
    fn kind(&self) -> &'static str {
        "ddpmpp_unet"
    }

    fn validate(&self) -> Result<()> {
        DdpmPpUNetConfig::validate(self)
    }

    fn augment_dim(&self) -> usize {
        self.augment_dim
    }

    fn build(&self, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Box<dyn AverageVelocity>> {
        Ok(Box::new(DdpmPpUNet::new(self, data, builder)?))
    }
}
