//! The diffusion transformer (DiT, SiT) with two times.
//!
//! v_{s,t}(x) = σ · T(x/σ; c),  c = E_1(s) + E_2(t − s) + Y(label)
//!
//! Peebles and Xie 2022, arXiv:2212.09748 (the network, adaLN-Zero, the sizes); the second embedding of the length of
//! the jump as in Mean Flow, Geng and others 2025, arXiv:2505.13447.
//! Names and layouts follow the public PyTorch models: `x_embedder.proj`, `t_embedder.mlp` of s, `r_embedder.mlp`
//! of t − s or its logarithm ([`JumpInput`]), `y_embedder.embedding_table`, `blocks.{i}`, `final_layer`.
//! [`AttentionScale`] and [`DitInit`] are what the authors' code of shortcut models has otherwise.
//! Differs from DiT: no learned variance. A network that takes the scale w of guidance embeds 1 − 1/w
//! through `g_embedder.mlp`, as improved Mean Flow does, arXiv:2512.02012.

mod block;
mod jump;
mod position;
mod variant;

use std::sync::Arc;

use candle_core::Tensor;
use flowmap_dual::{Activation, Dual, Modulation};
use serde::{Deserialize, Serialize};

pub use block::QkNorm;
use block::{Block, EPS};
pub use jump::JumpInput;
pub use position::Positions;
use position::Rotation;
pub use variant::{AttentionScale, DitInit};

use super::conditioning::{Conditioning, check_shape, check_sides, image_sizes};
use super::linear::Linear;
use super::patches::Patches;
use super::time_embedding::{Sinusoids, TimeEmbedder};
use super::{ActivationMemory, Cost, DataSpec, NetConfig, Precision, TimeDirection};
use crate::{AverageVelocity, Condition, Error, Init, ParamBuilder, Result};

/// Standard deviation of the embeddings of labels at first.
const LABEL_STD: f64 = 0.02;

/// The sizes of the paper, table 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DitSize {
    /// 12 blocks of width 384.
    S,
    /// 12 blocks of width 768.
    B,
    /// 24 blocks of width 1024.
    L,
    /// 28 blocks of width 1152.
    Xl,
}

impl DitSize {
    /// Depth, width and heads.
    pub fn sizes(self) -> (usize, usize, usize) {
        match self {
            Self::S => (12, 384, 6),
            Self::B => (12, 768, 12),
            Self::L => (24, 1024, 16),
            Self::Xl => (28, 1152, 16),
        }
    }
}

/// Sizes and options of a [`Dit`].
///
/// In a file `size` stands for the depth, the width and the heads that are left out; without it `s` does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Keys")]
pub struct DitConfig {
    /// Side of the square patches that become tokens, in pixels.
    pub patch: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Numbers of a token.
    pub width: usize,
    /// Heads of an attention.
    pub heads: usize,
    /// Width of the perceptron of a block over the width of a token.
    pub mlp_ratio: f64,
    /// Where tokens learn their place.
    pub positions: Positions,
    /// Whether queries and keys are normalized.
    pub qk_norm: QkNorm,
    /// Number of sines and cosines of a time.
    pub time_features: usize,
    /// What times are multiplied by before their sines are taken.
    pub time_scale: f64,
    /// What the second embedding is told of a jump.
    pub jump: JumpInput,
    /// What attention divides by.
    pub attention_scale: AttentionScale,
    /// How layers begin.
    pub init: DitInit,
    /// Which way the time runs that the network is given.
    pub time: TimeDirection,
}

/// The keys of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    size: Option<DitSize>,
    #[serde(default = "patch")]
    patch: usize,
    depth: Option<usize>,
    width: Option<usize>,
    heads: Option<usize>,
    #[serde(default = "mlp_ratio")]
    mlp_ratio: f64,
    #[serde(default)]
    positions: Positions,
    #[serde(default)]
    qk_norm: QkNorm,
    #[serde(default = "time_features")]
    time_features: usize,
    #[serde(default = "time_scale")]
    time_scale: f64,
    #[serde(default)]
    jump: JumpInput,
    #[serde(default)]
    attention_scale: AttentionScale,
    #[serde(default)]
    init: DitInit,
    #[serde(default)]
    time: TimeDirection,
}

fn patch() -> usize {
    2
}
fn mlp_ratio() -> f64 {
    4.0
}
fn time_features() -> usize {
    256
}
fn time_scale() -> f64 {
    1.0
}

