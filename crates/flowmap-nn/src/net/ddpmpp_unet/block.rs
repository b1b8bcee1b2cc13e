//! A residual block of the DDPM++ U-Net, with attention where asked for.
//!
//! x ← (skip(resample x) + conv₁(dropout(silu(GN(conv₀(resample(silu(GN x))) + W e)))))/√2
//! x ← (x + proj(attention(qkv(GN x))))/√2
//!
//! Song and others 2020, arXiv:2011.13456, appendix H, in the form of EDM, Karras and others 2022, arXiv:2206.00364.
//! Attention has one head. The last layer of a branch begins near zero, so that a block begins as 1/√2.

use std::f64::consts::FRAC_1_SQRT_2;

use candle_core::Tensor;
use flowmap_dual::{Activation, Dual, Modulation};

use super::super::Cost;
use super::super::conv::Conv;
use super::super::linear::Linear;
use super::resample::{Resample, Resampler};
use crate::dropout::Dropout;
use crate::{DropoutKeys, Init, ParamBuilder, Result};

/// Added to the variance of a group.
const EPS: f64 = 1e-6;
/// Most groups of a normalization, and fewest channels of one.
const MAX_GROUPS: usize = 32;
const MIN_CHANNELS_OF_GROUP: usize = 4;
/// A window of 3x3 pixels that keeps the resolution, and one of a single pixel.
pub(super) const NEIGHBORS: (usize, usize, usize) = (3, 1, 1);
const PIXEL: (usize, usize, usize) = (1, 0, 1);
/// How weights begin, and those that end a branch.
pub(super) const INIT: Init = Init::XavierUniform(1.0);
pub(super) const INIT_LAST: Init = Init::XavierUniform(1e-5);
/// Factor of the variance of the first weights of queries, keys and values.
const QKV_VARIANCE: f64 = 0.2;

/// Whether there is a number of groups for this number of channels.
pub(super) fn has_groups(channels: usize) -> bool {
    channels >= MIN_CHANNELS_OF_GROUP && channels.is_multiple_of(n_groups(channels))
}

fn n_groups(channels: usize) -> usize {
    (channels / MIN_CHANNELS_OF_GROUP).clamp(1, MAX_GROUPS)
}

/// A normalization in groups of channels.
#[derive(Clone, Debug)]
pub(super) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
}

impl GroupNorm {
    pub(super) fn new(name: &str, channels: usize, builder: &mut ParamBuilder) -> Result<Self> {
        Ok(Self {
            weight: builder.param(&format!("{name}.weight"), channels, Init::Ones)?,
            bias: builder.param(&format!("{name}.bias"), channels, Init::Zeros)?,
        })
    }

    /// The normalized x, and the activation of that.
    pub(super) fn forward(&self, x: &Dual, activation: Option<Activation>) -> Result<Dual> {
        let affine = Modulation::Affine { weight: &self.weight, bias: Some(&self.bias) };
        Ok(x.group_norm_with(n_groups(self.weight.elem_count()), EPS, affine, activation)?)
    }

    /// The cost for `pixels` pixels.
    pub(super) fn cost(&self, pixels: usize) -> Cost {
        Cost::layer(0, pixels * self.weight.elem_count())
    }
}

/// What a block does, apart from its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A residual block.
    Plain,
    /// With attention.
    Attending,
    /// A block that takes a skip connection in addition to its input.
    Joining,
    /// A block with a skip connection and attention.
    JoiningAttending,
    /// One that changes the resolution.
    Resampling(Resample),
}

impl Role {
    /// Whether it takes a skip connection.
    fn joins(self) -> bool {
        matches!(self, Self::Joining | Self::JoiningAttending)
    }

    fn attends(self) -> bool {
        matches!(self, Self::Attending | Self::JoiningAttending)
    }

    fn resample(self) -> Resample {
        match self {
            Self::Resampling(resample) => resample,
            _ => Resample::Keep,
        }
    }
}

/// Attention over the pixels.
#[derive(Clone, Debug)]
struct Attention {
    norm2: GroupNorm,
    qkv: Conv,
    proj: Conv,
}

/// What all blocks of a network share.
pub(super) struct Shared<'a> {
    /// Numbers of the embedding.
    pub(super) n_emb: usize,
    /// The filter of changes of resolution.
    pub(super) filter: &'a [f64],
    /// The probability of dropout.
    pub(super) dropout: f64,
}

/// One block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    role: Role,
    resampler: Option<Resampler>,
    norm0: GroupNorm,
    conv0: Conv,
    affine: Linear,
    norm1: GroupNorm,
    conv1: Conv,
    skip: Option<Conv>,
    attention: Option<Attention>,
    dropout: Dropout,
}

