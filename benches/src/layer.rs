//! A layer of a network with inputs and parameters, and the passes that are timed.
//!
//! Backward passes begin with ones, as `y.backward(torch.ones_like(y))` does, and reach inputs and parameters alike.
//! The batch is cut into tiles that run in parallel and share packed weights, and the gradients of weights are summed
//! in place, as in a training step ([`flowmap_nn::loss_and_gradient`]).

use anyhow::Result;
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use flowmap_dual::{Dual, GradientSums, PackedWeights, gradient_of};
use rayon::prelude::*;

/// Tiles of a batch: each is large enough for matrix products at full speed.
const N_TILES: usize = 4;

use crate::random::normal;

/// What a layer computes from its inputs and parameters.
pub type Apply = fn(&[Dual], &[Tensor]) -> flowmap_dual::Result<Dual>;

/// A layer by its name, with its shapes.
#[derive(Clone, Copy, Debug)]
pub struct LayerSpec {
    /// The name in ids.
    pub name: &'static str,
    /// Shapes of its inputs.
    pub inputs: &'static [&'static [usize]],
    /// Shapes of its parameters.
    pub params: &'static [&'static [usize]],
    /// What it computes.
    pub apply: Apply,
    /// Floating-point operations of the matrix products in a plain forward pass, and in a dual one.
    pub flop: [f64; 2],
}

/// All layers.
pub const LAYERS: &[LayerSpec] = &[
    crate::image_layers::CONV,
    crate::image_layers::GROUP_NORM_SILU,
    crate::image_layers::UPSAMPLE,
    crate::token_layers::LAYER_NORM_MODULATION,
    crate::token_layers::ATTENTION,
    crate::token_layers::LINEAR_GELU,
    crate::dit_block::DIT_BLOCK,
];

/// The passes that are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Forward, nothing recorded.
    Plain,
    /// Forward with a tangent of every input, nothing recorded.
    Dual,
    /// Forward and backward.
    Backward,
    /// Forward with a tangent of every input, and backward through value and tangent.
    DualBackward,
}

impl Pass {
    /// All passes.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Dual, Self::Backward, Self::DualBackward];

    /// The name in ids.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Dual => "dual",
            Self::Backward => "backward",
            Self::DualBackward => "dual_backward",
        }
    }
}

/// A layer with numbers in it.
pub struct Layer {
    spec: LayerSpec,
    tiles: Vec<Tile>,
    params: Vec<Var>,
}

/// Some samples of the batch.
struct Tile {
    inputs: Vec<Var>,
    directions: Vec<Tensor>,
}

impl Layer {
    /// Draws inputs, directions and parameters.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn new(spec: &LayerSpec) -> Result<Self> {
        let draw = |shapes: &[&[usize]], key: u64, std: fn(&[usize]) -> f64| -> Result<Vec<Tensor>> {
            (key..).zip(shapes).map(|(key, shape)| normal(key, *shape, std(shape))).collect()
        };
        let lecun = |shape: &[usize]| (shape.iter().skip(1).product::<usize>().max(1) as f64).sqrt().recip();
        let vars = |tensors: Vec<Tensor>| -> Result<Vec<Var>> {
            tensors.iter().map(|t| Ok(Var::from_tensor(t)?)).collect()
        };
        let (inputs, directions) = (draw(spec.inputs, 1, |_| 1.0)?, draw(spec.inputs, 100, |_| 1.0)?);
        let tile = |i: usize| -> Result<Tile> {
            let part = |x: &Tensor| -> Result<Tensor> {
                let n = x.dim(0)?;
                let (start, end) = (n * i / N_TILES, n * (i + 1) / N_TILES);
                Ok(x.narrow(0, start, end - start)?.contiguous()?)
            };
            let parts = |all: &[Tensor]| all.iter().map(part).collect::<Result<Vec<_>>>();
            Ok(Tile { inputs: vars(parts(&inputs)?)?, directions: parts(&directions)? })
        };
        Ok(Self {
            spec: *spec,
            tiles: (0..N_TILES).map(tile).collect::<Result<_>>()?,
            params: vars(draw(spec.params, 200, lecun)?)?,
        })
    }

    /// Floating-point operations of the matrix products of a pass: backward costs twice as much as forward.
    pub fn flop(&self, pass: Pass) -> f64 {
        let [plain, dual] = self.spec.flop;
        match pass {
            Pass::Plain => plain,
            Pass::Dual => dual,
            Pass::Backward => 3.0 * plain,
            Pass::DualBackward => 3.0 * dual,
        }
    }

    /// Runs a pass.
    ///
    /// # Errors
    /// As the layer.
    pub fn run(&self, pass: Pass) -> Result<()> {
        let packed = PackedWeights::default();
        let run = |tile| -> Result<(GradStore, GradientSums)> {
            let mut sums = GradientSums::new(self.params.iter().map(Var::as_tensor));
            let gradients = packed.share(|| sums.collect(|| self.run_tile(tile, pass)))?;
            Ok((gradients, sums))
        };
        let tiles: Vec<Result<_>> = self.tiles.par_iter().map(run).collect();
        let (mut total, mut total_sums) = (GradStore::default(), GradientSums::default());
        for tile in tiles {
            let (gradients, sums) = tile?;
            total_sums.add(sums)?;
            for param in &self.params {
                let Some(part) = gradients.get(param) else { continue };
                let sum = total.get(param).map_or_else(|| Ok(part.clone()), |sum| sum + part)?;
                total.insert(param, sum);
            }
        }
        Ok(())
    }

    fn run_tile(&self, tile: &Tile, pass: Pass) -> Result<GradStore> {
        let is_taped = matches!(pass, Pass::Backward | Pass::DualBackward);
        let tensor = |var: &Var| if is_taped { var.as_tensor().clone() } else { var.as_detached_tensor() };
        let params: Vec<Tensor> = self.params.iter().map(tensor).collect();
        let inputs = tile.inputs.iter().zip(&tile.directions).map(|(x, direction)| match pass {
            Pass::Plain | Pass::Backward => Ok(Dual::constant(tensor(x))),
            Pass::Dual | Pass::DualBackward => Dual::new(tensor(x), direction.clone()),
        });
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let y = || (self.spec.apply)(&inputs, &params);
        let backward = |sum: fn(Dual) -> flowmap_dual::Result<Tensor>| {
            gradient_of(|| Ok::<_, flowmap_dual::Error>((sum(y()?)?, ())))
        };
        let (gradients, ()) = match pass {
            Pass::Plain | Pass::Dual => y().map(|_| Default::default()),
            Pass::Backward => backward(|y| Ok(y.primal().clone())),
            Pass::DualBackward => backward(|y| Ok((y.primal() + y.tangent_or_zeros()?)?)),
        }?;
        Ok(gradients)
    }
}