impl From<Keys> for DitConfig {
    fn from(keys: Keys) -> Self {
        let (depth, width, heads) = keys.size.unwrap_or(DitSize::S).sizes();
        Self {
            patch: keys.patch,
            depth: keys.depth.unwrap_or(depth),
            width: keys.width.unwrap_or(width),
            heads: keys.heads.unwrap_or(heads),
            mlp_ratio: keys.mlp_ratio,
            positions: keys.positions,
            qk_norm: keys.qk_norm,
            time_features: keys.time_features,
            time_scale: keys.time_scale,
            jump: keys.jump,
            attention_scale: keys.attention_scale,
            init: keys.init,
            time: keys.time,
        }
    }
}

impl DitConfig {
    /// A size of the paper with patches of a side, such as B/4.
    pub fn new(size: DitSize, patch: usize) -> Self {
        let (depth, width, heads) = size.sizes();
        Self {
            patch,
            depth,
            width,
            heads,
            mlp_ratio: mlp_ratio(),
            positions: Positions::default(),
            qk_norm: QkNorm::default(),
            time_features: time_features(),
            time_scale: time_scale(),
            jump: JumpInput::default(),
            attention_scale: AttentionScale::default(),
            init: DitInit::default(),
            time: TimeDirection::default(),
        }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        let range = |key, good, expected, found| {
            if good { Ok(()) } else { Err(Error::OutOfRange { key, expected, found }) }
        };
        range("patch", self.patch > 0, "at least 1", self.patch as f64)?;
        range("depth", self.depth > 0, "at least 1", self.depth as f64)?;
        let heads_fit = self.heads > 0 && self.width.is_multiple_of(self.heads);
        range("heads", heads_fit, "a number that divides `width`", self.heads as f64)?;
        let parts = match self.positions {
            Positions::Sincos => self.width,
            Positions::Rope => self.width / self.heads,
        };
        let width_fits = parts > 0 && parts.is_multiple_of(4);
        range("width", width_fits, "a multiple of 4, with `rope` of 4 for each head", self.width as f64)?;
        let ratio_fits = self.mlp_ratio.is_finite() && self.mlp_width() > 0;
        range("mlp_ratio", ratio_fits, "a positive number", self.mlp_ratio)?;
        let features_fit = self.time_features > 0 && self.time_features.is_multiple_of(2);
        range("time_features", features_fit, "a positive even number", self.time_features as f64)?;
        let scale_fits = self.time_scale > 0.0 && self.time_scale.is_finite();
        range("time_scale", scale_fits, "a positive number", self.time_scale)
    }

    /// Width of the perceptron of a block.
    fn mlp_width(&self) -> usize {
        (self.width as f64 * self.mlp_ratio).round() as usize
    }
}

/// The transformer; see the module for its formula and the names of its tensors.
#[derive(Clone, Debug)]
pub struct Dit {
    config: DitConfig,
    shape: Vec<usize>,
    conditioning: Conditioning,
    sigma_data: f64,
    patches: Patches,
    features: Sinusoids,
    x_weight: Tensor,
    x_bias: Tensor,
    pos_embed: Option<Tensor>,
    rotation: Option<Rotation>,
    t_embedder: TimeEmbedder,
    r_embedder: TimeEmbedder,
    g_embedder: Option<TimeEmbedder>,
    label_table: Option<Tensor>,
    activations: ActivationMemory,
    precision: Precision,
    blocks: Vec<Arc<Block>>,
    final_modulation: Linear,
    final_linear: Linear,
}

