//! The multilayer perceptron of the papers, with optional features of the input.
//!
//! v_{s,t}(x) = σ · MLP( [s, t, x/σ] )
//!
//! Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825, appendix G:
//! Linear → activation, then `hidden` times Linear → activation, then Linear, with σ the standard deviation of the data.
//! The options add inputs: cos(kπs) and cos(kπt) for k = 1..K, and random Fourier features sin(Ω x/σ), cos(Ω x/σ)
//! with Ω drawn once from N(0, scale²) (Tancik and others 2020, arXiv:2006.10739), and an embedding of the label.
//! A network that takes the scale w of guidance is given g = 1 − 1/w, in [0, 1) for w >= 1, embedded as a time is:
//! g and cos(kπg) for k = 1..K (improved Mean Flow, arXiv:2512.02012, does so with its own embedding of times).

use std::f64::consts::PI;

use candle_core::Tensor;
use flowmap_dual::{Activation, DenseLayer, Dual};
use serde::{Deserialize, Serialize};

use super::conditioning::{Conditioning, check_shape};
use super::{Cost, DataSpec, NetConfig, Precision};
use crate::{AverageVelocity, Condition, Error, Init, ParamBuilder, Result};

/// Sizes and options of an [`Mlp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MlpConfig {
    /// Width of every hidden layer.
    pub width: usize,
    /// Number of hidden Linear → activation layers between the first and the last.
    pub hidden: usize,
    /// Activation function.
    pub activation: Activation,
    /// Whether each hidden layer adds to its input instead of replacing it.
    pub residual: bool,
    /// Number K of cosines cos(kπs) and cos(kπt) given in addition to the raw times, and of cos(kπg) for g = 1 − 1/w.
    pub time_features: usize,
    /// Number of random frequencies Ω of x/σ, each giving a sine and a cosine.
    pub x_features: usize,
    /// Standard deviation of the random frequencies.
    pub x_scale: f64,
    /// Size of the embedding of a label; used where the data have labels.
    pub label_features: usize,
}

impl Default for MlpConfig {
    /// The network of the checkerboard of arXiv:2505.18825 as the released code has it: five hidden layers of 512, which
    /// are 1 054 210 parameters in the plane. Table 2 of the paper says four.
    fn default() -> Self {
        Self {
            width: 512,
            hidden: 4,
            activation: Activation::GeluTanh,
            residual: false,
            time_features: 0,
            x_features: 0,
            x_scale: 2.0,
            label_features: 32,
        }
    }
}

impl MlpConfig {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        let range = |key, good, expected, found| {
            if good { Ok(()) } else { Err(Error::OutOfRange { key, expected, found }) }
        };
        range("width", self.width > 0, "at least 1", self.width as f64)?;
        range("label_features", self.label_features > 0, "at least 1", self.label_features as f64)?;
        range("x_scale", self.x_scale > 0.0 && self.x_scale.is_finite(), "a positive number", self.x_scale)
    }
}

/// One Linear layer.
#[derive(Clone, Debug)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn new(i: usize, d_in: usize, d_out: usize, builder: &mut ParamBuilder) -> Result<Self> {
        Ok(Self {
            weight: builder.param(&format!("layers.{i}.weight"), (d_out, d_in), Init::LecunNormal)?,
            bias: builder.param(&format!("layers.{i}.bias"), d_out, Init::Zeros)?,
        })
    }
}

impl Linear {
    fn with(&self, activation: Option<Activation>) -> DenseLayer<'_> {
        DenseLayer { weight: &self.weight, bias: &self.bias, activation }
    }
}

/// The multilayer perceptron; see the module for its formula.
///
/// Tensors: `layers.{i}.weight` `(out, in)`, `layers.{i}.bias` `(out,)`, and where asked for
/// `x_frequencies` `(x_features, D)` (not trained) and `label_embedding.weight` `(n_classes + 1, label_features)`.
#[derive(Clone, Debug)]
pub struct Mlp {
    config: MlpConfig,
    shape: Vec<usize>,
    conditioning: Conditioning,
    sigma_data: f64,
    precision: Precision,
    layers: Vec<Linear>,
    x_frequencies: Option<Tensor>,
    label_embedding: Option<Tensor>,
}

