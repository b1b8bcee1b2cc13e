//! Steps of an even grid: s uniform on {0, 1/n, …, 1 − 1/n}, t = s + 1/n.
//!
//! Where the code of shortcut models (Frans et al. 2024, arXiv:2410.12557) does its flow matching, with n = 128.

use super::Jump;
use crate::{Error, Noise, Result};

pub(super) fn validate(n_steps: u32) -> Result<()> {
    if n_steps > 0 {
        return Ok(());
    }
    Err(Error::Parameter { name: "n_steps", expected: "at least 1", found: 0.0 })
}

pub(super) fn draw(n_steps: u32, noise: &mut Noise) -> Jump {
    let n_steps = u64::from(n_steps.max(1));
    let step_idx = noise.below(n_steps);
    let time = |idx: u64| idx as f64 / n_steps as f64;
    Jump::sorted(time(step_idx), time(step_idx + 1))
}

#[cfg(test)]
mod tests {
    use super::super::statistics::{draws, mean_is};
    use super::*;

    #[test]
    fn steps_are_those_of_the_grid_and_equally_likely() {
        let jumps = draws(|noise| draw(5, noise));
        for jump in &jumps {
            assert!((0..5).any(|k| jump.s() == f64::from(k) / 5.0 && jump.t() == f64::from(k + 1) / 5.0));
        }
        mean_is(0.4, jumps.iter().map(|j| j.s()));
        mean_is(0.2, jumps.iter().map(|j| f64::from(j.t() == 1.0)));
    }

    #[test]
    fn no_steps_are_refused() {
        assert!(validate(0).is_err() && validate(1).is_ok());
        assert!(draws(|noise| draw(1, noise)).iter().all(|j| (j.s(), j.t()) == (0.0, 1.0)));
    }
}
