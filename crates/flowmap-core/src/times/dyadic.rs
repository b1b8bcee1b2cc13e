//! Dyadic pairs: a width d from {1, ½, ¼, …, 1/n}, then a start s on the grid {0, d, …, 1 − d}; t = s + d.
//!
//! The choice of shortcut models (Frans et al. 2024, arXiv:2410.12557), with n = 128 there.
//! All widths are equally likely, and so are all starts of one width; every time is exact in binary.

use super::Jump;
use crate::{Error, Noise, Result};

pub(super) fn validate(n_steps: u32) -> Result<()> {
    if n_steps.is_power_of_two() {
        return Ok(());
    }
    Err(Error::Parameter { name: "n_steps", expected: "a power of two", found: f64::from(n_steps) })
}

pub(super) fn draw(n_steps: u32, noise: &mut Noise) -> Jump {
    let n_widths = u64::from(n_steps.max(1).ilog2()) + 1;
    let n_starts = 1u64 << noise.below(n_widths); // 1 / d
    let start_idx = noise.below(n_starts);
    let time = |idx: u64| idx as f64 / n_starts as f64;
    Jump::sorted(time(start_idx), time(start_idx + 1))
}

#[cfg(test)]
mod tests {
    use super::super::statistics::{draws, mean_is};
    use super::*;

    #[test]
    fn dyadic_pairs_lie_on_the_grid_of_their_width() {
        let jumps = draws(|noise| draw(8, noise));
        for jump in &jumps {
            assert!([1.0, 0.5, 0.25, 0.125].contains(&jump.width()));
            assert_eq!((jump.s() / jump.width()).fract(), 0.0);
        }
        mean_is(1.875 / 4.0, jumps.iter().map(|j| j.width()));
        mean_is((1.0 - 1.875 / 4.0) / 2.0, jumps.iter().map(|j| j.s()));
        mean_is(0.25, jumps.iter().map(|j| f64::from(j.width() == 0.125)));
    }

    #[test]
    fn one_step_is_the_whole_interval() {
        assert!(draws(|noise| draw(1, noise)).iter().all(|j| (j.s(), j.t()) == (0.0, 1.0)));
    }

    #[test]
    fn counts_that_are_no_power_of_two_are_refused() {
        assert!(validate(0).is_err() && validate(12).is_err() && validate(1 << 31).is_ok());
        draws(|noise| draw(0, noise));
        draws(|noise| draw(u32::MAX, noise));
    }
}
