//! Points of the plane and grids of cells on a square.

/// Writes a point into the first two places of `out`.
pub(super) fn put(out: &mut [f32], [x, y]: [f64; 2]) {
    for (out, value) in out.iter_mut().zip([x, y]) {
        *out = value as f32;
    }
}

/// The `bins + 1` borders of equal bins on [lo, hi]; `None` if these make no grid that fits in memory.
pub(super) fn borders(lo: f64, hi: f64, bins: usize) -> Option<Vec<f64>> {
    /// Cells of a grid; 2²⁶ take 512 MiB.
    const MAX_CELLS: usize = 1 << 26;
    let n_cells = bins.checked_mul(bins)?;
    let is_grid = lo < hi && (hi - lo).is_finite() && (1..=MAX_CELLS).contains(&n_cells);
    let n = bins as f64;
    is_grid.then(|| (0..=bins).map(|i| lo + (hi - lo) * (i as f64 / n)).collect())
}

/// The cells `[ix * bins + iy]` of Σ_k x_k[ix] y_k[iy], a sum of products of laws on the axes.
pub(super) fn sum_of_products(axes: &[[Vec<f64>; 2]], bins: usize) -> Vec<f64> {
    let mut masses = vec![0.0; bins * bins];
    for [x, y] in axes {
        for (row, x) in masses.chunks_exact_mut(bins).zip(x) {
            for (mass, y) in row.iter_mut().zip(y) {
                *mass += x * y;
            }
        }
    }
    masses
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn borders_end_at_the_ends() {
        let borders = borders(-1.0, 1.0, 50).unwrap();
        assert_eq!((borders[0], borders[25], borders[50]), (-1.0, 0.0, 1.0));
    }

    #[test]
    fn nonsense_makes_no_grid() {
        for (lo, hi, bins) in [
            (1.0, 1.0, 4),
            (2.0, 1.0, 4),
            (f64::NAN, 1.0, 4),
            (0.0, f64::INFINITY, 4),
            (0.0, 1.0, 0),
            (0.0, 1.0, usize::MAX),
            (0.0, 1.0, 1 << 20),
        ] {
            assert_eq!(borders(lo, hi, bins), None);
        }
    }
}
