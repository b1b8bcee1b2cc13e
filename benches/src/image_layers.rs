//! Layers of a U-Net on `(64, 64, 28, 28)` images: convolution, normalization with activation, up-sampling.

use candle_core::Tensor;
use flowmap_dual::{Activation, Dual, Modulation, Result};

use crate::layer::LayerSpec;

/// Images, channels, height and width.
const IMAGES: &[usize] = &[64, 64, 28, 28];

/// A 3x3 convolution with bias.
pub const CONV: LayerSpec = LayerSpec {
    name: "conv3x3",
    inputs: &[IMAGES],
    params: &[&[64, 64, 3, 3], &[64]],
    apply: conv,
    flop: [CONV_FLOP, 2.0 * CONV_FLOP],
};
const CONV_FLOP: f64 = 2.0 * (64 * 28 * 28 * 64 * 64 * 9) as f64;

fn conv(inputs: &[Dual], params: &[Tensor]) -> Result<Dual> {
    inputs[0].conv2d_bias(&params[0], &params[1], 1, 1)
}

/// GroupNorm over 32 groups with weight and bias, then SiLU.
pub const GROUP_NORM_SILU: LayerSpec = LayerSpec {
    name: "group_norm_silu",
    inputs: &[IMAGES],
    params: &[&[64], &[64]],
    apply: group_norm_silu,
    flop: [0.0, 0.0],
};

fn group_norm_silu(inputs: &[Dual], params: &[Tensor]) -> Result<Dual> {
    let affine = Modulation::Affine { weight: &params[0], bias: Some(&params[1]) };
    inputs[0].group_norm_with(32, 1e-5, affine, Some(Activation::Silu))
}

/// Up-sampling by two.
pub const UPSAMPLE: LayerSpec =
    LayerSpec { name: "upsample2x", inputs: &[IMAGES], params: &[], apply: upsample, flop: [0.0, 0.0] };

fn upsample(inputs: &[Dual], _: &[Tensor]) -> Result<Dual> {
    inputs[0].upsample_nearest2d(2)
}
