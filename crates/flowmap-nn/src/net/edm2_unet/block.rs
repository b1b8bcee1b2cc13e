//! A residual block of the magnitude-preserving U-Net, with attention where asked for.
//!
//! encoder: x ← pixelnorm(skip(resample x)),  decoder: x ← resample x
//! y = conv₁(dropout(mp_silu(conv₀(mp_silu x) ⊙ (1 + gain W e)))),  x ← mp_sum(x or, in a decoder, skip(x), y, 0.3)
//! x ← mp_sum(x, proj(attention(x)), 0.3),  x ← x within ±256
//!
//! Queries, keys and values are divided by their magnitudes, head by head.
//! EDM2, Karras and others 2023, arXiv:2312.02696, figure 15.
//! Factors of SiLU and of sums are folded into the weights of the next layer.

use candle_core::{Device, Tensor};
use flowmap_dual::{Activation, Dual, Modulation};

use super::super::Cost;
use super::weight::{MP_SILU, MpWeight, balanced};
use crate::dropout::Dropout;
use crate::params::MAGNITUDE_EPS;
use crate::{DropoutKeys, Init, ParamBuilder, Result};

/// Balance of a residual branch, of attention too.
const RESIDUAL: f64 = 0.3;
/// Bound of the activations.
const CLIP: f64 = 256.0;

/// Which half of the network a block belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavor {
    /// Normalizes its input.
    Encoder,
    /// Takes its input as it is.
    Decoder,
    /// A decoder's that takes a skip connection.
    Joining,
}

/// What happens to the resolution first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resample {
    /// Nothing.
    Keep,
    /// The resolution is doubled.
    Up,
    /// The resolution is halved.
    Down,
}

/// The attention of a block: channels of a head, none for 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attends {
    pub(super) head_channels: usize,
}

/// Attention over the pixels.
#[derive(Clone, Debug)]
struct Attention {
    heads: usize,
    qkv: MpWeight,
    proj: MpWeight,
    /// The rows of the public layout (head, number, q k v) in ours, (q k v, head, number).
    order: Tensor,
}

/// One block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    flavor: Flavor,
    resample: Resample,
    conv0: MpWeight,
    conv1: MpWeight,
    skip: Option<MpWeight>,
    emb: MpWeight,
    emb_gain: Tensor,
    attention: Option<Attention>,
    dropout: Dropout,
}

impl Block {
    /// A block from `(c_in, c_out)` channels, conditional on `n_emb` numbers, whose tensors are named below `name`.
    pub(super) fn new(
        name: &str,
        (c_in, c_out): (usize, usize),
        n_emb: usize,
        (flavor, resample): (Flavor, Resample),
        (attends, dropout): (Attends, f64),
        builder: &mut ParamBuilder,
    ) -> Result<Self> {
        let below = |layer: &str| format!("{name}.{layer}");
        let c_first = if flavor == Flavor::Encoder { c_out } else { c_in };
        let attention = match c_out.checked_div(attends.head_channels).unwrap_or(0) {
            0 => None,
            heads => Some(Attention {
                heads,
                qkv: MpWeight::new(&below("attn_qkv.weight"), (3 * c_out, c_out, 1, 1), builder)?,
                proj: MpWeight::new(&below("attn_proj.weight"), (c_out, c_out, 1, 1), builder)?,
                order: order(heads, c_out / heads, builder.device())?,
            }),
        };
        Ok(Self {
            flavor,
            resample,
            conv0: MpWeight::new(&below("conv_res0.weight"), (c_out, c_first, 3, 3), builder)?,
            conv1: MpWeight::new(&below("conv_res1.weight"), (c_out, c_out, 3, 3), builder)?,
            skip: (c_in != c_out)
                .then(|| MpWeight::new(&below("conv_skip.weight"), (c_out, c_in, 1, 1), builder))
                .transpose()?,
            emb: MpWeight::new(&below("emb_linear.weight"), (c_out, n_emb), builder)?,
            emb_gain: builder.param(&below("emb_gain"), 1, Init::Zeros)?,
            attention,
            dropout: Dropout::new(name, dropout),
        })
    }

    /// Whether it takes a skip connection.
    pub(super) fn joins(&self) -> bool {
        self.flavor == Flavor::Joining
    }

