//! Loss and gradient of a batch in tiles, one thread each.
//!
//! ∇L = Σ_tiles ∇L_tile: the sum runs in an order that the sizes alone decide, so its bits do not depend on the number
//! of threads. Threads meet once a step instead of once an operation, and memory grows with the lanes, not with the batch.
//!
//! A lane is a sequence of tiles whose gradients add up in one set of buffers; lanes run in parallel.

use std::num::NonZeroUsize;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use flowmap_dual::{GradientSums, PackedWeights, gradient_of};
use rayon::prelude::*;

use super::{Combination, DeferredLosses, combination::Tile};
use crate::{AverageVelocity, Batch, Error, Params, Result, StepKey};

/// Most rows of a tile on the CPU: large enough for matrix products at full speed, small enough for the cache.
const TILE_ROWS: usize = 256;
/// Numbers of the samples of a tile, about: images have activations at every pixel, so that few of them fill the cache.
const TILE_NUMBERS: usize = 1 << 14;
/// Fewest rows of a tile.
const MIN_TILE_ROWS: usize = 4;
/// Most lanes: as many threads can work on a batch.
const MAX_LANES: usize = 32;
/// Most numbers that the gradient buffers of all lanes hold together; two lanes are always allowed.
const MAX_LANE_NUMBERS: usize = 1 << 26;

/// The loss of a batch and its gradient.
#[derive(Debug, Default)]
pub struct LossAndGradient {
    /// The losses, which stay on the device until they are read.
    pub losses: DeferredLosses,
    /// The gradient of every parameter that has one.
    pub gradients: GradStore,
}

/// The loss of `combination` on a batch and its gradient in `params`.
///
/// On the CPU the batch is cut into tiles that run in parallel; on other devices it is one tile,
/// or as many as [`Combination::with_micro_batch`] asks for, one after the other.
/// `frozen` is the model off the tape; the rows have the times of [`Combination::loss`].
///
/// # Errors
/// As the networks.
pub fn loss_and_gradient(
    combination: &Combination,
    model: &dyn AverageVelocity,
    frozen: &dyn AverageVelocity,
    params: &Params,
    batch: &Batch<'_>,
    key: StepKey,
) -> Result<LossAndGradient> {
    let (n_rows, device) = (batch.x0.dim(0)?, batch.x0.device());
    let at_once =
        rows_at_once(n_rows, batch.x0.elem_count() / n_rows.max(1), device, combination.micro_batch());
    let n_tiles = n_rows.div_ceil(at_once).max(1);
    let lanes_that_fit = match device {
        Device::Cpu => (MAX_LANE_NUMBERS / params.n_elements().max(1)).clamp(2, MAX_LANES),
        _ => 1,
    };
    let n_lanes = n_tiles.min(lanes_that_fit);
    let drawn = combination.draw(batch, key)?;
    let packed = PackedWeights::default();
    let tile = |index| -> Result<LossAndGradient> {
        let (gradients, losses) = gradient_of(|| {
            let tile = Tile { index, n_tiles };
            let losses = combination.loss_of_tile([model, frozen], batch, &drawn, tile)?;
            Ok::<_, Error>((losses.total.clone(), losses))
        })?;
        Ok(LossAndGradient { losses: DeferredLosses::of_tile(&losses)?, gradients })
    };
    let lane = |lane: usize| -> Result<(LossAndGradient, GradientSums)> {
        let is_summed = |v: &&Tensor| v.dtype() == DType::F32;
        let mut sums = GradientSums::new(params.vars().values().map(|v| v.as_tensor()).filter(is_summed));
        let mut total = LossAndGradient::default();
        for index in (lane..n_tiles).step_by(n_lanes) {
            total.add(packed.share(|| sums.collect(|| tile(index)))?, params)?;
        }
        Ok((total, sums))
    };
    let lanes: Vec<Result<_>> = match batch.x0.device() {
        Device::Cpu => (0..n_lanes).into_par_iter().map(lane).collect(),
        // A device gets its work from the thread that asks for the result: other threads may have other streams.
        _ => (0..n_lanes).map(lane).collect(),
    };
    let (mut total, mut sums) = (LossAndGradient::default(), GradientSums::default());
    for lane in lanes {
        let (part, part_sums) = lane?;
        total.add(part, params)?;
        sums.add(part_sums)?;
    }
    for var in params.vars().values() {
        if let Some(sum) = sums.take(var)? {
            total.add_gradient(var, sum)?;
        }
    }
    Ok(total)
}

impl LossAndGradient {
    /// Adds another part of the same batch.
    fn add(&mut self, other: Self, params: &Params) -> Result<()> {
        self.losses.add(other.losses);
        for var in params.vars().values() {
            if let Some(gradient) = other.gradients.get(var) {
                self.add_gradient(var, gradient.detach())?;
            }
        }
        Ok(())
    }

    fn add_gradient(&mut self, var: &Tensor, gradient: Tensor) -> Result<()> {
        let sum = match self.gradients.get(var) {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        };
        self.gradients.insert(var, sum);
        Ok(())
    }
}

/// Most rows that go through a network at once, of a batch of `n_rows` samples of `numbers` numbers each.
fn rows_at_once(n_rows: usize, numbers: usize, device: &Device, micro_batch: Option<NonZeroUsize>) -> usize {
    let chosen = if device.is_cpu() { tile_rows(numbers) } else { n_rows };
    micro_batch.map_or(chosen, |rows| chosen.min(rows.get())).max(1)
}

/// Rows of a tile on the CPU, for samples of `numbers` numbers each: a power of two.
pub fn tile_rows(numbers: usize) -> usize {
    let rows = TILE_NUMBERS / numbers.max(1);
    (1 << rows.max(1).ilog2()).clamp(MIN_TILE_ROWS, TILE_ROWS)
}
