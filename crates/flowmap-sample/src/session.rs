//! Running a sampler along a grid of times, for batches of any size.
//!
//! On the CPU the rows are cut into tiles; a thread takes a tile through all steps, so threads meet once a batch.
//! Nothing is recorded for a backward pass, packed weights are kept for all tiles, steps and calls,
//! and a thread goes on with the memory of its last step.

use candle_core::Tensor;
use flowmap_core::TimeGrid;
use flowmap_dual::PackedWeights;
use flowmap_nn::{AverageVelocity, Condition, FlowMap};
use rayon::prelude::*;

use crate::{Result, Sampler};

/// Rows of a tile at most: what a layer computes for them stays in the cache.
const MAX_TILE_ROWS: usize = 256;
/// Rows of a tile at least: fewer do not fill the vector units.
const MIN_TILE_ROWS: usize = 32;

/// A sampler and a network, ready for many batches.
///
/// The weights of the network must not change meanwhile: begin a new session after an update.
///
/// ```
/// use std::num::NonZeroU32;
///
/// use candle_core::{DType, Device};
/// use flowmap_core::{NoiseStream, Stream, TimeGrid};
/// use flowmap_nn::ParamBuilder;
/// use flowmap_nn::net::{DataSpec, Mlp, MlpConfig};
/// use flowmap_sample::{FlowMapJump, Session, base_noise};
///
/// let config = MlpConfig { width: 16, ..MlpConfig::default() };
/// let net = Mlp::new(&config, &DataSpec::of(&[2]), &mut ParamBuilder::fresh(1, DType::F32, &Device::Cpu))?;
/// let session = Session::new(&FlowMapJump, &net);
/// let grid = TimeGrid::uniform(NonZeroU32::MIN);
/// let noise = NoiseStream::new(7, Stream::Base);
/// for batch in 0..3 {
///     let x0 = base_noise(&noise, 8 * batch, 8, &[2], 1.0, DType::F32, &Device::Cpu)?;
///     assert_eq!(session.sample(&x0, None, &grid)?.dims(), [8, 2]);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session<'a> {
    sampler: &'a dyn Sampler,
    net: &'a dyn AverageVelocity,
    packed: PackedWeights,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("sampler", &self.sampler).finish_non_exhaustive()
    }
}

impl<'a> Session<'a> {
    /// Samples of `net` by `sampler`.
    pub fn new(sampler: &'a dyn Sampler, net: &'a dyn AverageVelocity) -> Self {
        Self { sampler, net, packed: PackedWeights::default() }
    }

    /// Runs `x0` `(B, ...)`, given a condition or labels `(B,)` of u32 alone, along the grid and returns the end.
    ///
    /// A reversed grid inverts: it leads from data to noise.
    ///
    /// # Errors
    /// As the network.
    pub fn sample<'c>(
        &self,
        x0: &Tensor,
        condition: impl Into<Condition<'c>>,
        grid: &TimeGrid,
    ) -> Result<Tensor> {
        let mut ends = self.tiles(x0, condition.into(), |model, x0| {
            grid.steps().try_fold(x0.clone(), |x, (s, t)| Ok(self.sampler.step(model, s, t, &x)?.detach()))
        })?;
        match ends.len() {
            1 => Ok(ends.swap_remove(0)),
            _ => Ok(Tensor::cat(&ends, 0)?),
        }
    }

    /// Runs `x0` along the grid and returns x at every time of it, the start included.
    ///
    /// # Errors
    /// As the network.
    pub fn trajectory<'c>(
        &self,
        x0: &Tensor,
        condition: impl Into<Condition<'c>>,
        grid: &TimeGrid,
    ) -> Result<Vec<Tensor>> {
        let paths = self.tiles(x0, condition.into(), |model, x0| {
            let mut path = vec![x0.clone()];
            for (s, t) in grid.steps() {
                let next = self.sampler.step(model, s, t, &path[path.len() - 1])?.detach();
                path.push(next);
            }
            Ok(path)
        })?;
        let n_times = paths.first().map_or(0, Vec::len);
        let at = |k: usize| Ok(Tensor::cat(&paths.iter().map(|path| &path[k]).collect::<Vec<_>>(), 0)?);
        (0..n_times).map(at).collect()
    }

    /// Results of `run` for all tiles of rows, in order.
    fn tiles<R: Send>(
        &self,
        x0: &Tensor,
        condition: Condition<'_>,
        run: impl Fn(FlowMap<'_>, &Tensor) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let batch = x0.dim(0)?;
        // A row's numbers do not depend on its tile, so this may follow the number of threads.
        let rows = match x0.device().is_cpu() {
            true => batch.div_ceil(rayon::current_num_threads()).clamp(MIN_TILE_ROWS, MAX_TILE_ROWS),
            false => batch.max(1),
        };
        if batch <= rows {
            return Ok(vec![self.packed.share(|| run(FlowMap::given(self.net, condition), x0))?]);
        }
        let tile = |first: usize| {
            let n = rows.min(batch - first);
            let condition = condition.rows(first, n)?;
            let x0 = x0.narrow(0, first, n)?.contiguous()?;
            self.packed.share(|| run(FlowMap::given(self.net, &condition), &x0))
        };
        (0..batch.div_ceil(rows)).into_par_iter().map(|i| tile(i * rows)).collect()
    }
}

/// Runs `x0` along the grid and returns the end; a [`Session`] of one call.
///
/// # Errors
/// As the network.
pub fn sample(sampler: &dyn Sampler, model: FlowMap<'_>, x0: &Tensor, grid: &TimeGrid) -> Result<Tensor> {
    Session::new(sampler, model.net()).sample(x0, model.condition(), grid)
}

/// Runs `x0` along the grid and returns x at every time of it; a [`Session`] of one call.
///
/// # Errors
/// As the network.
pub fn trajectory(
    sampler: &dyn Sampler,
    model: FlowMap<'_>,
    x0: &Tensor,
    grid: &TimeGrid,
) -> Result<Vec<Tensor>> {
    Session::new(sampler, model.net()).trajectory(x0, model.condition(), grid)
}
