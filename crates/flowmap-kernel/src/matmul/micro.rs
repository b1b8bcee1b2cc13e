//! The innermost loop of a matrix product: a few rows times one panel, all sums in registers.
//!
//! c_{ij} ← Σ_p a_{ip} b_{pj} for R rows i and the columns j of a panel; the sum runs over p in order.
#![expect(unsafe_code, reason = "vector instructions and pointers without bounds checks")]

use crate::lanes::{Lanes, Plain};

/// What one call computes: up to [`MicroKernel::rows`] rows of a times one panel of [`MicroKernel::columns`] columns.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// Rows of a.
    pub(crate) rows: usize,
    /// Length of the sums.
    pub(crate) k: usize,
    /// a: element (i, p) at i `a_row_stride` + p `a_stride`.
    pub(crate) a: *const f32,
    pub(crate) a_row_stride: usize,
    pub(crate) a_stride: usize,
    /// The panel: row p of it at p times the number of its columns.
    pub(crate) panel: *const f32,
    /// c: rows `c_row_stride` apart.
    pub(crate) c: *mut f32,
    pub(crate) c_row_stride: usize,
    /// Whether the sums are added to what c holds.
    pub(crate) is_added: bool,
}

/// The sums of `R` rows in `P` vectors each.
///
/// # Safety
/// As [`MicroKernel::run`], and `tile.rows` is `R`.
#[inline(always)]
unsafe fn rows<V: Lanes, const R: usize, const P: usize>(tile: Tile) {
    // SAFETY: the caller vouches for all of a, the panel and c.
    unsafe {
        let mut sums = [[V::zero(); P]; R];
        if tile.is_added {
            for (i, sums) in sums.iter_mut().enumerate() {
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(tile.c.add(i * tile.c_row_stride + j * V::N));
                }
            }
        }
        let (mut a, mut panel) = (tile.a, tile.panel);
        for _ in 0..tile.k {
            let mut b = [V::zero(); P];
            for (j, b) in b.iter_mut().enumerate() {
                *b = V::load(panel.add(j * V::N));
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let x = V::splat(*a.add(i * tile.a_row_stride));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = sum.add_product(x, b);
                }
            }
            a = a.wrapping_add(tile.a_stride);
            panel = panel.add(P * V::N);
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (j, sum) in sums.into_iter().enumerate() {
                sum.store(tile.c.add(i * tile.c_row_stride + j * V::N));
            }
        }
    }
}

/// Calls `rows` with the number of rows known at compile time.
macro_rules! dispatch_rows {
    ($vector:ty, $tile:ident, $($rows:literal)*) => {
        match $tile.rows {
            // SAFETY: the caller vouches for the tile, the match for its rows.
            $($rows => unsafe { rows::<$vector, $rows, 2>($tile) },)*
            _ => unreachable!("a tile has at most as many rows as its kernel takes"),
        }
    };
}

/// # Safety
/// As [`MicroKernel::run`].
unsafe fn plain(tile: Tile) {
    dispatch_rows!(Plain<4>, tile, 1 2 3 4 5 6);
}

/// # Safety
/// As [`MicroKernel::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(tile: Tile) {
    dispatch_rows!(std::arch::x86_64::__m256, tile, 1 2 3 4 5 6);
}

/// # Safety
/// As [`MicroKernel::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(tile: Tile) {
    dispatch_rows!(std::arch::x86_64::__m512, tile, 1 2 3 4 5 6 7 8 9 10 11 12);
}

/// The innermost loop for one set of vector instructions.
#[derive(Clone, Copy)]
pub(crate) struct MicroKernel {
    /// Rows of a that it takes at most.
    pub(crate) rows: usize,
    /// Columns of a panel.
    pub(crate) columns: usize,
    run: unsafe fn(Tile),
}

impl MicroKernel {
    /// The kernel with the widest vectors that this processor has.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Self { rows: 12, columns: 32, run: avx512 };
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self { rows: 6, columns: 16, run: avx2 };
            }
        }
        Self { rows: 6, columns: 8, run: plain }
    }

    /// Computes one tile.
    ///
    /// # Safety
    /// `tile` has 1 to `self.rows` rows; all that it names of a and of the panel can be read,
    /// and `self.columns` numbers of each of its rows of c can be written, and read if it adds.
    #[inline(always)]
    pub(crate) unsafe fn run(self, tile: Tile) {
        // SAFETY: the processor has the instructions, as `detect` found; the caller vouches for the memory.
        unsafe { (self.run)(tile) }
    }
}
