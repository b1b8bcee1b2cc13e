//! The innermost loop of a matrix product: a few rows times one panel, all sums in registers.
//!
//! c_{ij} ← Σ_p a_{ip} b_{pj} for R rows i and the columns j of a panel; the sum runs over p in order.
#![expect(unsafe_code, reason = "vector instructions and pointers without bounds checks")]

/// A vector of numbers in a register.
trait Vector: Copy {
    /// How many numbers.
    const LANES: usize;

    /// All `x`.
    ///
    /// # Safety
    /// The processor has the instructions of this vector, here and in all other functions.
    unsafe fn splat(x: f32) -> Self;

    /// The numbers from `from` on.
    ///
    /// # Safety
    /// `LANES` numbers can be read there.
    unsafe fn load(from: *const f32) -> Self;

    /// Writes the numbers from `to` on.
    ///
    /// # Safety
    /// `LANES` numbers can be written there.
    unsafe fn store(self, to: *mut f32);

    /// self + a b.
    ///
    /// # Safety
    /// As above.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;

    /// self + a.
    ///
    /// # Safety
    /// As above.
    unsafe fn plus(self, a: Self) -> Self;
}

/// Four numbers, which every compiler knows how to hold in a register.
#[derive(Clone, Copy)]
struct Plain([f32; 4]);

impl Vector for Plain {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for four numbers; the array needs no more alignment than they do.
        Self(unsafe { *from.cast() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as for `load`.
        unsafe { *to.cast() = self.0 }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        let fused = |i: usize| match cfg!(target_arch = "aarch64") {
            true => a.0[i].mul_add(b.0[i], self.0[i]),
            // Without the instruction a fused multiply-add is a slow function call.
            false => self.0[i] + a.0[i] * b.0[i],
        };
        Self([fused(0), fused(1), fused(2), fused(3)])
    }

    #[inline(always)]
    unsafe fn plus(self, a: Self) -> Self {
        Self([self.0[0] + a.0[0], self.0[1] + a.0[1], self.0[2] + a.0[2], self.0[3] + a.0[3]])
    }
}

/// Implements [`Vector`] by the intrinsics of x86.
#[cfg(target_arch = "x86_64")]
macro_rules! x86_vector {
    ($type:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident, $fmadd:ident, $add:ident) => {
        impl Vector for $type {
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn splat(x: f32) -> Self {
                // SAFETY: the caller vouches for the instruction, here and below.
                unsafe { std::arch::x86_64::$splat(x) }
            }

            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: the caller vouches for the memory; the load may be unaligned.
                unsafe { std::arch::x86_64::$load(from) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: the caller vouches for the memory; the store may be unaligned.
                unsafe { std::arch::x86_64::$store(to, self) }
            }

            #[inline(always)]
            unsafe fn add_product(self, a: Self, b: Self) -> Self {
                // SAFETY: as for `splat`.
                unsafe { std::arch::x86_64::$fmadd(a, b, self) }
            }

            #[inline(always)]
            unsafe fn plus(self, a: Self) -> Self {
                // SAFETY: as for `splat`.
                unsafe { std::arch::x86_64::$add(self, a) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
x86_vector!(
    std::arch::x86_64::__m256,
    8,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_fmadd_ps,
    _mm256_add_ps
);

#[cfg(target_arch = "x86_64")]
x86_vector!(
    std::arch::x86_64::__m512,
    16,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_fmadd_ps,
    _mm512_add_ps
);

/// What one call computes: up to [`MicroKernel::rows`] rows of a times one panel of [`MicroKernel::columns`] columns.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// Rows of a.
    pub(super) rows: usize,
    /// Length of the sums.
    pub(super) k: usize,
    /// a: element (i, p) at i `a_row_stride` + p `a_stride`.
    pub(super) a: *const f32,
    pub(super) a_row_stride: usize,
    pub(super) a_stride: usize,
    /// The panel: row p of it at p times the number of its columns.
    pub(super) panel: *const f32,
    /// c: rows `c_row_stride` apart.
    pub(super) c: *mut f32,
    pub(super) c_row_stride: usize,
    /// Whether the sums are added to what c holds.
    pub(super) is_added: bool,
}

/// The sums of `R` rows in `P` vectors each.
///
/// # Safety
/// As [`MicroKernel::run`], and `tile.rows` is `R`.
#[inline(always)]
unsafe fn rows<V: Vector, const R: usize, const P: usize>(tile: Tile) {
    // SAFETY: the caller vouches for all of a, the panel and c.
    unsafe {
        let mut sums = [[V::splat(0.0); P]; R];
        let (mut a, mut panel) = (tile.a, tile.panel);
        for _ in 0..tile.k {
            let mut b = [V::splat(0.0); P];
            for (j, b) in b.iter_mut().enumerate() {
                *b = V::load(panel.add(j * V::LANES));
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let x = V::splat(*a.add(i * tile.a_row_stride));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = sum.add_product(x, b);
                }
            }
            a = a.wrapping_add(tile.a_stride);
            panel = panel.add(P * V::LANES);
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (j, sum) in sums.into_iter().enumerate() {
                let c = tile.c.add(i * tile.c_row_stride + j * V::LANES);
                let sum = if tile.is_added { V::load(c).plus(sum) } else { sum };
                sum.store(c);
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
    dispatch_rows!(Plain, tile, 1 2 3 4 5 6);
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
pub(super) struct MicroKernel {
    /// Rows of a that it takes at most.
    pub(super) rows: usize,
    /// Columns of a panel.
    pub(super) columns: usize,
    run: unsafe fn(Tile),
}

impl MicroKernel {
    /// The kernel with the widest vectors that this processor has.
    pub(super) fn detect() -> Self {
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
    pub(super) unsafe fn run(self, tile: Tile) {
        // SAFETY: the processor has the instructions, as `detect` found; the caller vouches for the memory.
        unsafe { (self.run)(tile) }
    }
}
