//! Smoothed histograms of points in the plane.

use crate::{Error, Result};

/// The blur grows until this many points fall under the kernel on average.
const POINTS_UNDER_KERNEL: f64 = 30.0;
/// The least and the largest blur in bins.
const BLUR: (f64, f64) = (0.6, 3.0);
/// The top of the color scale: this share of the mass lies in bins that are less dense.
const SCALE_QUANTILE: f64 = 0.95;

/// A density on `[-extent, extent]²`, 1 where the points are spread as the uniform law would.
#[derive(Debug)]
pub(crate) struct Density {
    n_bins: usize,
    /// Row-major, the top row (largest y) first.
    values: Vec<f64>,
    /// Points with two finite coordinates, inside and outside of the window.
    pub(crate) n_finite: usize,
    /// Points that were left out since a coordinate is not finite.
    pub(crate) n_skipped: usize,
}

impl Density {
    /// Histogram of `points`, `(n, 2)` row-major.
    pub(crate) fn new(points: &[f32], extent: f64, n_bins: usize) -> Self {
        let mut values = vec![0.0; n_bins * n_bins];
        let (mut n_finite, mut n_skipped) = (0, 0);
        for point in points.chunks_exact(2) {
            let (x, y) = (f64::from(point[0]), f64::from(point[1]));
            if !(x.is_finite() && y.is_finite()) {
                n_skipped += 1;
                continue;
            }
            n_finite += 1;
            let column = ((x + extent) / (2.0 * extent) * n_bins as f64).floor();
            let row = ((extent - y) / (2.0 * extent) * n_bins as f64).floor();
            let inside = 0.0..n_bins as f64;
            if inside.contains(&column) && inside.contains(&row) {
                values[row as usize * n_bins + column as usize] += 1.0;
            }
        }
        let uniform = n_finite.max(1) as f64 / (n_bins * n_bins) as f64;
        values.iter_mut().for_each(|v| *v /= uniform);
        Self { n_bins, values, n_finite, n_skipped }
    }

    /// The density in a bin.
    pub(crate) fn at(&self, column: usize, row: usize) -> f64 {
        self.values[row * self.n_bins + column]
    }

    /// Gaussian blur of `blur` bins; nothing leaks through the border of the window.
    pub(crate) fn smooth(&mut self, blur: f64) {
        let reach = (3.0 * blur).ceil() as usize;
        let kernel: Vec<f64> = (0..=reach).map(|k| (-0.5 * (k as f64 / blur).powi(2)).exp()).collect();
        for stride in [1, self.n_bins] {
            let across = if stride == 1 { self.n_bins } else { 1 };
            let mut line = vec![0.0; self.n_bins];
            for line_idx in 0..self.n_bins {
                let start = line_idx * across;
                for (k, value) in line.iter_mut().enumerate() {
                    *value = self.values[start + k * stride];
                }
                for k in 0..self.n_bins {
                    let (mut sum, mut weight) = (0.0, 0.0);
                    let last = (k + reach).min(self.n_bins - 1);
                    for (j, value) in line[..=last].iter().enumerate().skip(k.saturating_sub(reach)) {
                        sum += kernel[j.abs_diff(k)] * value;
                        weight += kernel[j.abs_diff(k)];
                    }
                    self.values[start + k * stride] = sum / weight;
                }
            }
        }
    }

    /// The value for the dark end of the color scale, `None` where the window is empty.
    ///
    /// 95 % of the mass lies in bins below it, which keeps single dense bins from bleaching the rest.
    pub(crate) fn scale(&self) -> Option<f64> {
        let mut values: Vec<f64> = self.values.iter().copied().filter(|v| *v > 0.0).collect();
        values.sort_by(f64::total_cmp);
        let mass: f64 = values.iter().sum();
        let mut below = 0.0;
        for value in &values {
            below += value;
            if below >= SCALE_QUANTILE * mass {
                return Some(*value);
            }
        }
        values.last().copied()
    }
}

/// The blur in bins that suits `n_points` points on a grid of `n_bins`².
pub(crate) fn blur_for(n_points: usize, n_bins: usize) -> f64 {
    // The kernel covers 4 π blur² bins.
    let points_per_bin = n_points.max(1) as f64 / (n_bins * n_bins) as f64;
    let blur2 = POINTS_UNDER_KERNEL / (4.0 * std::f64::consts::PI * points_per_bin);
    blur2.sqrt().clamp(BLUR.0, BLUR.1)
}

/// Refuses points that are not `(n, 2)` and windows that are no square.
///
/// # Errors
/// [`Error::Ragged`] and [`Error::Extent`].
pub(crate) fn check_points(what: &str, points: &[f32], extent: f64) -> Result<()> {
    if !(extent.is_finite() && extent > 0.0) {
        return Err(Error::Extent { extent });
    }
    if !points.len().is_multiple_of(2) {
        return Err(Error::Ragged { what: what.to_owned(), len: points.len(), row: 2 });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Rounding of a few hundred additions in f64.
    const ROUNDING: f64 = 1e-12;

    #[test]
    fn points_fall_into_their_bins_with_y_upward() {
        let density = Density::new(&[-0.9, 0.9, -0.9, 0.9, 0.9, -0.9, 5.0, 0.0], 1.0, 2);
        assert_eq!(density.at(0, 0), 2.0 * density.at(1, 1));
        assert!(density.at(1, 1) > 0.0);
        assert_eq!(density.at(1, 0), 0.0);
        assert_eq!((density.n_finite, density.n_skipped), (4, 0));
    }

    #[test]
    fn points_that_are_not_finite_are_counted_and_left_out() {
        let density = Density::new(&[f32::NAN, 0.0, 0.0, f32::INFINITY, 0.1, 0.1], 1.0, 4);
        assert_eq!((density.n_finite, density.n_skipped), (1, 2));
    }

    #[test]
    fn smoothing_leaves_the_uniform_density_alone() {
        let mut points = Vec::new();
        for k in 0..64 {
            points.push(((k % 8) as f32 + 0.5) / 4.0 - 1.0);
            points.push(((k / 8) as f32 + 0.5) / 4.0 - 1.0);
        }
        let mut density = Density::new(&points, 1.0, 8);
        density.smooth(1.3);
        assert!(density.values.iter().all(|v| (v - 1.0).abs() < ROUNDING));
        assert!((density.scale().unwrap() - 1.0).abs() < ROUNDING);
    }

    #[test]
    fn blur_falls_with_the_number_of_points() {
        assert!(blur_for(10_000, 240) > blur_for(100_000, 240));
        assert_eq!(blur_for(0, 240), BLUR.1);
        assert_eq!(blur_for(usize::MAX, 240), BLUR.0);
    }
}
