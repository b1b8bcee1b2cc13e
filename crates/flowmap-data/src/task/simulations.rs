//! Simulations of a benchmark task as a data set: rows (θ, x).

use std::num::NonZeroU32;

use flowmap_core::{NoiseStream, Stream};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::TaskKind;
use crate::{FiniteSet, Result};

/// Simulations of a benchmark task: each sample is the parameters θ of the prior, followed by the data x at θ.
///
/// ```
/// use flowmap_data::{DataConfig, DataSet};
///
/// let config: DataConfig = toml::from_str("kind = 'simulations'\ntask = 'slcp'\nnum = 100")?;
/// let set = config.build(None)?;
/// assert_eq!((set.shape(), set.n_samples()), (&[5 + 8][..], Some(100)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulationsConfig {
    /// The task.
    pub task: TaskKind,
    /// Number of simulations.
    pub num: NonZeroU32,
    /// Seed of the simulations; simulation i depends on the seed and i alone.
    pub seed: u64,
}

impl Default for SimulationsConfig {
    /// 10 000 simulations of two moons.
    fn default() -> Self {
        Self { task: TaskKind::default(), num: NonZeroU32::MIN.saturating_add(9_999), seed: 0 }
    }
}

impl SimulationsConfig {
    /// Runs the simulator.
    ///
    /// # Errors
    /// As [`Task::simulate`](super::Task::simulate) and [`FiniteSet::new`].
    pub fn simulate(&self) -> Result<FiniteSet> {
        let task = self.task.task();
        let stream = NoiseStream::new(self.seed, Stream::Data);
        let row = |i: u32| -> Result<Vec<f32>> {
            let mut noise = stream.at(u64::from(i));
            let theta = task.prior(&mut noise);
            let x = task.simulate(&theta, &mut noise)?;
            Ok(theta.into_iter().chain(x).map(|value| value as f32).collect())
        };
        let rows: Vec<Vec<f32>> = (0..self.num.get()).into_par_iter().map(row).collect::<Result<_>>()?;
        let shape = vec![task.n_parameters() + task.n_data()];
        FiniteSet::new(format!("simulations of {}", self.task), shape, rows.concat(), None)
    }
}
