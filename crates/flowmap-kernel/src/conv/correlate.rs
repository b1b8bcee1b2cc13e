//! Correlation as a matrix product whose columns are never written: a table says where each of them lies.
//!
//! y\[o, p\] = Σ_t K\[o, t\] x\[tap_t + base_p\],  K̄\[o, t\] = Σ_p ȳ\[o, p\] x\[tap_t + base_p\]     (1)
//!
//! A tap is a channel and a place in the window, a base a vector of neighboring pixels.
//! Both sums stay in registers: six rows of K by two or four vectors, four or eight rows of ȳ by three taps.
//! This is the indirect convolution of Dukhan 2019, arXiv:1907.02129, with offsets in place of pointers.

use crate::lanes::{Lanes, VectorKernel, dispatch_lanes, lanes};
use crate::matmul::gemm::Write;
use crate::memory::pool::Buffer;

/// Rows of K that [`correlate`] takes at once.
pub(crate) const ROWS: usize = 6;
/// Vectors of x after which the next rows of K take their turn: they stay in the nearest cache.
const VECTOR_BLOCK: usize = 640;
/// Rows of ȳ in a block of [`correlate_weights`].
const GRADIENT_ROWS: usize = 8;
/// Taps that [`correlate_weights`] takes at once.
const TAPS: usize = 3;

/// Where the columns lie in a buffer: at each tap plus each base, one vector.
pub(crate) struct Columns<'a> {
    /// The numbers.
    pub(crate) data: &'a [f32],
    /// Offsets of the rows of the column matrix.
    pub(crate) taps: &'a [usize],
    /// Offsets of its vectors of [`lanes`] columns.
    pub(crate) bases: &'a [usize],
}

impl Columns<'_> {
    /// Refuses offsets that lead out of the buffer.
    fn check(&self) {
        let last = |offsets: &[usize]| offsets.iter().copied().max().unwrap_or(0);
        let is_inside = last(self.taps) + last(self.bases) + lanes() <= self.data.len();
        assert!(is_inside || self.taps.is_empty() || self.bases.is_empty(), "a column leaves its buffer");
    }
}

/// The rows of a kernel in blocks of six, tap after tap, zeros below the last row.
pub(crate) struct PackedRows {
    values: Buffer,
    rows: usize,
    taps: usize,
}

impl PackedRows {
    /// Packs K\[row, tap\] = `kernel`\[row `row_len` + `taps`\[tap\]\].
    pub(crate) fn new(kernel: &[f32], rows: usize, row_len: usize, taps: &[usize]) -> Self {
        let Self { mut values, .. } = Self::blank(rows, taps.len());
        values.fill(0.0);
        for (block, values) in values.chunks_exact_mut((ROWS * taps.len()).max(1)).enumerate() {
            for row in 0..ROWS.min(rows - block * ROWS) {
                let kernel = &kernel[(block * ROWS + row) * row_len..];
                for (values, tap) in values.as_chunks_mut::<ROWS>().0.iter_mut().zip(taps) {
                    values[row] = kernel[*tap];
                }
            }
        }
        Self { values, rows, taps: taps.len() }
    }

    /// Room for all K\[row, tap\], each block and tap still to be [`set`](Self::set).
    pub(crate) fn blank(rows: usize, taps: usize) -> Self {
        Self { values: Buffer::new(rows.div_ceil(ROWS) * ROWS * taps), rows, taps }
    }

    /// K\[row, tap\] for the rows of one block; what is below the last row must be zero.
    pub(crate) fn set(&mut self, block: usize, tap: usize, rows: [f32; ROWS]) {
        self.values[(block * self.taps + tap) * ROWS..][..ROWS].copy_from_slice(&rows);
    }
}

/// Numbers that [`correlate`] writes: the rows of the result, padded to whole blocks.
pub(crate) fn correlation_len(rows: usize, vectors: usize) -> usize {
    rows.div_ceil(ROWS) * ROWS * vectors * lanes()
}

