//! A block of the transformer: attention and a perceptron, each modulated and gated by the condition (adaLN-Zero).
//!
//! shift, scale, gate (twice) = W SiLU(c) + b
//! x ← x + gate₁ ⊙ attn(LN(x) ⊙ (1 + scale₁) + shift₁),  x ← x + gate₂ ⊙ mlp(LN(x) ⊙ (1 + scale₂) + shift₂)
//!
//! Peebles, Xie 2022, arXiv:2212.09748, figure 3. The gates begin at zero.

use candle_core::Tensor;
use flowmap_dual::{Activation, Dual, Modulation};
use serde::{Deserialize, Serialize};

use super::super::Cost;
use super::super::linear::Linear;
use super::position::Rotation;
use super::{AttentionScale, DitConfig};
use crate::{Init, ParamBuilder, Result};

/// Added to the variance of a token.
pub(super) const EPS: f64 = 1e-6;
/// Added to the variance of a query or a key by PyTorch's LayerNorm.
const QK_LAYER_EPS: f64 = 1e-5;

/// Whether the queries and keys of an attention are normalized over the numbers of a head.
///
/// Henry and others 2020, arXiv:2010.04245; Dehghani and others 2023, arXiv:2302.05442.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QkNorm {
    /// As they are.
    #[default]
    None,
    /// LayerNorm with a weight and a bias.
    Layer,
    /// RMSNorm with a weight.
    Rms,
}

/// Weight and bias of a normalization.
#[derive(Clone, Debug)]
struct HeadNorm {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl HeadNorm {
    fn new(name: &str, width: usize, norm: QkNorm, builder: &mut ParamBuilder) -> Result<Option<Self>> {
        if norm == QkNorm::None {
            return Ok(None);
        }
        let weight = builder.param(&format!("{name}.weight"), width, Init::Ones)?;
        let bias = match norm {
            QkNorm::Layer => Some(builder.param(&format!("{name}.bias"), width, Init::Zeros)?),
            _ => None,
        };
        Ok(Some(Self { weight, bias }))
    }

    fn forward(&self, x: &Dual) -> Result<Dual> {
        let affine = Modulation::Affine { weight: &self.weight, bias: self.bias.as_ref() };
        Ok(match self.bias {
            Some(_) => x.layer_norm_with(QK_LAYER_EPS, affine, None)?,
            None => x.rms_norm_with(EPS, affine, None)?,
        })
    }
}

/// One block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    width: usize,
    mlp_width: usize,
    heads: usize,
    attention_scale: AttentionScale,
    modulation: Linear,
    qkv: Linear,
    q_norm: Option<HeadNorm>,
    k_norm: Option<HeadNorm>,
    proj: Linear,
    fc1: Linear,
    fc2: Linear,
}

impl Block {
    /// A block whose tensors are named below `name`.
    pub(super) fn new(name: &str, config: &DitConfig, builder: &mut ParamBuilder) -> Result<Self> {
        let DitConfig { width, heads, init, .. } = *config;
        let mlp_width = config.mlp_width();
        let below = |layer: &str| format!("{name}.{layer}");
        let modulation = below("adaLN_modulation.1");
        let mut head_norm =
            |layer: &str| HeadNorm::new(&below(layer), width / heads, config.qk_norm, builder);
        let (q_norm, k_norm) = (head_norm("attn.q_norm")?, head_norm("attn.k_norm")?);
        let mut dense = |layer: &str, d_in: usize, d_out: usize| {
            Linear::new(&below(layer), d_in, d_out, init.dense(d_in, d_out), builder)
        };
        Ok(Self {
            width,
            mlp_width,
            heads,
            attention_scale: config.attention_scale,
            q_norm,
            k_norm,
            proj: dense("attn.proj", width, width)?,
            fc1: dense("mlp.fc1", width, mlp_width)?,
            fc2: dense("mlp.fc2", mlp_width, width)?,
            modulation: Linear::new(&modulation, width, 6 * width, init.modulation(), builder)?,
            qkv: Linear::new(
                &below("attn.qkv"),
                width,
                3 * width,
                init.stacked(width, width, 3 * width),
                builder,
            )?,
        })
    }

