//! Loss and gradient of a batch in tiles, one thread each.
//!
//! ∇L = Σ_tiles ∇L_tile: the sum runs in the order of the tiles, so its bits do not depend on the number of threads.
//! Threads meet once a step instead of once an operation, and memory grows with the tiles in flight, not with the batch.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use flowmap_core::NoiseStream;
use rayon::prelude::*;

use crate::objective::{Combination, Tile};
use crate::{AverageVelocity, Batch, Params, Result};

/// Rows of a tile on the CPU: large enough for matrix products at full speed, small enough for the cache.
const TILE_ROWS: usize = 256;

/// The loss of a batch and its gradient.
#[derive(Debug)]
pub struct LossAndGradient {
    /// The loss.
    pub loss: f64,
    /// The mean loss of each term over its rows, unweighted; `None` where it got no rows.
    pub terms: Vec<Option<f64>>,
    /// The gradient of every parameter that has one.
    pub gradients: GradStore,
}

/// The loss of `combination` on a batch and its gradient in `params`.
///
/// On the CPU the batch is cut into tiles that run in parallel; on other devices it is one tile.
/// Row i draws its times from `times.at(first + i)`.
///
/// # Errors
/// As the networks.
pub fn loss_and_gradient<M, T>(
    combination: &Combination,
    model: &M,
    teacher: &T,
    params: &Params,
    batch: &Batch<'_>,
    times: &NoiseStream,
    first: u64,
) -> Result<LossAndGradient>
where
    M: AverageVelocity + Sync + ?Sized,
    T: AverageVelocity + Sync + ?Sized,
{
    let n_tiles = match batch.x0.device() {
        Device::Cpu => batch.x0.dim(0)?.div_ceil(TILE_ROWS).max(1),
        _ => 1,
    };
    let tile = |index| -> Result<LossAndGradient> {
        let losses =
            combination.loss_of_tile(model, teacher, batch, times, first, Tile { index, n_tiles })?;
        let gradients = losses.total.backward()?;
        let terms = losses.terms.iter().map(|t| t.as_ref().map(scalar).transpose()).collect::<Result<_>>()?;
        Ok(LossAndGradient { loss: scalar(&losses.total)?, terms, gradients })
    };
    let mut sum: Option<LossAndGradient> = None;
    // A few tiles at a time: what they hold is freed before the next begin.
    let in_flight = (4 * rayon::current_num_threads()).max(4);
    for start in (0..n_tiles).step_by(in_flight) {
        let tiles: Vec<Result<LossAndGradient>> =
            (start..n_tiles.min(start + in_flight)).into_par_iter().map(tile).collect();
        for tile in tiles {
            let tile = tile?;
            match &mut sum {
                None => sum = Some(tile),
                Some(sum) => sum.add(tile, params)?,
            }
        }
    }
    Ok(sum.unwrap_or_else(|| LossAndGradient {
        loss: 0.0,
        terms: Vec::new(),
        gradients: GradStore::default(),
    }))
}

impl LossAndGradient {
    /// Adds another tile of the same batch.
    fn add(&mut self, other: Self, params: &Params) -> Result<()> {
        self.loss += other.loss;
        for (sum, term) in self.terms.iter_mut().zip(other.terms) {
            *sum = match (*sum, term) {
                (Some(a), Some(b)) => Some(a + b),
                (one, None) | (None, one) => one,
            };
        }
        for var in params.vars().values() {
            let gradient = match (self.gradients.get(var), other.gradients.get(var)) {
                (Some(a), Some(b)) => (a.detach() + b.detach())?,
                (None, Some(one)) => one.detach(),
                (_, None) => continue,
            };
            self.gradients.insert(var, gradient);
        }
        Ok(())
    }
}

fn scalar(x: &Tensor) -> Result<f64> {
    Ok(x.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?)
}
