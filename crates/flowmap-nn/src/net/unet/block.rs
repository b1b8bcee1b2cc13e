//! The layers of the compact U-Net: residual blocks and attention over pixels.
//!
//! x ← x + conv₁(SiLU(GN(conv₀(SiLU(GN x))) ⊙ (1 + scale) + shift)),  scale, shift = W e + b
//! x ← x + proj(attention(GN x))
//!
//! The last layer of a branch begins at zero, so that a block begins as the identity.

use candle_core::Tensor;
use flowmap_dual::{Activation, Dual, Modulation};

use super::super::Cost;
use super::super::conv::Conv;
use super::super::linear::Linear;
use crate::{Init, ParamBuilder, Result};

/// Added to the variance of a group.
pub(super) const EPS: f64 = 1e-5;

/// A residual block that keeps the number of channels.
#[derive(Clone, Debug)]
pub(super) struct ResBlock {
    groups: usize,
    norm_weight: Tensor,
    norm_bias: Tensor,
    conv0: Conv,
    modulation: Linear,
    conv1: Conv,
}

impl ResBlock {
    /// A block of `channels` channels in groups of `group`, conditional on `n_emb` numbers.
    pub(super) fn new(
        name: &str,
        channels: usize,
        n_emb: usize,
        group: usize,
        builder: &mut ParamBuilder,
    ) -> Result<Self> {
        let below = |layer: &str| format!("{name}.{layer}");
        let (both, window) = ((channels, channels), (3, 1, 1));
        Ok(Self {
            groups: channels / group,
            norm_weight: builder.param(&below("norm.weight"), channels, Init::Ones)?,
            norm_bias: builder.param(&below("norm.bias"), channels, Init::Zeros)?,
            conv0: Conv::new(&below("conv0"), both, window, Init::LecunNormal, builder)?,
            modulation: Linear::new(&below("modulation"), n_emb, 2 * channels, Init::LecunNormal, builder)?,
            conv1: Conv::new(&below("conv1"), both, window, Init::Zeros, builder)?,
        })
    }

    /// x `(B, C, H, W)` after the block, with the embedding e `(B, n_emb)`.
    pub(super) fn forward(&self, x: &Dual, e: &Dual) -> Result<Dual> {
        let silu = Some(Activation::Silu);
        let affine = Modulation::Affine { weight: &self.norm_weight, bias: Some(&self.norm_bias) };
        let y = self.conv0.forward(&x.group_norm_with(self.groups, EPS, affine, silu)?)?;
        let modulation = self.modulation.forward(e)?;
        let channels = self.norm_weight.elem_count();
        let (scale, shift) = (modulation.narrow(1, 0, channels)?, modulation.narrow(1, channels, channels)?);
        let modulation = Modulation::PerSample { scale: &scale, shift: &shift };
        let y = self.conv1.forward(&y.group_norm_with(self.groups, EPS, modulation, silu)?)?;
        Ok(x.add(&y)?)
    }

    /// The cost of a plain forward pass for `pixels` pixels.
    pub(super) fn cost(&self, pixels: usize) -> Cost {
        let mut cost = Cost::layer(self.modulation.products(), self.modulation.bias.elem_count());
        cost += self.conv0.cost(pixels);
        cost += self.conv1.cost(pixels);
        // Two normalized inputs and the sum.
        let channels = self.norm_weight.elem_count();
        cost += Cost::layer(0, 3 * pixels * channels);
        cost.of_block(pixels * channels)
    }
}

/// Attention over all pixels.
#[derive(Clone, Debug)]
pub(super) struct Attention {
    heads: usize,
    groups: usize,
    norm_weight: Tensor,
    norm_bias: Tensor,
    qkv: Linear,
    proj: Linear,
}

impl Attention {
    pub(super) fn new(
        name: &str,
        channels: usize,
        heads: usize,
        group: usize,
        builder: &mut ParamBuilder,
    ) -> Result<Self> {
        let below = |layer: &str| format!("{name}.{layer}");
        Ok(Self {
            heads,
            groups: channels / group,
            norm_weight: builder.param(&below("norm.weight"), channels, Init::Ones)?,
            norm_bias: builder.param(&below("norm.bias"), channels, Init::Zeros)?,
            qkv: Linear::new(&below("qkv"), channels, 3 * channels, Init::LecunNormal, builder)?,
            proj: Linear::new(&below("proj"), channels, channels, Init::Zeros, builder)?,
        })
    }

    /// x `(B, C, H, W)` after the attention.
    pub(super) fn forward(&self, x: &Dual) -> Result<Dual> {
        let dims = x.dims().to_vec();
        let affine = Modulation::Affine { weight: &self.norm_weight, bias: Some(&self.norm_bias) };
        let n = x.group_norm_with(self.groups, EPS, affine, None)?;
        let tokens = n.reshape(&[dims[0], dims[1], dims[2] * dims[3]])?.transpose(1, 2)?.contiguous()?;
        let y = self.proj.forward(&self.qkv.forward(&tokens)?.self_attention(self.heads)?)?;
        Ok(x.add(&y.transpose(1, 2)?.contiguous()?.reshape(&dims)?)?)
    }

    /// The cost of a plain forward pass for `pixels` pixels.
    pub(super) fn cost(&self, pixels: usize) -> Cost {
        let channels = self.norm_weight.elem_count();
        let products = pixels * (self.qkv.products() + self.proj.products()) + 2 * pixels * pixels * channels;
        Cost::layer(products, 7 * pixels * channels).of_block(pixels * channels)
    }
}
