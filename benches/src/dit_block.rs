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
use crate::token_layers::{ATTENTION_FLOP, attention, layer_norm_modulation};

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
    let modulation = Activation::Silu.apply(c)?.linear_output(&params[0], &params[1])?;
    let part = |i: usize| modulation.narrow(1, 384 * i, 384);
    let gated = |gate: Dual, y: &Dual| gate.unsqueeze(1)?.mul(y);

    let y = layer_norm_modulation(x, &part(0)?, &part(1)?)?;
    let y = linear(&attention(&linear(&y, &params[2..4])?)?, &params[4..6])?;
    let x = x.add(&gated(part(2)?, &y)?)?;

    let y = layer_norm_modulation(&x, &part(3)?, &part(4)?)?;
    let y = rows(&y)?.linear_activation(&params[6], &params[7], Activation::GeluTanh)?;
    let y = y.linear_output(&params[8], &params[9])?.reshape(&[16, 64, 384])?;
    x.add(&gated(part(5)?, &y)?)
}

/// x Wᵀ + b for `(16, 64, in)`, as one product of all rows.
fn linear(x: &Dual, params: &[Tensor]) -> Result<Dual> {
    let out = params[1].elem_count();
    rows(x)?.linear_output(&params[0], &params[1])?.reshape(&[16, 64, out])
}

fn rows(x: &Dual) -> Result<Dual> {
    x.reshape(&[16 * 64, x.dims()[2]])
}