impl Mlp {
    /// Builds the network for samples of `shape` (all dimensions are flattened),
    /// conditional on `conditioning` (a number of classes, 0 for none, or with the scale of guidance as well),
    /// and data of standard deviation `sigma_data`.
    ///
    /// The number of classes itself is the label for "none".
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a bad config; what `builder` finds wrong with a checkpoint.
    pub fn new(config: &MlpConfig, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Self> {
        config.validate()?;
        let DataSpec { shape, conditioning, sigma_data } = *data;
        let dim: usize = shape.iter().product();
        let x_frequencies = match config.x_features {
            0 => None,
            n => Some(builder.buffer("x_frequencies", (n, dim), Init::Normal(config.x_scale))?),
        };
        let label_embedding = match conditioning.n_classes() {
            0 => None,
            n => {
                let size = (n + 1, config.label_features);
                Some(builder.param("label_embedding.weight", size, Init::Normal(1.0))?)
            }
        };
        let label_features = if label_embedding.is_some() { config.label_features } else { 0 };
        let guidance_features = if conditioning.takes_guidance() { 1 + config.time_features } else { 0 };
        let d_in =
            2 + dim + 2 * config.time_features + 2 * config.x_features + guidance_features + label_features;
        let mut layers = vec![Linear::new(0, d_in, config.width, builder)?];
        for i in 0..config.hidden {
            layers.push(Linear::new(i + 1, config.width, config.width, builder)?);
        }
        layers.push(Linear::new(config.hidden + 1, config.width, dim, builder)?);
        Ok(Self {
            config: config.clone(),
            shape: shape.to_vec(),
            conditioning,
            sigma_data,
            precision: builder.precision(),
            layers,
            x_frequencies,
            label_embedding,
        })
    }

    /// The input of the first layer, `(B, d_in)`; `x` is `(B, D)`, already divided by σ.
    fn features(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        let (s, t) = (s.column(2)?, t.column(2)?);
        let cosines = |time: &Dual, parts: &mut Vec<Dual>| -> Result<()> {
            for k in 1..=self.config.time_features {
                parts.push(time.scale(PI * k as f64)?.cos()?);
            }
            Ok(())
        };
        let mut parts = vec![s.clone(), t.clone(), x.clone()];
        cosines(&s, &mut parts)?;
        cosines(&t, &mut parts)?;
        if let Some(frequencies) = &self.x_frequencies {
            parts.push(x.linear(frequencies, None)?.sin_cos()?);
        }
        if let Some(g) = self.conditioning.guidance(condition)? {
            let g = g.column(2)?;
            parts.push(g.clone());
            cosines(&g, &mut parts)?;
        }
        if let (Some(table), Some(labels)) = (&self.label_embedding, self.conditioning.labels(condition)?) {
            parts.push(Dual::constant(table.index_select(labels, 0)?));
        }
        Ok(Dual::cat_last(&parts)?)
    }
}

impl AverageVelocity for Mlp {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        let dims = x.dims().to_vec();
        check_shape(&self.shape, x)?;
        let flat = x.reshape(&[dims[0], self.shape.iter().product()])?.scale(self.sigma_data.recip())?;
        let mut h = self.precision.inside(&self.features(s, t, &flat, condition)?)?;
        let n_inner = self.layers.len() - 1;
        let mut layers: Vec<_> = self.layers.iter().map(|l| l.with(Some(self.config.activation))).collect();
        if let Some(last) = layers.last_mut() {
            last.activation = None;
        }
        if self.config.residual {
            for (i, layer) in layers.iter().enumerate() {
                let y = h.layers(std::slice::from_ref(layer))?;
                h = if i > 0 && i < n_inner { h.add(&y)? } else { y };
            }
        } else {
            h = h.layers(&layers)?;
        }
        Ok(h.to_dtype(x.dtype())?.scale(self.sigma_data)?.reshape(&dims)?)
    }

    fn cost(&self) -> Option<Cost> {
        let mut cost = Cost::default();
        for layer in &self.layers {
            cost += Cost::layer(layer.weight.elem_count(), layer.bias.elem_count());
        }
        Some(cost)
    }
}

impl NetConfig for MlpConfig {
    fn kind(&self) -> &'static str {
        "mlp"
    }

    fn validate(&self) -> Result<()> {
        MlpConfig::validate(self)
    }

    fn build(&self, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Box<dyn AverageVelocity>> {
        Ok(Box::new(Mlp::new(self, data, builder)?))
    }
}
