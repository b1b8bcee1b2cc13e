//! A block of DiT-S: attention and a perceptron, each modulated and gated by a condition (adaLN-Zero).
//!
//! shift, scale, gate (twice) = W silu(c) + b
//! x ← x + gate₁ attn(modulate(LN x)),  x ← x + gate₂ mlp(modulate(LN x))
//!
//! Peebles, Xie 2022, arXiv:2212.09748, figure 3. 64 tokens of 384, 6 heads, ratio 4, batch 16.
//! The condition c is a direction of the derivative too, as in a network whose times are conditions.

use candle_core::Tensor;
use flowmap_dual::{Activation, Dual, Result};

use crate::layer::LayerSpec;
use crate::token_layers::{ATTENTION_FLOP, HEADS, layer_norm_modulation};

/// The block.
pub const DIT_BLOCK: LayerSpec = LayerSpec {
    name: "dit_s_block",
    inputs: &[&[16, 64, 384], &[16, 384]],
    params: &[
        &[2304, 384], // modulation
        &[2304],
        &[1152, 384], // queries, keys and values
        &[1152],
        &[384, 384], // projection
        &[384],
        &[1536, 384], // perceptron
        &[1536],
        &[384, 1536],
        &[384],
    ],
    apply: dit_block,
    flop: [LINEAR_FLOP + ATTENTION_FLOP, 2.0 * LINEAR_FLOP + 3.0 * ATTENTION_FLOP],
};
/// Of all linear layers.
const LINEAR_FLOP: f64 = 2.0 * (1024 * 384 * (1152 + 384 + 2 * 1536) + 16 * 384 * 2304) as f64;

fn dit_block(inputs: &[Dual], params: &[Tensor]) -> Result<Dual> {
    let [x, c] = [&inputs[0], &inputs[1]];
    let modulation = c.activate(Activation::Silu)?.linear(&params[0], Some(&params[1]))?;
    let part = |i: usize| modulation.narrow(1, 384 * i, 384);
    let linear = |x: &Dual, i: usize| x.linear(&params[i], Some(&params[i + 1]));

    let y = layer_norm_modulation(x, &part(0)?, &part(1)?)?;
    let y = linear(&linear(&y, 2)?.self_attention(HEADS)?, 4)?;
    let x = x.add_gated(&y, &part(2)?)?;

    let y = layer_norm_modulation(&x, &part(3)?, &part(4)?)?;
    let y = linear(&y.linear_activation(&params[6], &params[7], Activation::GeluTanh)?, 8)?;
    x.add_gated(&y, &part(5)?)
}
