//! Multistep consistency sampling: jumps to the data, with fresh noise between them.
//!
//! x̂_k = X_{t_k,1}(x_k),  x_{k+1} = α(t_{k+1}) z_{k+1} + β(t_{k+1}) x̂_k,  z ~ N(0, σ² I)        (1)
//!
//! Song, Dhariwal, Chen, Sutskever 2023, arXiv:2303.01469, algorithm 1, in a time that runs from noise to data:
//! noise is added as the interpolant has it, and the inner times of the grid are their τ.
//! For models that learned the jumps to the data alone, consistency models: they know X_{s,1} and no other X_{s,t}.
//! The end is random given the start; one step is the jump itself and draws nothing.
//! Cost: one evaluation a step.

use candle_core::Tensor;
use flowmap_core::{Interpolant, TimeGrid};
use flowmap_nn::Condition;

use crate::{Error, Result, Session};

/// Runs `x0` `(B, ...)` along a rising grid by (1) and returns x at every time of it, the start included.
///
/// `fresh` is the noise z of each time of the grid after the first and before 1, in their order, each like `x0`.
///
/// # Errors
/// [`Error::FallingGrid`] for a grid that leads to the noise, [`Error::FreshNoise`] for another number of tensors;
/// as the network.
pub fn multistep_consistency<'c>(
    session: &Session<'_>,
    interpolant: &dyn Interpolant,
    x0: &Tensor,
    condition: impl Into<Condition<'c>>,
    grid: &TimeGrid,
    fresh: &[Tensor],
) -> Result<Vec<Tensor>> {
    if let Some((s, t)) = grid.steps().find(|(s, t)| s > t) {
        return Err(Error::FallingGrid { s, t });
    }
    let expected = n_fresh(grid);
    if fresh.len() != expected {
        return Err(Error::FreshNoise { expected, found: fresh.len() });
    }
    let condition = condition.into();
    let mut path = vec![x0.clone()];
    for (k, (s, t)) in grid.steps().enumerate() {
        let to_data = TimeGrid::from_times(vec![s, 1.0])?;
        let x_hat = session.sample(&path[k], condition, &to_data)?;
        path.push(match fresh.get(k) {
            Some(z) if t < 1.0 => ((z * interpolant.alpha(t))? + (x_hat * interpolant.beta(t))?)?, // (1)
            _ => x_hat,
        });
    }
    Ok(path)
}

/// How many tensors of fresh noise [`multistep_consistency`] needs: one for each time after the first and before 1.
pub fn n_fresh(grid: &TimeGrid) -> usize {
    grid.steps().filter(|(_, t)| *t < 1.0).count()
}
