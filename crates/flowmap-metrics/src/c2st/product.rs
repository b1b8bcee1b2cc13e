//! Products of small matrices on one thread, with the vectors that the processor has.
//!
//! c ← a b, with a `(m, k)`, b `(k, n)` and c `(m, n)` row-major, and n a multiple of [`LANES`]
//!
//! The loops over [`LANES`] columns are what the compiler turns into vectors; `pulp` chooses the instructions when the
//! program runs.

/// Columns that are computed at once.
pub(super) const LANES: usize = 16;
/// Rows that are computed at once, so that a row of b is read once for all of them.
const ROWS: usize = 4;

/// `n` rounded up to whole vectors.
pub(super) fn padded(n: usize) -> usize {
    n.next_multiple_of(LANES)
}

/// c ← a b with rows of `k` numbers in a and of `n` in b and c.
pub(super) fn product(a: &[f32], b: &[f32], c: &mut [f32], k: usize, n: usize) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut rows = c.chunks_exact_mut(ROWS * n);
            let mut a_rows = a.chunks_exact(ROWS * k);
            for (c, a) in rows.by_ref().zip(a_rows.by_ref()) {
                block::<ROWS>(a, b, c, k, n);
            }
            for (c, a) in rows.into_remainder().chunks_exact_mut(n).zip(a_rows.remainder().chunks_exact(k)) {
                block::<1>(a, b, c, k, n);
            }
        },
    );
}

/// `R` rows of the product.
#[inline(always)]
fn block<const R: usize>(a: &[f32], b: &[f32], c: &mut [f32], k: usize, n: usize) {
    let (b, _) = b.as_chunks::<LANES>();
    let (c, _) = c.as_chunks_mut::<LANES>();
    let n_blocks = n / LANES;
    for j in 0..n_blocks {
        let mut sums = [[0.0f32; LANES]; R];
        for p in 0..k {
            let row = &b[p * n_blocks + j];
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = a[r * k + p];
                for (sum, y) in sums.iter_mut().zip(row) {
                    *sum += x * y;
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            c[r * n_blocks + j] = sums;
        }
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