/// `y` ← K columns, in rows of as many vectors as there are bases.
pub(crate) fn correlate(kernel: &PackedRows, columns: &Columns<'_>, y: &mut [f32]) {
    columns.check();
    assert_eq!(kernel.taps, columns.taps.len(), "taps of a correlation");
    assert_eq!(y.len(), correlation_len(kernel.rows, columns.bases.len()), "size of a correlation");
    if columns.taps.is_empty() || columns.bases.is_empty() {
        return y.fill(0.0);
    }
    dispatch_lanes(Correlate { kernel, columns, y });
}

struct Correlate<'a> {
    kernel: &'a PackedRows,
    columns: &'a Columns<'a>,
    y: &'a mut [f32],
}

#[expect(unsafe_code, reason = "vector instructions take pointers")]
impl VectorKernel for Correlate<'_> {
    // SAFETY: the dispatcher vouches for the instructions of `V`.
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        let Self { kernel, columns: Columns { data, taps, bases }, y } = self;
        let row_len = bases.len() * V::N;
        // As many sums as there are registers for.
        let vectors = V::REGISTERS / 8;
        // Blocks of about the same size.
        let block = taps.len().div_ceil((taps.len() * vectors).div_ceil(VECTOR_BLOCK).max(1)).max(1);
        for (i, bases) in bases.chunks(vectors).enumerate() {
            for (j, taps) in taps.chunks(block).enumerate() {
                let write = if j == 0 { Write::Set } else { Write::Add };
                let kernels = kernel.values.chunks_exact(ROWS * kernel.taps);
                for (kernel, rows) in kernels.zip(y.chunks_exact_mut(ROWS * row_len)) {
                    let kernel = &kernel[j * block * ROWS..][..taps.len() * ROWS];
                    let rows = rows[i * vectors * V::N..].as_mut_ptr();
                    let tile = Tile { data: data.as_ptr(), taps, kernel, bases, rows, row_len, write };
                    // SAFETY: `check` has seen that every tap plus every base is in the data, and `rows` begins in the
                    // first of six rows of `row_len` numbers, with room for as many vectors as there are bases.
                    unsafe {
                        match bases.len() {
                            1 => tile.run::<V, 1>(),
                            2 => tile.run::<V, 2>(),
                            3 => tile.run::<V, 3>(),
                            _ => tile.run::<V, 4>(),
                        }
                    }
                }
            }
        }
    }
}

/// Six rows of K by some vectors.
struct Tile<'a> {
    data: *const f32,
    taps: &'a [usize],
    kernel: &'a [f32],
    bases: &'a [usize],
    /// Where the first vector of the first row goes.
    rows: *mut f32,
    row_len: usize,
    write: Write,
}

impl Tile<'_> {
    /// The sums for `W` vectors.
    ///
    /// # Safety
    /// Every tap plus each of `W` bases has a vector in `data`, and each row room for as many.
    #[inline(always)]
    #[expect(unsafe_code, reason = "vector instructions take pointers")]
    unsafe fn run<V: Lanes, const W: usize>(&self) {
        let Self { data, taps, kernel, bases, rows, row_len, write } = *self;
        // SAFETY: the caller vouches for a vector at every tap plus base, and for room in every row; `wrapping_add` spares
        // the debug build its checks.
        unsafe {
            let mut sums = [[V::zero(); W]; ROWS];
            let place =
                |i: usize, j: usize| rows.wrapping_add(i.wrapping_mul(row_len)).wrapping_add(j * V::N);
            if write == Write::Add {
                for (i, sums) in sums.iter_mut().enumerate() {
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum = V::load(place(i, j));
                    }
                }
            }
            let mut columns = [data; W];
            for (column, base) in columns.iter_mut().zip(bases) {
                *column = data.wrapping_add(*base);
            }
            for (tap, k) in taps.iter().zip(kernel.as_chunks::<ROWS>().0) {
                let mut x = [V::zero(); W];
                for (x, column) in x.iter_mut().zip(columns) {
                    *x = V::load(column.wrapping_add(*tap));
                }
                for (sums, k) in sums.iter_mut().zip(k) {
                    let k = V::splat(*k);
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = sum.add_product(k, x);
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                for (j, sum) in sums.iter().enumerate() {
                    sum.store(place(i, j));
                }
            }
        }
    }
}

/// Numbers of a row of ȳ as [`correlate_weights`] reads it: an odd number of vectors, so that its rows do not contend
/// for the same sets of the cache.
pub(crate) fn gradient_row_len(vectors: usize) -> usize {
    (vectors | 1) * lanes()
}