    /// x `(B, C, H, W)` after the block, with the embedding e `(B, n_emb)` and the keys of dropout if it is on.
    pub(super) fn forward(&self, x: &Dual, e: &Dual, keys: Option<DropoutKeys>) -> Result<Dual> {
        let mut x = match self.resample {
            Resample::Keep => x.clone(),
            Resample::Up => x.upsample_nearest2d(2)?,
            Resample::Down => x.avg_pool2d(2)?,
        };
        if self.flavor == Flavor::Encoder {
            if let Some(skip) = &self.skip {
                x = x.conv2d(&skip.scaled(1.0)?, 0, 1)?;
            }
            x = x.unit_magnitude(1, MAGNITUDE_EPS)?;
        }
        let (of_x, of_y) = balanced(RESIDUAL);
        let y = x.modulated(Modulation::Identity, Some(Activation::Silu))?;
        let y = y.conv2d(&self.conv0.scaled(MP_SILU)?, 1, 1)?;
        let scale = e.linear(&self.emb.scaled(1.0)?.broadcast_mul(&self.emb_gain)?, None)?;
        let shift = Dual::constant(scale.primal().zeros_like()?.detach());
        let modulation = Modulation::PerSample { scale: &scale, shift: &shift };
        let mut y = y.modulated(modulation, Some(Activation::Silu))?;
        if let Some(mask) = self.dropout.mask(keys, y.dims(), y.dtype(), y.device())? {
            y = y.mul(&Dual::constant(mask))?;
        }
        let y = y.conv2d(&self.conv1.scaled(MP_SILU * of_y)?, 1, 1)?;
        x = match &self.skip {
            Some(skip) if self.flavor != Flavor::Encoder => x.conv2d(&skip.scaled(of_x)?, 0, 1)?.add(&y)?,
            _ => x.scaled_plus(of_x, &y)?,
        };
        if let Some(attention) = &self.attention {
            x = x.scaled_plus(of_x, &attention.forward(&x, of_y)?)?;
        }
        Ok(x.clamp(CLIP)?)
    }

    /// Pixels after the block.
    pub(super) fn pixels_after(&self, pixels: usize) -> usize {
        match self.resample {
            Resample::Keep => pixels,
            Resample::Up => 4 * pixels,
            Resample::Down => pixels / 4,
        }
    }

    /// The cost of a plain forward pass for `pixels` pixels.
    pub(super) fn cost(&self, pixels: usize) -> Cost {
        let mut cost = self.emb.cost(1);
        for weight in [Some(&self.conv0), Some(&self.conv1), self.skip.as_ref()].into_iter().flatten() {
            cost += weight.cost(pixels);
        }
        // Two activations and a sum in addition to the convolutions.
        cost += Cost::layer(0, 3 * self.conv1.cost(pixels).activations);
        if let Some(attention) = &self.attention {
            let width = attention.proj.cost(1).activations;
            cost += attention.qkv.cost(pixels);
            cost += attention.proj.cost(pixels);
            cost += Cost::layer(2 * pixels * pixels * width, 4 * pixels * width);
        }
        // What it puts out is the input of the next.
        let outputs = self.conv1.cost(pixels).activations;
        cost.of_block(outputs)
    }
}

impl Attention {
    /// The attended values of x `(B, C, H, W)`, projected and multiplied by a factor.
    fn forward(&self, x: &Dual, factor: f64) -> Result<Dual> {
        let dims = x.dims().to_vec();
        let (batch, width, pixels) = (dims[0], dims[1], dims[2] * dims[3]);
        let matrix = |weight: Tensor| weight.flatten_from(1);
        let tokens = x.reshape(&[batch, width, pixels])?.transpose(1, 2)?.contiguous()?;
        let packed = tokens.linear(&matrix(self.qkv.scaled_rows(1.0, &self.order)?)?, None)?;
        let heads = packed.reshape(&[batch, pixels, 3 * self.heads, width / self.heads])?;
        let packed = heads.unit_magnitude(3, MAGNITUDE_EPS)?.reshape(&[batch, pixels, 3 * width])?;
        let y = packed.self_attention(self.heads)?.linear(&matrix(self.proj.scaled(factor)?)?, None)?;
        Ok(y.transpose(1, 2)?.contiguous()?.reshape(&dims)?)
    }
}

/// Where the rows (q k v, head, number) are in (head, number, q k v).
fn order(heads: usize, d: usize, device: &Device) -> Result<Tensor> {
    let rows = (0..3).flat_map(|part| (0..heads * d).map(move |number| (3 * number + part) as u32));
    Ok(Tensor::from_vec(rows.collect(), 3 * heads * d, device)?)
}
