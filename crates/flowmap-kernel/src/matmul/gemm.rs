//! Matrix products on slices, single-threaded: the callers split the work.

/// Sides of the squares in which a matrix is transposed.
const SQUARE: usize = 8;

/// A matrix in a slice: element (i, j) is at i `row_stride` + j `column_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` numbers, one after the other.
    pub(crate) fn rows(data: &'a [f32], columns: usize) -> Self {
        let rows = data.len().checked_div(columns).unwrap_or(0);
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// Rows of `columns` numbers, `row_stride` apart.
    pub(crate) fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// The transpose.
    pub(crate) fn t(self) -> Self {
        let Self { data, rows, columns, row_stride, column_stride } = self;
        Self { data, rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }

    /// `n` columns from `first` on.
    pub(crate) fn columns(self, first: usize, n: usize) -> Self {
        assert!(first + n <= self.columns, "columns {first}..{} of {}", first + n, self.columns);
        let start = (first * self.column_stride).min(self.data.len());
        Self { data: &self.data[start..], columns: n, ..self }
    }

    /// This matrix with `rows` rows, for a matrix without columns, whose slice does not tell the number.
    #[cfg(test)]
    pub(crate) fn with_rows(self, rows: usize) -> Self {
        Self { rows, ..self }
    }

    /// `n` rows from `first` on.
    pub(crate) fn some_rows(self, first: usize, n: usize) -> Self {
        self.t().columns(first, n).t()
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn n_columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Whether the numbers of a row lie one after the other.
    pub(crate) fn is_by_rows(&self) -> bool {
        self.column_stride == 1
    }

    /// Where row `row` begins; the matrix has it and lies inside its slice.
    pub(crate) fn pointer(&self, row: usize) -> *const f32 {
        assert!(row < self.rows && self.is_inside(), "row {row} leaves the matrix");
        self.data[row * self.row_stride..].as_ptr()
    }

    /// Copies the matrix to rows of `out` that lie `width` apart.
    pub(crate) fn copy_rows(&self, out: &mut [f32], width: usize) {
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        assert!(self.is_inside(), "a matrix leaves its slice");
        match (self.column_stride, self.columns) {
            // The widths of panels and slivers, known to the compiler.
            (1, 6) => self.copy_rows_of::<6>(out, width),
            (1, 12) => self.copy_rows_of::<12>(out, width),
            (1, 16) => self.copy_rows_of::<16>(out, width),
            (1, 32) => self.copy_rows_of::<32>(out, width),
            (1, n) => out.chunks_exact_mut(width).take(self.rows).enumerate().for_each(|(i, out)| {
                out[..n].copy_from_slice(&self.data[i * self.row_stride..][..n]);
            }),
            _ => self.copy_transposed(out, width),
        }
    }

    /// Copies a matrix whose columns are contiguous, square by square, column after column.
    fn copy_transposed(&self, out: &mut [f32], width: usize) {
        let (stride, n) = (self.column_stride, self.columns);
        let (whole_rows, whole_columns) = match self.row_stride {
            1 => (self.rows / SQUARE * SQUARE, n / SQUARE * SQUARE),
            _ => (0, 0),
        };
        for i in (0..whole_rows).step_by(SQUARE) {
            for j in (0..whole_columns).step_by(SQUARE) {
                let mut square = [[0f32; SQUARE]; SQUARE];
                for (column, j) in square.iter_mut().zip(j..) {
                    column.copy_from_slice(&self.data[j * stride + i..][..SQUARE]);
                }
                for k in 0..SQUARE {
                    let row = square.map(|column| column[k]);
                    out[(i + k) * width + j..][..SQUARE].copy_from_slice(&row);
                }
            }
        }
        // What is left of the rows, then of the columns.
        for (rows, columns) in [(0..whole_rows, whole_columns..n), (whole_rows..self.rows, 0..n)] {
            for j in columns {
                for i in rows.clone() {
                    out[i * width + j] = self.data[j * stride + i * self.row_stride];
                }
            }
        }
    }

    /// Copies rows of `N` numbers.
    fn copy_rows_of<const N: usize>(&self, out: &mut [f32], width: usize) {
        for (i, out) in out.chunks_exact_mut(width).take(self.rows).enumerate() {
            let row = self.data[i * self.row_stride..].first_chunk::<N>();
            if let (Some(row), Some(out)) = (row, out.first_chunk_mut::<N>()) {
                *out = *row;
            }
        }
    }

    /// Whether every element lies inside the slice.
    fn is_inside(&self) -> bool {
        if self.rows == 0 || self.columns == 0 {
            return true;
        }
        (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride < self.data.len()
    }
}

/// Where a product goes: rows of numbers that lie `row_stride` apart.
pub(crate) struct Output<'a> {
    data: &'a mut [f32],
    columns: usize,
    row_stride: usize,
}

impl<'a> Output<'a> {
    /// Rows of `columns` numbers, one after the other.
    pub(crate) fn rows(data: &'a mut [f32], columns: usize) -> Self {
        Self { data, columns, row_stride: columns }
    }

    /// Rows of `columns` numbers, `row_stride` apart; what lies between them stays as it is.
    #[cfg(test)]
    pub(crate) fn strided(data: &'a mut [f32], columns: usize, row_stride: usize) -> Self {
        Self { data, columns, row_stride }
    }

    /// The slice and the stride of its rows, of which there is room for `rows` of `columns`.
    pub(crate) fn parts(self, rows: usize, columns: usize) -> (&'a mut [f32], usize) {
        let Self { data, row_stride, .. } = self;
        assert_eq!(self.columns, columns, "columns of a product");
        let fits = rows == 0 || row_stride >= columns && (rows - 1) * row_stride + columns <= data.len();
        assert!(fits, "a product leaves its slice");
        (data, row_stride)
    }
}

/// Whether a product replaces what its output holds or adds to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// out ← scale a b
    Set,
    /// out ← out + scale a b
    Add,
}

/// `out` ← a b, `out` in rows of as many numbers as b has columns.
pub(crate) fn matmul(a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32]) {
    assert_eq!(out.len(), a.rows * b.columns, "size of a product");
    matmul_to(a, b, 1.0, Write::Set, Output::rows(out, b.columns));
}

