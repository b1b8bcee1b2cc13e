//! The embedding of both times, and of what else the network is told.
//!
//! e = silu(W₁ silu(W₀ ([p(s), p(t − s)] + A a + √n Y y + G p(1 − 1/w)) + b₀) + b₁)
//!
//! with sinusoids p(t) = [ sin ω_k t, cos ω_k t ], ω_k = 10000^(−k/(h − 1)), k = 0 .. h − 1, labels a of how an image was
//! augmented, and the one-hot label y out of n classes. Without labels of augmentation a is zero, an image as it is.
//!
//! The public network of Mean Flow has neither Y, for which the one of EDM stands here, as wide as both times, nor G,
//! which is ours.

use candle_core::Tensor;
use flowmap_dual::{Activation, Dual};

use super::super::conditioning::Conditioning;
use super::super::linear::Linear;
use super::super::{Cost, DdpmPpUNetConfig};
use crate::{Condition, Init, ParamBuilder, Result};

/// The longest period in units of 2π.
const MAX_PERIOD: f64 = 10_000.0;
/// How weights begin.
const INIT: Init = Init::XavierUniform(1.0);

/// The embedding; see the module for its formula.
#[derive(Clone, Debug)]
pub(super) struct Embedding {
    conditioning: Conditioning,
    /// ω, `(1, h)`.
    frequencies: Tensor,
    map_augment: Option<Tensor>,
    map_label: Option<Linear>,
    map_guidance: Option<Tensor>,
    map_layer0: Linear,
    map_layer1: Linear,
}

impl Embedding {
    pub(super) fn new(
        config: &DdpmPpUNetConfig,
        conditioning: Conditioning,
        builder: &mut ParamBuilder,
    ) -> Result<Self> {
        let (n_time, n_emb) = (config.channels * config.noise_mult, config.n_embedding());
        let (both, half) = (2 * n_time, n_time / 2);
        let matrix = |name: &str, n: usize, builder: &mut ParamBuilder| match n {
            0 => Ok(None),
            n => builder.param(&format!("{name}.weight"), (both, n), INIT).map(Some),
        };
        let n_guidance = if conditioning.takes_guidance() { n_time } else { 0 };
        let map_label = match conditioning.n_classes() {
            0 => None,
            n => Some(Linear::new("map_label", n, both, INIT, builder)?),
        };
        let omega = |k: usize| (-MAX_PERIOD.ln() * k as f64 / (half.max(2) - 1) as f64).exp();
        Ok(Self {
            conditioning,
            frequencies: builder.constant((1, half), (0..half).map(omega).collect())?,
            map_augment: matrix("map_augment", config.augment_dim, builder)?,
            map_label,
            map_guidance: matrix("map_guidance", n_guidance, builder)?,
            map_layer0: Linear::new("map_layer0", both, n_emb, INIT, builder)?,
            map_layer1: Linear::new("map_layer1", n_emb, n_emb, INIT, builder)?,
        })
    }

    /// e `(B, n_emb)`, after its activation.
    pub(super) fn forward(&self, s: &Dual, t: &Dual, condition: Condition<'_>) -> Result<Dual> {
        let features = |time: &Dual| -> Result<Dual> {
            Ok(time.column(2)?.mul(&Dual::from(&self.frequencies))?.sin_cos()?)
        };
        let mut e = Dual::cat_last(&[features(s)?, features(&t.sub(s)?)?])?;
        if let (Some(weight), Some(told)) = (&self.map_augment, condition.augment) {
            e = e.add(&Dual::constant(told.to_dtype(weight.dtype())?).linear(weight, None)?)?;
        }
        if let (Some(map), Some(labels)) = (&self.map_label, self.conditioning.labels(condition)?) {
            // One-hot labels of magnitude one select columns; the label for "none" selects none.
            let columns = (map.weight.t()? * (map.weight.dim(1)? as f64).sqrt())?;
            let none = columns.narrow(0, 0, 1)?.zeros_like()?;
            let table = Tensor::cat(&[columns, none], 0)?;
            e = e.add(&Dual::constant(table.index_select(labels, 0)?.broadcast_add(&map.bias)?))?;
        }
        if let (Some(weight), Some(g)) = (&self.map_guidance, self.conditioning.guidance(condition)?) {
            e = e.add(&features(&g)?.linear(weight, None)?)?;
        }
        let e = self.map_layer0.activated(&e, Activation::Silu)?;
        self.map_layer1.activated(&e, Activation::Silu)
    }

    /// What it costs for one sample.
    pub(super) fn cost(&self) -> Cost {
        let mut cost = Cost::default();
        for weight in [&self.map_augment, &self.map_guidance].into_iter().flatten() {
            cost += Cost::layer(weight.elem_count(), weight.dims()[0]);
        }
        for linear in [&self.map_layer0, &self.map_layer1] {
            cost += Cost::layer(linear.products(), 2 * linear.bias.elem_count());
        }
        cost
    }
}
