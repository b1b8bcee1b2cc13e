//! Products of small matrices on one thread, with the vectors that the processor has.
//!
//! c ← a b, with a `(m, k)`, b `(k, n)` and c `(m, n)` row-major, and n a multiple of [`LANES`]
//!
//! `pulp` chooses the instructions when the program runs.

use pulp::{Arch, Simd, WithSimd};

/// Columns of the widest vectors: every vector length divides it.
pub(super) const LANES: usize = 16;
/// Rows that are computed at once, and vectors of columns: as many independent sums as hide the latency of an addition.
const ROWS: usize = 6;
const VECTORS: usize = 2;

/// `n` rounded up to whole vectors.
pub(super) fn padded(n: usize) -> usize {
    n.next_multiple_of(LANES)
}

/// c ← a b with rows of `k` numbers in a and of `n` in b and c.
pub(super) fn product(a: &[f32], b: &[f32], c: &mut [f32], k: usize, n: usize) {
    Arch::new().dispatch(Product { a, b, c, k, n });
}

/// The arguments of [`product`].
struct Product<'a> {
    a: &'a [f32],
    b: &'a [f32],
    c: &'a mut [f32],
    k: usize,
    n: usize,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { a, b, c, k, n } = self;
        let (b, _) = S::as_simd_f32s(b);
        let width = n / S::F32_LANES;
        let mut rows = c.chunks_exact_mut(ROWS * n);
        let mut a_rows = a.chunks_exact(ROWS * k);
        for (c, a) in rows.by_ref().zip(a_rows.by_ref()) {
            some_rows::<S, ROWS>(simd, a, b, S::as_mut_simd_f32s(c).0, k, width);
        }
        for (c, a) in rows.into_remainder().chunks_exact_mut(n).zip(a_rows.remainder().chunks_exact(k)) {
            some_rows::<S, 1>(simd, a, b, S::as_mut_simd_f32s(c).0, k, width);
        }
    }
}

/// `R` rows of the product; rows of b and c are `width` vectors.
#[inline(always)]
fn some_rows<S: Simd, const R: usize>(
    simd: S,
    a: &[f32],
    b: &[S::f32s],
    c: &mut [S::f32s],
    k: usize,
    width: usize,
) {
    let paired = width - width % VECTORS;
    for j in (0..paired).step_by(VECTORS) {
        block::<S, R, VECTORS>(simd, a, b, c, k, width, j);
    }
    for j in paired..width {
        block::<S, R, 1>(simd, a, b, c, k, width, j);
    }
}

/// `R` rows and `C` vectors of columns from `j` on.
#[inline(always)]
fn block<S: Simd, const R: usize, const C: usize>(
    simd: S,
    a: &[f32],
    b: &[S::f32s],
    c: &mut [S::f32s],
    k: usize,
    width: usize,
    j: usize,
) {
    let a: [&[f32]; R] = std::array::from_fn(|r| &a[r * k..][..k]);
    let mut sums = [[simd.splat_f32s(0.0); C]; R];
    for (p, row) in b.chunks_exact(width).enumerate() {
        let row = &row[j..][..C];
        for (sums, a) in sums.iter_mut().zip(a) {
            let x = simd.splat_f32s(a[p]);
            for (sum, y) in sums.iter_mut().zip(row) {
                *sum = simd.mul_add_e_f32s(x, *y, *sum);
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        c[r * width + j..][..C].copy_from_slice(&sums);
    }
}

/// The transpose of `a`, which has rows of `n` numbers.
pub(super) fn transpose(a: &[f32], n: usize, out: &mut Vec<f32>) {
    let m = a.len() / n;
    out.clear();
    out.resize(a.len(), 0.0);
    for (i, row) in a.chunks_exact(n).enumerate() {
        for (j, &x) in row.iter().enumerate() {
            out[j * m + i] = x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_is_the_sum_of_products() {
        let (m, k, n) = (7, 3, 32);
        let a: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.7).sin()).collect();
        let b: Vec<f32> = (0..k * n).map(|i| (i as f32 * 0.3).cos()).collect();
        let mut c = vec![f32::NAN; m * n];
        product(&a, &b, &mut c, k, n);
        for i in 0..m {
            for j in 0..n {
                let sum: f32 = (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum();
                assert!((c[i * n + j] - sum).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn transpose_swaps_rows_and_columns() {
        let mut out = Vec::new();
        transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, &mut out);
        assert_eq!(out, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
