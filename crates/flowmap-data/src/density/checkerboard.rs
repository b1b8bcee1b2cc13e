//! The checkerboard: uniform on the eight white cells of a board of 4 x 4 cells on [−1, 1]².
//!
//! p(x, y) = ½ where ⌊2(x + 1)⌋ + ⌊2(y + 1)⌋ is even, else 0                        (1)
//!
//! As in Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825, appendix G, and their code.
//! Differs from their code: a white cell is drawn and then a point of it, instead of rejecting points of the
//! square, which gives the same law; samples are made without end instead of 10⁷ of them once.

use flowmap_core::NoiseStream;
use serde::{Deserialize, Serialize};

use super::plane;
use crate::{DataSet, Facts};

/// Cells along an edge of the board.
const N_CELLS: usize = 4;

/// Length of the edge of a cell.
const CELL: f64 = 0.5;

/// Half of the edge of the board in a plot; samples of a model that leave the board stay visible.
const EXTENT: f64 = 1.2;

/// The checkerboard of the papers; there is nothing to choose.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckerboardConfig {}

/// Uniform on the white cells of a 4 x 4 board on [−1, 1]²; no labels.
///
/// ```
/// use flowmap_data::{Checkerboard, DataSet};
///
/// // Each white cell of the board has mass 1/8.
/// let masses = Checkerboard.cell_masses(-1.0, 1.0, 4);
/// assert_eq!(masses.map(|masses| (masses[0], masses[1])), Some((0.125, 0.0)));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checkerboard;

impl DataSet for Checkerboard {
    /// 1/√3: each coordinate alone is uniform on [−1, 1].
    fn facts(&self) -> Facts<'_> {
        Facts::endless(&[2], 0, (1.0f64 / 3.0).sqrt())
    }

    fn draw(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> Option<u32> {
        let mut noise = stream.at(index);
        let cell = noise.below((N_CELLS * N_CELLS / 2) as u64) as usize;
        let i = cell / 2;
        let j = 2 * (cell % 2) + i % 2; // i + j is even
        let (u, v) = (noise.uniform(), noise.uniform());
        for (out, (cell, u)) in out.iter_mut().zip([(i, u), (j, v)]) {
            let border = CELL * (cell + 1) as f64 - 1.0;
            let value = (CELL * (cell as f64 + u) - 1.0) as f32;
            // Rounding to f32 must not carry a point over to the black neighbor.
            *out = if f64::from(value) < border { value } else { value.next_down() };
        }
        None
    }

    /// The area of the white part of each cell, times ½.
    fn cell_masses(&self, lo: f64, hi: f64, bins: usize) -> Option<Vec<f64>> {
        let borders = plane::borders(lo, hi, bins)?;
        let strips = |parity: usize| -> Vec<f64> {
            borders.windows(2).map(|bin| overlap_with_strips(bin[0], bin[1], parity)).collect()
        };
        // (1): both strips even, or both odd; each density ½ · dx · dy.
        let halved = |parity| [strips(parity).iter().map(|dx| 0.5 * dx).collect(), strips(parity)];
        Some(plane::sum_of_products(&[halved(0), halved(1)], bins))
    }

    fn extent(&self) -> Option<f64> {
        Some(EXTENT)
    }
}

/// Length of the part of [lo, hi] in the strips of the board whose number is even (parity 0) or odd (1).
fn overlap_with_strips(lo: f64, hi: f64, parity: usize) -> f64 {
    let strips = (parity..N_CELLS).step_by(2);
    strips
        .map(|strip| {
            let start = CELL * strip as f64 - 1.0;
            (hi.min(start + CELL) - lo.max(start)).max(0.0)
        })
        .sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::density::claims;

    #[test]
    fn points_lie_on_white_cells() {
        claims::all_points(&Checkerboard, |[x, y], _| {
            let cell = |v: f64| (2.0 * (v + 1.0)).floor();
            assert!((-1.0..1.0).contains(&x) && (-1.0..1.0).contains(&y), "({x}, {y}) leaves the board");
            assert!((cell(x) + cell(y)) % 2.0 == 0.0, "({x}, {y}) is black");
        });
    }

    #[test]
    fn claims_of_a_set_hold() {
        claims::hold(&Checkerboard, &[]);
    }

    #[test]
    fn cell_masses_are_those_of_the_samples() {
        for (lo, hi, bins) in [(-1.0, 1.0, 4), (-1.0, 1.0, 64), (-1.0, 1.0, 50), (-0.7, 1.3, 9)] {
            claims::cell_masses_are_right(&Checkerboard, lo, hi, bins);
        }
    }

    /// Thousands of roundings of borders and sums.
    const TOLERANCE: f64 = 1e-12;

    #[test]
    fn cell_masses_are_exact_on_aligned_and_cut_cells() {
        let aligned = Checkerboard.cell_masses(-1.0, 1.0, 64).unwrap();
        for (cell, mass) in aligned.iter().enumerate() {
            let is_white = (cell / 64 / 16 + cell % 64 / 16) % 2 == 0;
            assert_eq!(*mass, if is_white { 1.0 / 2048.0 } else { 0.0 });
        }
        // Of 50 bins the borders at ±½ cut bins 12 and 37 in half.
        let cut = Checkerboard.cell_masses(-1.0, 1.0, 50).unwrap();
        assert!((cut[12 * 50] - 0.5 * cut[0]).abs() < TOLERANCE);
        assert!((cut.iter().sum::<f64>() - 1.0).abs() < TOLERANCE);
        assert!(
            (Checkerboard.cell_masses(-2.0, 2.0, 3).unwrap().iter().sum::<f64>() - 1.0).abs() < TOLERANCE
        );
        assert_eq!(Checkerboard.cell_masses(0.0, 0.0, 3), None);
    }
}