impl Block {
    /// A block from `(c_in, c_out)` channels on images of `pixels` = (height, width), whose tensors are named below `name`.
    pub(super) fn new(
        name: &str,
        (c_in, c_out): (usize, usize),
        pixels: (usize, usize),
        role: Role,
        shared: &Shared<'_>,
        builder: &mut ParamBuilder,
    ) -> Result<Self> {
        let below = |layer: &str| format!("{name}.{layer}");
        let resampler = Resampler::new(role.resample(), shared.filter, pixels, builder)?;
        let skip = (c_in != c_out || resampler.is_some())
            .then(|| Conv::new(&below("skip"), (c_in, c_out), PIXEL, INIT, builder));
        let attention = match role.attends() {
            false => None,
            true => Some(Attention {
                norm2: GroupNorm::new(&below("norm2"), c_out, builder)?,
                qkv: Conv::new(
                    &below("qkv"),
                    (c_out, 3 * c_out),
                    PIXEL,
                    Init::XavierUniform(QKV_VARIANCE.sqrt()),
                    builder,
                )?,
                proj: Conv::new(&below("proj"), (c_out, c_out), PIXEL, INIT_LAST, builder)?,
            }),
        };
        Ok(Self {
            role,
            resampler,
            norm0: GroupNorm::new(&below("norm0"), c_in, builder)?,
            conv0: Conv::new(&below("conv0"), (c_in, c_out), NEIGHBORS, INIT, builder)?,
            affine: Linear::new(&below("affine"), shared.n_emb, c_out, INIT, builder)?,
            norm1: GroupNorm::new(&below("norm1"), c_out, builder)?,
            conv1: Conv::new(&below("conv1"), (c_out, c_out), NEIGHBORS, INIT_LAST, builder)?,
            skip: skip.transpose()?,
            attention,
            dropout: Dropout::new(name, shared.dropout),
        })
    }

    /// Whether it takes a skip connection.
    pub(super) fn joins(&self) -> bool {
        self.role.joins()
    }

    /// x `(B, C, H, W)` after the block, with the embedding e `(B, n_emb)` and the keys of dropout if it is on.
    pub(super) fn forward(&self, x: &Dual, e: &Dual, keys: Option<DropoutKeys>) -> Result<Dual> {
        let resampled = |x: &Dual| match &self.resampler {
            Some(resampler) => resampler.forward(x),
            None => Ok(x.clone()),
        };
        let silu = Some(Activation::Silu);
        let y = self.conv0.forward(&resampled(&self.norm0.forward(x, silu)?)?)?;
        let shift = self.affine.forward(e)?;
        let scale = Dual::constant(shift.primal().zeros_like()?.detach());
        let y = y.modulated(Modulation::PerSample { scale: &scale, shift: &shift }, None)?;
        let mut y = self.norm1.forward(&y, silu)?;
        if let Some(mask) = self.dropout.mask(keys, y.dims(), y.dtype(), y.device())? {
            y = y.mul(&Dual::constant(mask))?;
        }
        let y = self.conv1.forward(&y)?;
        let x = match &self.skip {
            Some(skip) => skip.forward(&resampled(x)?)?,
            None => x.clone(),
        };
        let x = x.add(&y)?.scale(FRAC_1_SQRT_2)?;
        match &self.attention {
            Some(attention) => Ok(x.add(&attention.forward(&x)?)?.scale(FRAC_1_SQRT_2)?),
            None => Ok(x),
        }
    }

    /// Pixels after the block.
    pub(super) fn pixels_after(&self, pixels: usize) -> usize {
        match self.role.resample() {
            Resample::Keep => pixels,
            Resample::Up => 4 * pixels,
            Resample::Down => pixels / 4,
        }
    }

    /// The cost of a plain forward pass for `pixels` pixels of input.
    pub(super) fn cost(&self, pixels: usize) -> Cost {
        let after = self.pixels_after(pixels);
        let mut cost = Cost::layer(self.affine.products(), self.affine.bias.elem_count());
        cost += self.norm0.cost(pixels);
        cost += self.conv0.cost(after);
        // The embedding, and the normalization after it.
        cost += self.norm1.cost(after);
        cost += self.norm1.cost(after);
        cost += self.conv1.cost(after);
        let (inputs, outputs) = (self.norm0.cost(pixels).activations, self.conv1.cost(after).activations);
        if let Some(skip) = &self.skip {
            cost += skip.cost(after);
        }
        if let Some(resampler) = &self.resampler {
            // Of both branches.
            let channels = inputs / pixels.max(1);
            cost += resampler.cost(channels);
            cost += resampler.cost(channels);
        }
        // The sum and its multiple.
        cost += Cost::layer(0, 2 * outputs);
        if let Some(attention) = &self.attention {
            cost += attention.norm2.cost(after);
            cost += attention.qkv.cost(after);
            cost += attention.proj.cost(after);
            cost += Cost::layer(2 * after * outputs, 4 * outputs);
        }
        cost.of_block(inputs)
    }
}

impl Attention {
    /// The attended values of x `(B, C, H, W)`, projected.
    fn forward(&self, x: &Dual) -> Result<Dual> {
        let dims = x.dims().to_vec();
        let (batch, channels, pixels) = (dims[0], dims[1], dims[2] * dims[3]);
        let linear = |conv: &Conv, x: &Dual| -> Result<Dual> {
            Ok(x.linear(&conv.weight.flatten_from(1)?, Some(&conv.bias))?)
        };
        let normed = self.norm2.forward(x, None)?;
        let tokens = normed.reshape(&[batch, channels, pixels])?.transpose(1, 2)?.contiguous()?;
        let attended = linear(&self.qkv, &tokens)?.self_attention(1)?;
        let y = linear(&self.proj, &attended)?;
        Ok(y.transpose(1, 2)?.contiguous()?.reshape(&dims)?)
    }
}