/// Numbers of all rows of ȳ, padded to whole blocks.
pub(crate) fn gradient_len(rows: usize, vectors: usize) -> usize {
    rows.next_multiple_of(GRADIENT_ROWS) * gradient_row_len(vectors)
}

/// K̄ ← K̄ + ȳ columnsᵀ; ȳ in rows that begin with as many vectors as there are bases, with zeros between pixels.
pub(crate) fn correlate_weights(gradient: &[f32], columns: &Columns<'_>, kernel: &mut [f32]) {
    columns.check();
    let rows = kernel.len().checked_div(columns.taps.len()).unwrap_or(0);
    assert_eq!(gradient.len(), gradient_len(rows, columns.bases.len()), "size of a gradient");
    dispatch_lanes(Weights { gradient, columns, kernel });
}

struct Weights<'a> {
    gradient: &'a [f32],
    columns: &'a Columns<'a>,
    kernel: &'a mut [f32],
}

#[expect(unsafe_code, reason = "vector instructions take pointers")]
impl VectorKernel for Weights<'_> {
    // SAFETY: the dispatcher vouches for the instructions of `V`.
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        // SAFETY: the dispatcher vouches for the instructions of `V`, which is all that `run_by` asks.
        // As many sums as there are registers for.
        unsafe {
            match V::REGISTERS {
                32.. => self.run_by::<V, 8>(),
                _ => self.run_by::<V, 4>(),
            }
        }
    }
}

impl Weights<'_> {
    /// All sums, of `R` rows at once; `R` divides [`GRADIENT_ROWS`].
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    #[expect(unsafe_code, reason = "vector instructions take pointers")]
    unsafe fn run_by<V: Lanes, const R: usize>(self) {
        let Self { gradient, columns: Columns { data, taps, bases }, kernel } = self;
        if bases.is_empty() || taps.is_empty() {
            return;
        }
        let row_len = gradient_row_len(bases.len());
        for (gradient, kernel) in gradient.chunks_exact(R * row_len).zip(kernel.chunks_mut(R * taps.len())) {
            for (i, three) in taps.chunks(TAPS).enumerate() {
                let offsets = [three[0], three[1.min(three.len() - 1)], three[three.len() - 1]];
                // SAFETY: `check` has seen that every tap plus every base is in the data; `gradient` holds `R` rows.
                let sums = unsafe {
                    gradient_tile::<V, R>(data.as_ptr(), offsets, bases, gradient.as_ptr(), row_len)
                };
                for (kernel, sums) in kernel.chunks_exact_mut(taps.len()).zip(sums) {
                    let kernel = &mut kernel[i * TAPS..][..three.len()];
                    kernel.iter_mut().zip(sums).for_each(|(k, sum)| *k += sum);
                }
            }
        }
    }
}

/// `R` rows of ȳ by three taps.
///
/// # Safety
/// Every tap plus each base has a vector in `data`, and `gradient` holds `R` rows of `row_len`.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions take pointers")]
unsafe fn gradient_tile<V: Lanes, const R: usize>(
    data: *const f32,
    taps: [usize; TAPS],
    bases: &[usize],
    gradient: *const f32,
    row_len: usize,
) -> [[f32; TAPS]; R] {
    // SAFETY: the caller vouches for a vector at every tap plus base, and for the rows of the gradient; `wrapping_add`
    // spares the debug build its checks.
    unsafe {
        let mut sums = [[V::zero(); TAPS]; R];
        let columns = taps.map(|tap| data.wrapping_add(tap));
        let mut row = gradient;
        for base in bases {
            let mut x = [V::zero(); TAPS];
            for (x, column) in x.iter_mut().zip(columns) {
                *x = V::load(column.wrapping_add(*base));
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let g = V::load(row.wrapping_add(i.wrapping_mul(row_len)));
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum = sum.add_product(g, x);
                }
            }
            row = row.wrapping_add(V::N);
        }
        let mut found = [[0f32; TAPS]; R];
        for (found, sums) in found.iter_mut().zip(sums) {
            for (found, sum) in found.iter_mut().zip(sums) {
                *found = sum.sum();
            }
        }
        found
    }
}