    /// x `(B, N, width)` after the block, with SiLU(c) `(B, width)`.
    pub(super) fn forward(&self, x: &Dual, c: &Dual, rotation: Option<&Rotation>) -> Result<Dual> {
        let modulation = self.modulation.forward(c)?;
        let part = |i: usize| modulation.narrow(1, i * self.width, self.width);
        let modulated = |x: &Dual, shift: Dual, scale: Dual| {
            x.layer_norm_with(EPS, Modulation::PerSample { scale: &scale, shift: &shift }, None)
        };
        let y = self.attention(&modulated(x, part(0)?, part(1)?)?, rotation)?;
        let x = x.add_gated(&y, &part(2)?)?;
        let y = self.fc1.activated(&modulated(&x, part(3)?, part(4)?)?, Activation::GeluTanh)?;
        Ok(x.add_gated(&self.fc2.forward(&y)?, &part(5)?)?)
    }

    fn attention(&self, x: &Dual, rotation: Option<&Rotation>) -> Result<Dual> {
        let packed = self.qkv.forward(x)?;
        let (None, None, None) = (&self.q_norm, &self.k_norm, rotation) else {
            return self.proj.forward(&self.prepared_attention(&packed, rotation)?);
        };
        let packed = match self.query_factor() {
            None => packed,
            Some(factor) => {
                let queries = packed.narrow(2, 0, self.width)?.scale(factor)?;
                Dual::cat_last(&[queries, packed.narrow(2, self.width, 2 * self.width)?])?
            }
        };
        self.proj.forward(&packed.self_attention(self.heads)?)
    }

    /// What queries are multiplied by before an attention that divides by the root of a head's width.
    fn query_factor(&self) -> Option<f64> {
        self.attention_scale.of_queries(self.width / self.heads)
    }

    /// Attention whose queries and keys are normalized or rotated first.
    fn prepared_attention(&self, packed: &Dual, rotation: Option<&Rotation>) -> Result<Dual> {
        let (batch, n, d) = (packed.dims()[0], packed.dims()[1], self.width / self.heads);
        let parts = packed.reshape(&[batch, n, 3, self.heads, d])?.permute(&[2, 0, 3, 1, 4])?;
        let part = |i: usize| -> Result<Dual> {
            Ok(parts.narrow(0, i, 1)?.contiguous()?.reshape(&[batch, self.heads, n, d])?)
        };
        let prepared = |x: Dual, norm: &Option<HeadNorm>| -> Result<Dual> {
            let x = norm.as_ref().map_or(Ok(x.clone()), |norm| norm.forward(&x))?;
            rotation.map_or(Ok(x.clone()), |rotation| rotation.forward(&x))
        };
        let (q, k) = (prepared(part(0)?, &self.q_norm)?, prepared(part(1)?, &self.k_norm)?);
        let q = self.query_factor().map_or(Ok(q.clone()), |factor| q.scale(factor))?;
        let y = q.attention(&k, &part(2)?)?;
        Ok(y.transpose(1, 2)?.contiguous()?.reshape(&[batch, n, self.width])?)
    }

    /// What a plain forward pass of one sample of `n` tokens costs.
    pub(super) fn cost(&self, n: usize) -> Cost {
        let Self { width, mlp_width, .. } = *self;
        let linear = [&self.qkv, &self.proj, &self.fc1, &self.fc2].map(Linear::products);
        let products = self.modulation.products() + n * linear.iter().sum::<usize>() + 2 * n * n * width;
        // Two normalized inputs, the packed projections, attention, its projection, the perceptron, two sums.
        Cost::layer(products, 6 * width + n * (9 * width + mlp_width)).of_block(n * width)
    }
}
