//! Dyadic pairs: a width d from {1, ½, ¼, …, 1/n}, then a start s on the grid {0, d, …, 1 − d}; t = s + d.
//!
//! The choice of shortcut models (Frans et al. 2024, arXiv:2410.12557), with n = 128 there.
//! All widths are equally likely, and so are all starts of one width; every time is exact in binary.
//! [`Widths::Counted`] shares the widths out among the rows of a batch in place of drawing them, as the authors' code
//! does: of N rows and m widths each has ⌊N/m⌋ rows, the narrowest first, and the rest of the rows have width 1.

use serde::{Deserialize, Serialize};

use super::{Jump, Place};
use crate::{Error, Noise, Result};

/// How the rows of a batch get their widths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Widths {
    /// Each row draws its own, all equally likely.
    #[default]
    Drawn,
    /// Each width has an equal number of rows, and width 1 those that remain.
    Counted,
}

impl Widths {
    pub(super) fn are_drawn(&self) -> bool {
        *self == Self::Drawn
    }
}

pub(super) fn validate(n_steps: u32) -> Result<()> {
    if n_steps.is_power_of_two() {
        return Ok(());
    }
    Err(Error::Parameter { name: "n_steps", expected: "a power of two", found: f64::from(n_steps) })
}

/// m.
pub(super) fn n_widths(n_steps: u32) -> usize {
    n_steps.max(1).ilog2() as usize + 1
}

pub(super) fn draw(n_steps: u32, noise: &mut Noise) -> Jump {
    let halvings = noise.below(n_widths(n_steps) as u64);
    start(halvings, noise)
}

/// A pair of the width that a row of a batch has.
pub(super) fn draw_counted(n_steps: u32, place: Place, noise: &mut Noise) -> Jump {
    let n_widths = n_widths(n_steps);
    // Row after row from the narrowest width on; what has no width of its own is left for 1.
    let nth = place.row / (place.n_rows / n_widths).max(1);
    let all_have_rows = place.n_rows >= n_widths;
    let halvings = if all_have_rows { (n_widths - 1).saturating_sub(nth) } else { 0 };
    start(halvings as u64, noise)
}

/// A pair of width 2^−`halvings`.
fn start(halvings: u64, noise: &mut Noise) -> Jump {
    let n_starts = 1u64 << halvings; // 1 / d
    let start_idx = noise.below(n_starts);
    let time = |idx: u64| idx as f64 / n_starts as f64;
    Jump::sorted(time(start_idx), time(start_idx + 1))
}

#[cfg(test)]
mod tests {
    use super::super::statistics::{draws, mean_is};
    use super::*;
    use crate::{NoiseStream, Stream};

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

    /// How many of `n_rows` rows have each width, the narrowest first.
    fn counts(n_steps: u32, n_rows: usize) -> Vec<usize> {
        let stream = NoiseStream::new(3, Stream::Times);
        let jump = |row| draw_counted(n_steps, Place { row, n_rows }, &mut stream.at(row as u64));
        let jumps: Vec<Jump> = (0..n_rows).map(jump).collect();
        for jump in &jumps {
            assert_eq!((jump.s() / jump.width()).fract(), 0.0);
        }
        let n_with = |width: f64| jumps.iter().filter(|jump| jump.width() == width).count();
        (0..n_widths(n_steps) as i32).rev().map(|halvings| n_with(0.5f64.powi(halvings))).collect()
    }

    #[test]
    fn counted_widths_have_equal_numbers_of_rows_and_width_one_the_rest() {
        // An eighth of 256 rows in the authors' code: 4 of each width, and 8 of width 1.
        assert_eq!(counts(64, 32), [4, 4, 4, 4, 4, 4, 8]);
        assert_eq!(counts(8, 8), [2, 2, 2, 2]);
        assert_eq!(counts(8, 11), [2, 2, 2, 5]);
        assert_eq!(counts(8, 3), [0, 0, 0, 3]);
        assert_eq!(counts(1, 5), [5]);
    }

    #[test]
    fn starts_of_a_counted_width_are_equally_likely() {
        let place = Place { row: 1, n_rows: 8 };
        let jumps = draws(|noise| draw_counted(8, place, noise));
        assert!(jumps.iter().all(|j| j.width() == 0.125));
        mean_is(3.5 / 8.0, jumps.iter().map(|j| j.s()));
        mean_is(0.125, jumps.iter().map(|j| f64::from(j.s() == 0.5)));
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
