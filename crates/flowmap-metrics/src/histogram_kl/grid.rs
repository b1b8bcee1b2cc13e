//! Square bins on a square of the plane.

use crate::{Error, Result, Samples};

/// `bins` × `bins` equal squares on `[lo, hi]²`; bin `(i, j)` has index `i * bins + j`, i along the first
/// axis.
///
/// A bin contains its lower edges; the last one along each axis contains its upper edge too, as in NumPy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SquareGrid {
    bins: usize,
    lo: f64,
    hi: f64,
}

impl SquareGrid {
    /// Protocol `paper`: 50 × 50 bins on `[-1, 1]²`.
    pub const PAPER: Self = Self { bins: 50, lo: -1.0, hi: 1.0 };

    /// Protocol `exact` by default: 64 × 64 bins on `[-1, 1]²`.
    pub const EXACT: Self = Self { bins: 64, lo: -1.0, hi: 1.0 };

    /// `bins` bins along each axis of `[lo, hi]²`.
    ///
    /// # Errors
    /// When there is no bin or `lo < hi` does not hold for finite ends.
    pub fn new(bins: usize, lo: f64, hi: f64) -> Result<Self> {
        if bins > 0 && lo < hi && (hi - lo).is_finite() {
            Ok(Self { bins, lo, hi })
        } else {
            Err(Error::Grid { bins, lo, hi })
        }
    }

    /// Bins along one axis.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// Bins in all, `bins²`.
    pub fn n_bins(&self) -> usize {
        self.bins * self.bins
    }

    /// Lower end of both axes.
    pub fn lo(&self) -> f64 {
        self.lo
    }

    /// Upper end of both axes.
    pub fn hi(&self) -> f64 {
        self.hi
    }

    /// Area of one bin.
    pub fn bin_area(&self) -> f64 {
        let width = (self.hi - self.lo) / self.bins as f64;
        width * width
    }

    /// Lower edge of bin `i` along an axis; `edge(bins)` is the upper end.
    pub fn edge(&self, i: usize) -> f64 {
        self.lo + (self.hi - self.lo) * i as f64 / self.bins as f64
    }

    /// Center of bin `i` along an axis.
    pub fn center(&self, i: usize) -> f64 {
        // One rounding, so that a center on a cell border of the target lies exactly on it.
        self.lo + (self.hi - self.lo) * (2 * i + 1) as f64 / (2 * self.bins) as f64
    }

    /// Index of the bin that contains `(x, y)`, `None` outside.
    pub fn bin_of(&self, x: f64, y: f64) -> Option<usize> {
        Some(self.axis_bin(x)? * self.bins + self.axis_bin(y)?)
    }

    fn axis_bin(&self, x: f64) -> Option<usize> {
        if !(self.lo..=self.hi).contains(&x) {
            return None;
        }
        let bin = ((x - self.lo) / (self.hi - self.lo) * self.bins as f64) as usize;
        Some(bin.min(self.bins - 1))
    }

    /// Samples in each bin and samples outside.
    pub(crate) fn counts(&self, samples: Samples<'_>) -> Result<Counts> {
        if samples.dim() != 2 {
            return Err(Error::Dimension { expected: 2, got: samples.dim() });
        }
        let mut counts = Counts { in_bins: vec![0; self.n_bins()], outside: 0 };
        for row in samples.rows() {
            match self.bin_of(f64::from(row[0]), f64::from(row[1])) {
                Some(bin) => counts.in_bins[bin] += 1,
                None => counts.outside += 1,
            }
        }
        Ok(counts)
    }
}

/// A histogram.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) in_bins: Vec<u64>,
    pub(crate) outside: u64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bins_contain_their_lower_edge_and_the_last_one_its_upper_edge() {
        let grid = SquareGrid::EXACT;
        for i in 0..grid.bins() {
            assert_eq!(grid.bin_of(grid.edge(i), -1.0), Some(i * 64));
            assert_eq!(grid.bin_of(-1.0, grid.center(i)), Some(i));
        }
        assert_eq!(grid.bin_of(1.0, 1.0), Some(64 * 64 - 1));
        assert_eq!(grid.bin_of(1.0 + 1e-6, 0.0), None);
        assert_eq!(grid.bin_of(0.0, -1.0 - 1e-6), None);
    }

    #[test]
    fn counting_loses_no_sample() {
        let samples = [-1.0, -1.0, 1.0, 1.0, 0.0, 0.0, 3.0, 0.0];
        let counts = SquareGrid::PAPER.counts(Samples::new(&samples, 2).unwrap()).unwrap();
        assert_eq!((counts.in_bins.iter().sum::<u64>(), counts.outside), (3, 1));
        let error = SquareGrid::PAPER.counts(Samples::new(&samples, 4).unwrap()).err();
        assert_eq!(error, Some(Error::Dimension { expected: 2, got: 4 }));
    }

    #[test]
    fn empty_grids_are_refused() {
        assert!(SquareGrid::new(0, -1.0, 1.0).is_err());
        assert!(SquareGrid::new(4, 1.0, 1.0).is_err());
        assert!(SquareGrid::new(4, f64::NAN, 1.0).is_err());
        assert!(SquareGrid::new(4, 0.0, f64::INFINITY).is_err());
    }
}
