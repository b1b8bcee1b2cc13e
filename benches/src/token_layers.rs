//! Layers of a transformer on `(16, 64, 384)` tokens: modulated normalization, attention, linear with activation.

use flowmap_dual::{Activation, Dual, Modulation, Result};

use crate::layer::LayerSpec;

/// Heads of the attention.
pub(crate) const HEADS: usize = 6;

/// LayerNorm without affine part, then (1 + scale) y + shift with a scale and a shift for each sample.
pub const LAYER_NORM_MODULATION: LayerSpec = LayerSpec {
    name: "layer_norm_modulation",
    inputs: &[&[16, 64, 384], &[16, 384], &[16, 384]],
    params: &[],
    apply: |inputs, _| layer_norm_modulation(&inputs[0], &inputs[1], &inputs[2]),
    flop: [0.0, 0.0],
};

/// (1 + scale) LN(x) + shift, with x `(B, N, D)`, shift and scale `(B, D)`.
pub(crate) fn layer_norm_modulation(x: &Dual, shift: &Dual, scale: &Dual) -> Result<Dual> {
    x.layer_norm_with(1e-6, Modulation::PerSample { scale, shift }, None)
}

/// Attention of 6 heads from packed queries, keys and values.
pub const ATTENTION: LayerSpec = LayerSpec {
    name: "attention",
    inputs: &[&[16, 64, 1152]],
    params: &[],
    apply: |inputs, _| inputs[0].self_attention(HEADS),
    flop: [ATTENTION_FLOP, 3.0 * ATTENTION_FLOP],
};
/// Scores and weighted values; a tangent takes both products of the product rule.
pub(crate) const ATTENTION_FLOP: f64 = 2.0 * 2.0 * (16 * 64 * 64 * 384) as f64;

/// A linear layer 384 to 1536 and GELU.
pub const LINEAR_GELU: LayerSpec = LayerSpec {
    name: "linear_gelu",
    inputs: &[&[1024, 384]],
    params: &[&[1536, 384], &[1536]],
    apply: |inputs, params| inputs[0].linear_activation(&params[0], &params[1], Activation::GeluTanh),
    flop: [LINEAR_FLOP, 2.0 * LINEAR_FLOP],
};
const LINEAR_FLOP: f64 = 2.0 * (1024 * 384 * 1536) as f64;
