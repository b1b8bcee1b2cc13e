//! The checkerboard density, known in closed form.
//!
//! p(x, y) = 1/2 where ⌊c (x+1)/2⌋ + ⌊c (y+1)/2⌋ is even, on [-1, 1]² cut into c × c cells, and 0 elsewhere.
//!
//! With c = 4 this is the target of Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825, appendix G.
//! A cell contains its lower edges; half of the area is white for every even c, so the density is 1/2.

use super::SquareGrid;
use crate::{Error, Result};

/// A uniform density on the white cells of a checkerboard on `[-1, 1]²`.
///
/// ```
/// use flowmap_metrics::Checkerboard;
///
/// assert_eq!(Checkerboard::PAPER.density(-0.9, -0.9), 0.5); // cell (0, 0)
/// assert_eq!(Checkerboard::PAPER.density(-0.9, -0.4), 0.0); // cell (0, 1)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkerboard {
    cells: usize,
}

impl Checkerboard {
    /// The 4 × 4 board of the paper.
    pub const PAPER: Self = Self { cells: 4 };

    /// A board of `cells` × `cells` cells, the first one white.
    ///
    /// # Errors
    /// When `cells` is odd or 0.
    pub fn new(cells: usize) -> Result<Self> {
        if cells > 0 && cells.is_multiple_of(2) { Ok(Self { cells }) } else { Err(Error::Cells { cells }) }
    }

    /// The density at `(x, y)`.
    pub fn density(&self, x: f64, y: f64) -> f64 {
        match (self.cell(x), self.cell(y)) {
            (Some(i), Some(j)) if (i + j).is_multiple_of(2) => 0.5,
            _ => 0.0,
        }
    }

    /// The exact mass of every bin of `grid`, row-major, also where a bin is cut by cell borders.
    ///
    /// A bin of sides A and B has mass 1/2 (e(A) e(B) + o(A) o(B)) with e and o the lengths of a side that
    /// lie in cells of even and of odd number.
    pub fn bin_masses(&self, grid: SquareGrid) -> Vec<f64> {
        let sides: Vec<(f64, f64)> =
            (0..grid.bins()).map(|i| self.even_and_odd_length(grid.edge(i), grid.edge(i + 1))).collect();
        let row = |a: (f64, f64)| sides.iter().map(move |b| 0.5 * (a.0 * b.0 + a.1 * b.1));
        sides.iter().flat_map(|&a| row(a)).collect()
    }

    fn cell(&self, x: f64) -> Option<usize> {
        (-1.0..=1.0)
            .contains(&x)
            .then(|| (((x + 1.0) * 0.5 * self.cells as f64) as usize).min(self.cells - 1))
    }

    fn even_and_odd_length(&self, from: f64, to: f64) -> (f64, f64) {
        let border = |k: usize| -1.0 + 2.0 * k as f64 / self.cells as f64;
        let mut lengths = (0.0, 0.0);
        for k in 0..self.cells {
            let overlap = (to.min(border(k + 1)) - from.max(border(k))).max(0.0);
            if k.is_multiple_of(2) {
                lengths.0 += overlap;
            } else {
                lengths.1 += overlap;
            }
        }
        lengths
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Rounding of a sum of 4096 masses of about 1e-4.
    const SUM_TOLERANCE: f64 = 1e-12;

    #[test]
    fn masses_add_up_to_one_on_every_grid_that_covers_the_board() {
        for grid in [SquareGrid::PAPER, SquareGrid::EXACT, SquareGrid::new(60, -2.5, 2.5).unwrap()] {
            let sum: f64 = Checkerboard::PAPER.bin_masses(grid).iter().sum();
            assert!((sum - 1.0).abs() < SUM_TOLERANCE, "{sum}");
        }
    }

    #[test]
    fn aligned_bins_are_white_or_black_as_their_center() {
        let grid = SquareGrid::EXACT;
        let masses = Checkerboard::PAPER.bin_masses(grid);
        for (bin, mass) in masses.iter().enumerate() {
            let (x, y) = (grid.center(bin / 64), grid.center(bin % 64));
            assert_eq!(*mass, Checkerboard::PAPER.density(x, y) * grid.bin_area());
        }
        assert_eq!(masses.iter().filter(|mass| **mass > 0.0).count(), 2048);
    }

    #[test]
    fn a_bin_on_a_cell_border_has_half_the_mass_of_a_white_one() {
        let grid = SquareGrid::PAPER;
        let masses = Checkerboard::PAPER.bin_masses(grid);
        assert!((masses[12 * 50] - 0.25 * grid.bin_area()).abs() < SUM_TOLERANCE);
        assert!((masses[0] - 0.5 * grid.bin_area()).abs() < SUM_TOLERANCE);
    }

    #[test]
    fn odd_boards_are_refused() {
        assert_eq!(Checkerboard::new(3).err(), Some(Error::Cells { cells: 3 }));
        assert_eq!(Checkerboard::new(0).err(), Some(Error::Cells { cells: 0 }));
        assert_eq!(Checkerboard::new(4).unwrap(), Checkerboard::PAPER);
    }
}
