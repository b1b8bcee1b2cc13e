//! A matrix packed once to be the right operand of many products.
//!
//! c = a b with b cut into panels of as many columns as the innermost loop takes, each panel contiguous:
//! the loop reads it as a stream, and a panel stays in the first cache while the rows of a pass by.

use rayon::prelude::*;

use super::gemm::{Matrix, Output, Write};
use super::micro::{MicroKernel, Tile};
use crate::memory::pool::Buffer;

/// Rows of a that pass by a panel before the next panel is read: they stay in the second cache.
const BLOCK_ROWS: usize = 96;
/// Length of the sums that are made in registers: a panel of it fits the first cache.
const BLOCK_SUM: usize = 512;

/// From this many numbers on, several threads pack.
const PARALLEL: usize = 1 << 17;
/// Panels that are packed together, and rows of them at a time, of a matrix that lies in memory by rows:
/// a few long pieces are read at once.
const BY_ROWS: (usize, usize) = (32, 8);
/// The strides of a transposed matrix, whose columns are the pieces.
const BY_COLUMNS: (usize, usize) = (1, 128);

/// b, `(k, n)`, in panels.
pub struct Panels {
    /// Panel after panel, each `k` rows of `kernel.columns` numbers; the last is filled up with any numbers.
    data: Buffer,
    k: usize,
    n: usize,
    kernel: MicroKernel,
}

impl Panels {
    /// Packs `b`.
    pub(crate) fn new(b: Matrix<'_>) -> Self {
        let kernel = MicroKernel::detect();
        let (k, n) = (b.n_rows(), b.n_columns());
        let width = kernel.columns;
        let mut data = Buffer::new(n.div_ceil(width) * k * width);
        let len = (k * width).max(1);
        let (group_len, n_rows) = if b.is_by_rows() { BY_ROWS } else { BY_COLUMNS };
        // A few rows of all panels of a group before the next rows: memory is read as it lies.
        let pack = |(group, panels): (usize, &mut [f32])| {
            for start in (0..k).step_by(n_rows) {
                let rows = b.some_rows(start, n_rows.min(k - start));
                for (i, panel) in (group * group_len..).zip(panels.chunks_exact_mut(len)) {
                    let columns = (n - i * width).min(width);
                    rows.columns(i * width, columns).copy_rows(&mut panel[start * width..], width);
                }
            }
        };
        match data.len() {
            0..PARALLEL => data.chunks_mut(group_len * len).enumerate().for_each(pack),
            _ => data.par_chunks_mut(group_len * len).enumerate().for_each(pack),
        }
        Self { data, k, n, kernel }
    }

    /// `out` ← a b, or that added to `out`, on this thread.
    ///
    /// The rows of `a` are read in place; a transposed `a` is packed on the way.
    pub(crate) fn multiply(&self, a: Matrix<'_>, write: Write, out: Output<'_>) {
        assert_eq!(a.n_columns(), self.k, "inner sizes of a product");
        let (out, row_stride) = out.parts(a.n_rows(), self.n);
        for first in (0..a.n_rows()).step_by(BLOCK_ROWS) {
            let block = a.some_rows(first, BLOCK_ROWS.min(a.n_rows() - first));
            let out = &mut out[first * row_stride..];
            if self.k == 0 && write == Write::Set {
                (0..block.n_rows()).for_each(|i| out[i * row_stride..][..self.n].fill(0.0));
            }
            for start in (0..self.k).step_by(BLOCK_SUM) {
                let part = block.columns(start, BLOCK_SUM.min(self.k - start));
                let write = if start > 0 { Write::Add } else { write };
                if part.is_by_rows() {
                    self.multiply_block(part, start, write, out, row_stride);
                } else {
                    let rows = Slivers::new(part, self.kernel.rows);
                    self.multiply_slivers(&rows, start, write, out, row_stride);
                }
            }
        }
    }

    /// Part `start..` of the sums, for a few rows of `a`, read in place.
    fn multiply_block(&self, a: Matrix<'_>, start: usize, write: Write, out: &mut [f32], row_stride: usize) {
        let rows = a.n_rows();
        self.for_each_tile(rows, start, a.n_columns(), write, out, row_stride, |first| {
            (a.pointer(first), a.row_stride(), 1)
        });
    }

    /// Part `start..` of the sums, for packed rows.
    fn multiply_slivers(&self, a: &Slivers, start: usize, write: Write, out: &mut [f32], row_stride: usize) {
        self.for_each_tile(a.rows, start, a.k, write, out, row_stride, |first| {
            let height = (a.rows - first).min(a.height);
            (a.data[first * a.k..].as_ptr(), 1, height)
        });
    }