/// `out` ← `scale` a b, or that added to `out`.
pub(crate) fn matmul_to(a: Matrix<'_>, b: Matrix<'_>, scale: f32, write: Write, out: Output<'_>) {
    assert_eq!(a.columns, b.rows, "inner sizes of a product");
    assert!(a.is_inside() && b.is_inside(), "a matrix leaves its slice");
    let (out, row_stride) = out.parts(a.rows, b.columns);
    let stride = |s: usize| isize::try_from(s).expect("a slice is never longer than isize::MAX");
    #[expect(unsafe_code, reason = "the matrix product takes pointers")]
    // SAFETY: both matrices lie inside their slices and so does the product, as asserted above;
    // `out` is borrowed mutably, so it overlaps neither.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            stride(row_stride),
            write == Write::Add,
            a.data.as_ptr(),
            stride(a.column_stride),
            stride(a.row_stride),
            b.data.as_ptr(),
            stride(b.column_stride),
            stride(b.row_stride),
            1.0,
            scale,
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

    #[test]
    fn strided_product_adds_and_leaves_the_gaps_alone() {
        let a = [1f32, 2.0, 9.0, 3.0, 4.0, 9.0]; // two rows of two, three apart
        let b = [1f32, 0.0, 1.0, 1.0];
        let mut out = [1f32; 6];
        let a = Matrix::strided(&a, 2, 2, 3);
        matmul_to(a, Matrix::rows(&b, 2), 2.0, Write::Add, Output::strided(&mut out, 2, 3));
        assert_eq!(out, [7.0, 5.0, 1.0, 15.0, 9.0, 1.0]);
    }
}
