//! Matrix products on slices, single-threaded: the callers split the work.

/// A matrix in a slice: element (i, j) is at i `row_stride` + j `column_stride`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` numbers, one after the other.
    pub(super) fn rows(data: &'a [f32], columns: usize) -> Self {
        let rows = data.len().checked_div(columns).unwrap_or(0);
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The transpose.
    pub(super) fn t(self) -> Self {
        let Self { data, rows, columns, row_stride, column_stride } = self;
        Self { data, rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }

    /// `n` columns from `first` on.
    pub(super) fn columns(self, first: usize, n: usize) -> Self {
        assert!(first + n <= self.columns, "columns {first}..{} of {}", first + n, self.columns);
        let start = (first * self.column_stride).min(self.data.len());
        Self { data: &self.data[start..], columns: n, ..self }
    }

    /// Whether every element lies inside the slice.
    fn is_inside(&self) -> bool {
        if self.rows == 0 || self.columns == 0 {
            return true;
        }
        (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride < self.data.len()
    }
}

/// `out` ← a b, `out` in rows of as many numbers as b has columns.
pub(super) fn matmul(a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32]) {
    assert_eq!(a.columns, b.rows, "inner sizes of a product");
    assert_eq!(out.len(), a.rows * b.columns, "size of a product");
    assert!(a.is_inside() && b.is_inside(), "a matrix leaves its slice");
    let stride = |s: usize| isize::try_from(s).expect("a slice is never longer than isize::MAX");
    #[expect(unsafe_code, reason = "the matrix product takes pointers")]
    // SAFETY: both matrices lie inside their slices and `out` holds the product, as asserted above;
    // `out` is borrowed mutably, so it overlaps neither.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            stride(b.columns),
            false,
            a.data.as_ptr(),
            stride(a.column_stride),
            stride(a.row_stride),
            b.data.as_ptr(),
            stride(b.column_stride),
            stride(b.row_stride),
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_transposes_and_slices_are_right() {
        let a: Vec<f32> = (0..6).map(|x| x as f32).collect(); // 2x3
        let b: Vec<f32> = (0..6).map(|x| (x * x) as f32).collect(); // 2x3
        let mut out = [0f32; 4];
        matmul(Matrix::rows(&a, 3), Matrix::rows(&b, 3).t(), &mut out);
        assert_eq!(out, [9.0, 66.0, 24.0, 216.0]);
        let mut out = [0f32; 6];
        matmul(Matrix::rows(&a, 3).columns(1, 2).t(), Matrix::rows(&b, 3), &mut out);
        assert_eq!(out, [36.0, 65.0, 104.0, 45.0, 82.0, 133.0]);
    }
}
