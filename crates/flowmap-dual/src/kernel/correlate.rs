//! Correlation as a matrix product whose columns are never written: a table says where each of them lies.
//!
//! y\[o, p\] = Σ_t K\[o, t\] x\[tap_t + base_p\],  K̄\[o, t\] = Σ_p ȳ\[o, p\] x\[tap_t + base_p\]     (1)
//!
//! A tap is a channel and a place in the window, a base a vector of neighboring pixels.
//! Both sums stay in registers: six rows of K by two vectors, four rows of ȳ by three taps.
//! This is the indirect convolution of Dukhan 2019, arXiv:1907.02129, with offsets in place of pointers.

use super::buffer::Buffer;
use super::gemm::Write;
use super::lanes::{Lanes, VectorKernel, dispatch_lanes, lanes};

/// Rows of K that [`correlate`] takes at once.
pub(super) const ROWS: usize = 6;
/// Vectors of pixels that [`correlate`] takes at once.
const VECTORS: usize = 2;
/// Taps after which the next rows of K take their turn: their vectors of x stay in the nearest cache.
const TAP_BLOCK: usize = 320;
/// Rows of ȳ that [`correlate_weights`] takes at once.
const GRADIENT_ROWS: usize = 4;
/// Taps that [`correlate_weights`] takes at once.
const TAPS: usize = 3;

/// Where the columns lie in a buffer: at each tap plus each base, one vector.
pub(super) struct Columns<'a> {
    /// The numbers.
    pub(super) data: &'a [f32],
    /// Offsets of the rows of the column matrix.
    pub(super) taps: &'a [usize],
    /// Offsets of its vectors of [`lanes`] columns.
    pub(super) bases: &'a [usize],
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
pub(super) struct PackedRows {
    values: Buffer,
    rows: usize,
    taps: usize,
}

impl PackedRows {
    /// Packs K\[row, tap\] = `kernel`\[row `row_len` + `taps`\[tap\]\].
    pub(super) fn new(kernel: &[f32], rows: usize, row_len: usize, taps: &[usize]) -> Self {
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
    pub(super) fn blank(rows: usize, taps: usize) -> Self {
        Self { values: Buffer::new(rows.div_ceil(ROWS) * ROWS * taps), rows, taps }
    }

    /// K\[row, tap\] for the rows of one block; what is below the last row must be zero.
    pub(super) fn set(&mut self, block: usize, tap: usize, rows: [f32; ROWS]) {
        self.values[(block * self.taps + tap) * ROWS..][..ROWS].copy_from_slice(&rows);
    }
}

/// Numbers that [`correlate`] writes: the rows of the result, padded to whole blocks.
pub(super) fn correlation_len(rows: usize, vectors: usize) -> usize {
    rows.div_ceil(ROWS) * ROWS * vectors * lanes()
}

/// `y` ← K columns, in rows of as many vectors as there are bases.
pub(super) fn correlate(kernel: &PackedRows, columns: &Columns<'_>, y: &mut [f32]) {
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
        // Blocks of about the same size.
        let block = taps.len().div_ceil(taps.len().div_ceil(TAP_BLOCK).max(1)).max(1);
        for (i, bases) in bases.chunks(VECTORS).enumerate() {
            let starts = [i * VECTORS * V::N, (i * VECTORS + bases.len() - 1) * V::N];
            let bases = [bases[0], bases[bases.len() - 1]];
            for (j, taps) in taps.chunks(block).enumerate() {
                let write = if j == 0 { Write::Set } else { Write::Add };
                let kernels = kernel.values.chunks_exact(ROWS * kernel.taps);
                for (kernel, rows) in kernels.zip(y.chunks_exact_mut(ROWS * row_len)) {
                    let kernel = &kernel[j * block * ROWS..][..taps.len() * ROWS];
                    // SAFETY: `check` has seen that every tap plus every base is in the data, `rows` holds six rows of
                    // `row_len` numbers, and a lone last vector is computed and stored twice at the same place.
                    unsafe {
                        tile::<V>(
                            data.as_ptr(),
                            taps,
                            kernel,
                            bases,
                            rows.as_mut_ptr(),
                            starts,
                            row_len,
                            write,
                        );
                    }
                }
            }
        }
    }
}

