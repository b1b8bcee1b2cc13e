//! Sums of a function of the distance over all pairs of two sets, on all threads.
//!
//! Each row is summed by one thread in an order that its length fixes, and the row sums are added in order.
//! So the result has the same bits for any number of threads.

use rayon::prelude::*;

use crate::Samples;

/// A set of points in f64, ready for many distance evaluations.
#[derive(Debug)]
pub(crate) struct Points {
    data: Vec<f64>,
    dim: usize,
}

impl Points {
    pub(crate) fn new(samples: Samples<'_>) -> Self {
        Self { data: samples.to_f64(), dim: samples.dim() }
    }

    fn n(&self) -> usize {
        self.data.len() / self.dim
    }

    /// Σ_{i,j} f(|x_i − y_j|²).
    pub(crate) fn sum_between(&self, other: &Points, f: impl Fn(f64) -> f64 + Sync) -> f64 {
        let row_sums: Vec<f64> =
            self.data.par_chunks_exact(self.dim).map(|row| sum_over_rows(row, &other.data, &f)).collect();
        row_sums.iter().sum()
    }

    /// Σ_{i<j} f(|x_i − x_j|²).
    pub(crate) fn sum_within(&self, f: impl Fn(f64) -> f64 + Sync) -> f64 {
        let row_sums: Vec<f64> = (0..self.n())
            .into_par_iter()
            .map(|i| {
                let (head, tail) = self.data.split_at((i + 1) * self.dim);
                sum_over_rows(&head[i * self.dim..], tail, &f)
            })
            .collect();
        row_sums.iter().sum()
    }
}

/// Independent partial sums of one row: the additions of one sum would wait for each other.
const LANES: usize = 8;

/// Σ_j f(|a − b_j|²) over the rows b_j of `rows`.
fn sum_over_rows(a: &[f64], rows: &[f64], f: &impl Fn(f64) -> f64) -> f64 {
    // The plane is the common case, and a known length lets the compiler use vectors.
    if let [a0, a1] = *a {
        let plane = |b: &[f64; 2]| f((a0 - b[0]) * (a0 - b[0]) + (a1 - b[1]) * (a1 - b[1]));
        let (points, _) = rows.as_chunks::<2>();
        let (blocks, rest) = points.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        for block in blocks {
            let values = block.map(|b| plane(&b));
            lanes.iter_mut().zip(values).for_each(|(lane, value)| *lane += value);
        }
        return lanes.iter().sum::<f64>() + rest.iter().map(plane).sum::<f64>();
    }
    rows.chunks_exact(a.len()).map(|b| f(squared_distance(a, b))).sum()
}

/// |a − b|².
pub(crate) fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for k in 0..LANES {
            lanes[k] += (a[k] - b[k]) * (a[k] - b[k]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_rest_of_a_row_are_each_counted_once() {
        for dim in [1, 2, 3, 7, 8, 9, 17] {
            for n in [1, 2, 7, 8, 9, 20] {
                let values: Vec<f32> = (0..n * dim).map(|i| (i * i % 23) as f32 / 8.0).collect();
                let rows: Vec<&[f32]> = values.chunks_exact(dim).collect();
                let mut within = 0.0;
                let mut between = 0.0;
                for (i, a) in rows.iter().enumerate() {
                    for (j, b) in rows.iter().enumerate() {
                        let d2: f64 = a.iter().zip(*b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
                        between += d2;
                        within += if i < j { d2 } else { 0.0 };
                    }
                }
                let points = Points { data: values.iter().map(|&v| f64::from(v)).collect(), dim };
                // Sums of squares of eighths are exact, so the order cannot show.
                assert_eq!(points.sum_within(|d2| d2), within);
                assert_eq!(points.sum_between(&points, |d2| d2), between);
            }
        }
    }
}