impl Dit {
    /// Builds the network for images `shape` = `(C, H, W)`, conditional on `conditioning` (a number of classes, 0 for
    /// none, or with the scale of guidance as well), and data of standard deviation `sigma_data`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a bad config, [`Error::NotAnImage`] or [`Error::ImageSides`] for samples that do not
    /// fit it; what `builder` finds wrong with a checkpoint.
    pub fn new(config: &DitConfig, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Self> {
        config.validate()?;
        let DataSpec { shape, conditioning, sigma_data } = *data;
        let sizes = image_sizes(shape)?;
        check_sides(sizes, config.patch)?;
        let patches = Patches::new(sizes, config.patch);
        let (width, side, n) = (config.width, config.patch, config.time_features);
        let embedder = |name: &str, builder: &mut ParamBuilder| TimeEmbedder::new(name, n, width, builder);
        let kernel = (width, sizes[0], side, side);
        let (pos_embed, rotation) = match config.positions {
            Positions::Sincos => {
                let values = || position::sincos(width, patches.rows, patches.columns);
                (Some(builder.table("pos_embed", (1, patches.n(), width), values)?), None)
            }
            Positions::Rope => (None, Some(Rotation::new(width / config.heads, &patches, builder)?)),
        };
        let label_table = match conditioning.n_classes() {
            0 => None,
            n => {
                let name = "y_embedder.embedding_table.weight";
                Some(builder.param(name, (n + 1, width), Init::Normal(LABEL_STD))?)
            }
        };
        let g_embedder =
            conditioning.takes_guidance().then(|| embedder("g_embedder", builder)).transpose()?;
        Ok(Self {
            features: Sinusoids::new(n, config.time_scale, builder)?,
            x_weight: builder.param(
                "x_embedder.proj.weight",
                kernel,
                config.init.patches([width, sizes[0], side]),
            )?,
            x_bias: builder.param("x_embedder.proj.bias", width, Init::Zeros)?,
            pos_embed,
            rotation,
            t_embedder: embedder("t_embedder", builder)?,
            r_embedder: embedder("r_embedder", builder)?,
            g_embedder,
            label_table,
            activations: builder.activations(),
            precision: builder.precision(),
            blocks: (0..config.depth)
                .map(|i| Block::new(&format!("blocks.{i}"), config, builder).map(Arc::new))
                .collect::<Result<_>>()?,
            final_modulation: Linear::new(
                "final_layer.adaLN_modulation.1",
                width,
                2 * width,
                Init::Zeros,
                builder,
            )?,
            final_linear: Linear::new("final_layer.linear", width, patches.len(), Init::Zeros, builder)?,
            config: config.clone(),
            shape: shape.to_vec(),
            conditioning,
            sigma_data,
            patches,
        })
    }

    /// c, `(B, width)`.
    fn condition(&self, s: &Dual, t: &Dual, condition: Condition<'_>) -> Result<Dual> {
        let embed = |embedder: &TimeEmbedder, time: &Dual| embedder.forward(&self.features.forward(time)?);
        let jump = self.config.jump.forward(&t.sub(s)?)?;
        let mut c = embed(&self.t_embedder, s)?.add(&embed(&self.r_embedder, &jump)?)?;
        if let (Some(embedder), Some(g)) = (&self.g_embedder, self.conditioning.guidance(condition)?) {
            c = c.add(&embed(embedder, &g)?)?;
        }
        if let (Some(table), Some(labels)) = (&self.label_table, self.conditioning.labels(condition)?) {
            c = c.add(&Dual::constant(table.index_select(labels, 0)?))?;
        }
        Ok(c)
    }
}

impl AverageVelocity for Dit {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        check_shape(&self.shape, x)?;
        self.config.time.velocity(s, t, |start, end| self.forward(start, end, x, condition))
    }

    fn cost(&self) -> Option<Cost> {
        let (n, width) = (self.patches.n(), self.config.width);
        let embedders = 2 + usize::from(self.g_embedder.is_some());
        let mut cost = Cost::layer(n * self.patches.len() * width, n * width);
        cost += Cost::layer(embedders * self.t_embedder.products(), embedders * 2 * width);
        self.blocks.iter().for_each(|block| cost += block.cost(n));
        cost += Cost::layer(self.final_modulation.products(), 2 * width);
        cost += Cost::layer(n * self.final_linear.products(), n * (width + self.patches.len()));
        Some(cost)
    }
}

impl Dit {
    /// v, or u = −v, of these times as they are.
    fn forward(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        let width = self.config.width;
        // SiLU(c) is what every modulation reads.
        let c = self.precision.inside(&self.condition(s, t, condition)?.activate(Activation::Silu)?)?;
        let tokens = self.precision.inside(&self.patches.tokens(&x.scale(self.sigma_data.recip())?)?)?;
        let weight = self.x_weight.reshape((width, self.patches.len()))?;
        let mut h = tokens.linear(&weight, Some(&self.x_bias))?;
        if let Some(pos_embed) = &self.pos_embed {
            h = h.add(&Dual::from(pos_embed.to_dtype(h.dtype())?))?;
        }
        for block in &self.blocks {
            let (block, rotation) = (block.clone(), self.rotation.clone());
            h = self.activations.run([&h, &c], move |[h, c]| block.forward(h, c, rotation.as_ref()))?;
        }
        let modulation = self.final_modulation.forward(&c)?;
        let (shift, scale) = (modulation.narrow(1, 0, width)?, modulation.narrow(1, width, width)?);
        let h = h.layer_norm_with(EPS, Modulation::PerSample { scale: &scale, shift: &shift }, None)?;
        let v = self.patches.images(&self.final_linear.forward(&h)?.to_dtype(x.dtype())?)?;
        Ok(v.scale(self.sigma_data)?)
    }
}

impl NetConfig for DitConfig {
    fn kind(&self) -> &'static str {
        "dit"
    }

    fn validate(&self) -> Result<()> {
        DitConfig::validate(self)
    }

    fn build(&self, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Box<dyn AverageVelocity>> {
        Ok(Box::new(Dit::new(self, data, builder)?))
    }
}