    /// Panel by panel, and for each the rows of a in steps of what the kernel takes;
    /// `locate` gives where rows from `first` on begin, their stride, and the stride of their columns.
    fn for_each_tile(
        &self,
        rows: usize,
        start: usize,
        k: usize,
        write: Write,
        out: &mut [f32],
        row_stride: usize,
        locate: impl Fn(usize) -> (*const f32, usize, usize),
    ) {
        let width = self.kernel.columns;
        // Where a panel is filled up, its products go here first.
        let mut edge = [0f32; 12 * 32];
        for (i, panel) in self.data.chunks_exact((self.k * width).max(1)).enumerate() {
            let columns = (self.n - i * width).min(width);
            for first in (0..rows).step_by(self.kernel.rows) {
                let height = (rows - first).min(self.kernel.rows);
                let (a, a_row_stride, a_stride) = locate(first);
                let corner = first * row_stride + i * width;
                let is_whole = columns == width;
                let (c, c_row_stride, is_added) = match is_whole {
                    true => (out[corner..].as_mut_ptr(), row_stride, write == Write::Add),
                    false => (edge.as_mut_ptr(), width, false),
                };
                let panel = panel[start * width..].as_ptr();
                let tile =
                    Tile { rows: height, k, a, a_row_stride, a_stride, panel, c, c_row_stride, is_added };
                #[expect(unsafe_code, reason = "the innermost loop takes pointers")]
                // SAFETY: a is `height` rows of k numbers inside its slice, the panel has k rows from `start` on,
                // and c is `height` rows of `width` numbers: in `out`, whose size `Output::parts` checked, or in
                // `edge`, which holds the largest tile of all kernels.
                unsafe {
                    self.kernel.run(tile);
                }
                if !is_whole {
                    for (row, sums) in edge.chunks_exact(width).take(height).enumerate() {
                        let out = &mut out[corner + row * row_stride..][..columns];
                        match write {
                            Write::Set => out.copy_from_slice(&sums[..columns]),
                            Write::Add => out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum),
                        }
                    }
                }
            }
        }
    }
}

/// A few rows of a transposed matrix, packed in slivers of as many rows as the kernel takes.
struct Slivers {
    data: Buffer,
    rows: usize,
    k: usize,
    height: usize,
}

/// Columns of a that are packed for all slivers before the next: their cache lines serve several slivers.
const PACKED_COLUMNS: usize = 8;

impl Slivers {
    fn new(a: Matrix<'_>, height: usize) -> Self {
        let (rows, k) = (a.n_rows(), a.n_columns());
        let mut data = Buffer::new(rows * k);
        for start in (0..k).step_by(PACKED_COLUMNS) {
            let n = PACKED_COLUMNS.min(k - start);
            for first in (0..rows).step_by(height) {
                let height = height.min(rows - first);
                let sliver = a.some_rows(first, height).columns(start, n).t();
                sliver.copy_rows(&mut data[first * k + start * height..][..n * height], height);
            }
        }
        Self { data, rows, k, height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that products keep exact in f32.
    fn whole(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7 + seed) % 11) as f32 - 5.0).collect()
    }

    #[test]
    fn products_with_panels_are_right_for_all_sizes_and_strides() {
        for (m, n, k) in
            [(1, 1, 1), (5, 3, 2), (7, 16, 4), (97, 17, 9), (13, 65, 600), (200, 40, 513), (3, 5, 0)]
        {
            let (a, b) = (whole(m * k, 1), whole(k * n, 2));
            let at = |i: usize, j: usize| (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum::<f32>();
            let a_t: Vec<f32> = (0..k * m).map(|x| a[x % m * k + x / m]).collect();
            let b_t: Vec<f32> = (0..n * k).map(|x| b[x % k * n + x / k]).collect();
            for right in [Matrix::rows(&b, n).with_rows(k), Matrix::rows(&b_t, k).with_rows(n).t()] {
                let panels = Panels::new(right);
                for left in [Matrix::rows(&a, k).with_rows(m), Matrix::rows(&a_t, m).with_rows(k).t()] {
                    let stride = n + 2;
                    let mut out = vec![1f32; m * stride];
                    panels.multiply(left, Write::Set, Output::strided(&mut out, n, stride));
                    panels.multiply(left, Write::Add, Output::strided(&mut out, n, stride));
                    for (x, &found) in out.iter().enumerate() {
                        let (i, j) = (x / stride, x % stride);
                        let expected = if j < n { 2.0 * at(i, j) } else { 1.0 };
                        assert_eq!(found, expected, "({m}, {n}, {k}) at ({i}, {j})");
                    }
                }
            }
        }
    }
}