/// Six rows of K by two vectors, in y or added to it.
///
/// # Safety
/// Every tap plus each base has a vector in `data`, and each row of `y` one at both `starts`.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions take pointers")]
unsafe fn tile<V: Lanes>(
    data: *const f32,
    taps: &[usize],
    kernel: &[f32],
    bases: [usize; VECTORS],
    y: *mut f32,
    starts: [usize; VECTORS],
    row_len: usize,
    write: Write,
) {
    // SAFETY: as the caller vouches; `wrapping_add` spares the debug build its checks.
    unsafe {
        let mut sums = [[V::zero(); VECTORS]; ROWS];
        if write == Write::Add {
            for (i, sums) in sums.iter_mut().enumerate() {
                let row = y.wrapping_add(i.wrapping_mul(row_len));
                *sums = [V::load(row.wrapping_add(starts[0])), V::load(row.wrapping_add(starts[1]))];
            }
        }
        let (left, right) = (data.wrapping_add(bases[0]), data.wrapping_add(bases[1]));
        for (tap, k) in taps.iter().zip(kernel.as_chunks::<ROWS>().0) {
            let x = [V::load(left.wrapping_add(*tap)), V::load(right.wrapping_add(*tap))];
            for (sums, k) in sums.iter_mut().zip(k) {
                let k = V::splat(*k);
                sums[0] = sums[0].add_product(k, x[0]);
                sums[1] = sums[1].add_product(k, x[1]);
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            let row = y.wrapping_add(i.wrapping_mul(row_len));
            sums[0].store(row.wrapping_add(starts[0]));
            sums[1].store(row.wrapping_add(starts[1]));
        }
    }
}

/// Numbers that [`correlate_weights`] reads from ȳ: `rows` rows of vectors, padded to whole blocks.
pub(super) fn gradient_len(rows: usize, vectors: usize) -> usize {
    rows.div_ceil(GRADIENT_ROWS) * GRADIENT_ROWS * vectors * lanes()
}

/// K̄ ← K̄ + ȳ columnsᵀ; ȳ in rows of as many vectors as there are bases, with zeros for what is no pixel.
pub(super) fn correlate_weights(gradient: &[f32], columns: &Columns<'_>, kernel: &mut [f32]) {
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
        let Self { gradient, columns: Columns { data, taps, bases }, kernel } = self;
        let row_len = bases.len() * V::N;
        if row_len == 0 || taps.is_empty() {
            return;
        }
        let blocks = gradient.chunks_exact(GRADIENT_ROWS * row_len);
        for (gradient, kernel) in blocks.zip(kernel.chunks_mut(GRADIENT_ROWS * taps.len())) {
            for (i, three) in taps.chunks(TAPS).enumerate() {
                let offsets = [three[0], three[1.min(three.len() - 1)], three[three.len() - 1]];
                // SAFETY: `check` has seen that every tap plus every base is in the data; `gradient` holds four rows.
                let sums =
                    unsafe { gradient_tile::<V>(data.as_ptr(), offsets, bases, gradient.as_ptr(), row_len) };
                for (kernel, sums) in kernel.chunks_exact_mut(taps.len()).zip(sums) {
                    let kernel = &mut kernel[i * TAPS..][..three.len()];
                    kernel.iter_mut().zip(sums).for_each(|(k, sum)| *k += sum);
                }
            }
        }
    }
}

/// Four rows of ȳ by three taps.
///
/// # Safety
/// Every tap plus each base has a vector in `data`, and `gradient` holds four rows of `row_len`.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions take pointers")]
unsafe fn gradient_tile<V: Lanes>(
    data: *const f32,
    taps: [usize; TAPS],
    bases: &[usize],
    gradient: *const f32,
    row_len: usize,
) -> [[f32; TAPS]; GRADIENT_ROWS] {
    // SAFETY: as the caller vouches; `wrapping_add` spares the debug build its checks.
    unsafe {
        let mut sums = [[V::zero(); TAPS]; GRADIENT_ROWS];
        let x = [data.wrapping_add(taps[0]), data.wrapping_add(taps[1]), data.wrapping_add(taps[2])];
        let mut row = gradient;
        for base in bases {
            let x = [
                V::load(x[0].wrapping_add(*base)),
                V::load(x[1].wrapping_add(*base)),
                V::load(x[2].wrapping_add(*base)),
            ];
            let mut at = row;
            for sums in &mut sums {
                let g = V::load(at);
                sums[0] = sums[0].add_product(g, x[0]);
                sums[1] = sums[1].add_product(g, x[1]);
                sums[2] = sums[2].add_product(g, x[2]);
                at = at.wrapping_add(row_len);
            }
            row = row.wrapping_add(V::N);
        }
        let mut found = [[0f32; TAPS]; GRADIENT_ROWS];
        for (found, sums) in found.iter_mut().zip(sums) {
            for (found, sum) in found.iter_mut().zip(sums) {
                *found = sum.sum();
            }
        }
        found
    }
}
