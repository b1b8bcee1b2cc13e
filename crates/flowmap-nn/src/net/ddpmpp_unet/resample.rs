//! Halving and doubling of images by a filter of few numbers along each axis.
//!
//! half:   y_i = Σ_k f_k x_{2i + k − p} / Σ_k f_k,   double: y_{2i + k − p} = Σ_i 2 f_k x_i / Σ_k f_k,   p = (K − 1)/2 rounded down
//!
//! with zeros beyond the edges, and K even: \[1, 1\] is the mean of squares and its nearest-neighbor counterpart,
//! \[1, 3, 3, 1\] is bilinear.
//! Both are linear maps of a row of pixels, so that each axis is one product with a narrow matrix.

use candle_core::Tensor;
use flowmap_dual::Dual;

use super::super::Cost;
use crate::{ParamBuilder, Result};

/// What happens to the resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resample {
    /// Nothing.
    Keep,
    /// The resolution is doubled.
    Up,
    /// The resolution is halved.
    Down,
}

/// The two matrices of a change of resolution.
#[derive(Clone, Debug)]
pub(super) struct Resampler {
    /// Of the columns of pixels, `(H', H)`.
    of_height: Tensor,
    /// Of the rows of pixels, `(W', W)`.
    of_width: Tensor,
}

impl Resampler {
    /// The change of images of `(height, width)` pixels by `filter`; `None` for none.
    pub(super) fn new(
        resample: Resample,
        filter: &[f64],
        (height, width): (usize, usize),
        builder: &ParamBuilder,
    ) -> Result<Option<Self>> {
        let matrix = |n: usize| -> Result<Tensor> {
            let (n_out, values) = match resample {
                Resample::Up => (2 * n, doubling(filter, n)),
                _ => (n / 2, halving(filter, n)),
            };
            builder.constant((n_out, n), values)
        };
        Ok(match resample {
            Resample::Keep => None,
            _ => Some(Self { of_height: matrix(height)?, of_width: matrix(width)? }),
        })
    }

    /// x `(B, C, H, W)` in the other resolution.
    pub(super) fn forward(&self, x: &Dual) -> Result<Dual> {
        let x = x.linear(&self.of_width, None)?.transpose(2, 3)?.contiguous()?;
        Ok(x.linear(&self.of_height, None)?.transpose(2, 3)?.contiguous()?)
    }

    /// The cost for `channels` channels.
    pub(super) fn cost(&self, channels: usize) -> Cost {
        let sizes = |matrix: &Tensor| (matrix.dims()[0], matrix.dims()[1]);
        let ((rows_after, rows), (columns_after, columns)) = (sizes(&self.of_height), sizes(&self.of_width));
        let products = rows * columns * columns_after + columns_after * rows * rows_after;
        Cost::layer(channels * products, channels * columns_after * (rows + rows_after))
    }
}

/// The matrix `(n/2, n)` that halves a row of `n` pixels.
fn halving(filter: &[f64], n: usize) -> Vec<f64> {
    let (sum, pad) = (filter.iter().sum::<f64>(), (filter.len().max(1) - 1) / 2);
    let mut matrix = vec![0.0; n / 2 * n];
    for (i, row) in matrix.chunks_exact_mut(n.max(1)).enumerate() {
        for (k, f) in filter.iter().enumerate() {
            if let Some(entry) = (2 * i + k).checked_sub(pad).and_then(|j| row.get_mut(j)) {
                *entry += f / sum;
            }
        }
    }
    matrix
}

/// The matrix `(2n, n)` that doubles a row of `n` pixels: twice the transpose of the one that halves 2n.
fn doubling(filter: &[f64], n: usize) -> Vec<f64> {
    let half = halving(filter, 2 * n);
    (0..2 * n).flat_map(|j| (0..n).map(move |i| (i, j))).map(|(i, j)| 2.0 * half[i * 2 * n + j]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_the_mean_of_pairs_and_the_bilinear_one() {
        assert_eq!(halving(&[1.0, 1.0], 4), [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5]);
        assert_eq!(doubling(&[1.0, 1.0], 2), [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        let bilinear = [1.0, 3.0, 3.0, 1.0];
        assert_eq!(halving(&bilinear, 4), [0.375, 0.375, 0.125, 0.0, 0.0, 0.125, 0.375, 0.375]);
        assert_eq!(doubling(&bilinear, 2), [0.75, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 0.75]);
    }
}
