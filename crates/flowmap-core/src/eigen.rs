//! Eigenvalues and eigenvectors of a symmetric matrix, by cyclic Jacobi rotations.
//!
//! Golub, Van Loan 2013, Matrix Computations, fourth edition, section 8.5.
//! Slow for large matrices (some 10 sweeps of n³ operations), but short and as accurate as f64 allows.

/// Sweeps after which the rotations have long converged (quadratically; 6 to 10 are usual).
const MAX_SWEEPS: usize = 64;

/// Off-diagonal entries below this share of the largest entry change no eigenvalue in f64.
const NEGLIGIBLE: f64 = 1e-18;

/// C = Σ_i λ_i v_i v_iᵀ.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigen {
    /// λ_i, in no particular order.
    pub values: Vec<f64>,
    /// v_i as rows, `(n, n)` flat.
    pub vectors: Vec<f64>,
}

/// Decomposes the symmetric `(n, n)` matrix, given flat.
///
/// ```
/// let mut values = flowmap_core::symmetric_eigen(&[2.0, 1.0, 1.0, 2.0], 2).values;
/// values.sort_by(f64::total_cmp);
/// assert!((values[0] - 1.0).abs() < 1e-15 && (values[1] - 3.0).abs() < 1e-15);
/// ```
///
/// # Panics
/// Where the slice holds fewer than n² numbers, as indexing does.
pub fn symmetric_eigen(matrix: &[f64], n: usize) -> Eigen {
    let mut a = matrix.to_vec();
    let mut v = vec![0.0; n * n];
    for i in 0..n {
        v[i * n + i] = 1.0;
    }
    let largest = |largest: f64, entry: &f64| largest.max(entry.abs());
    let size = a.iter().fold(0.0, largest);
    for _ in 0..MAX_SWEEPS {
        let off_diagonal = (0..n * n).filter(|idx| idx / n != idx % n).map(|idx| &a[idx]);
        if off_diagonal.fold(0.0, largest) <= NEGLIGIBLE * size {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut v, n, p, q);
            }
        }
    }
    Eigen { values: (0..n).map(|i| a[i * n + i]).collect(), vectors: v }
}

/// One rotation in the plane (p, q) that makes a_pq zero: a ← J a Jᵀ, v ← J v.
fn rotate(a: &mut [f64], v: &mut [f64], n: usize, p: usize, q: usize) {
    let a_pq = a[p * n + q];
    if a_pq == 0.0 {
        return;
    }
    let tau = (a[q * n + q] - a[p * n + p]) / (2.0 * a_pq);
    let tan = tau.signum() / (tau.abs() + tau.hypot(1.0)); // the smaller angle
    let cos = 1.0 / tan.hypot(1.0);
    let sin = tan * cos;
    for i in 0..n {
        let (a_ip, a_iq) = (a[i * n + p], a[i * n + q]);
        a[i * n + p] = cos * a_ip - sin * a_iq;
        a[i * n + q] = sin * a_ip + cos * a_iq;
    }
    for rows in [a, v] {
        for i in 0..n {
            let (r_pi, r_qi) = (rows[p * n + i], rows[q * n + i]);
            rows[p * n + i] = cos * r_pi - sin * r_qi;
            rows[q * n + i] = sin * r_pi + cos * r_qi;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NoiseStream, Stream};

    /// Backward error of the rotations: a few n ε.
    const TOLERANCE: f64 = 1e-13;

    fn check(matrix: &[f64], n: usize) {
        let Eigen { values, vectors } = symmetric_eigen(matrix, n);
        let size = matrix.iter().map(|m| m.abs()).fold(0.0, f64::max);
        for i in 0..n {
            for j in 0..n {
                let rebuilt: f64 = (0..n).map(|k| values[k] * vectors[k * n + i] * vectors[k * n + j]).sum();
                assert!((rebuilt - matrix[i * n + j]).abs() <= TOLERANCE * size);
                let product: f64 = (0..n).map(|k| vectors[i * n + k] * vectors[j * n + k]).sum();
                assert!((product - f64::from(i == j)).abs() <= TOLERANCE);
            }
        }
    }

    #[test]
    fn random_symmetric_matrices_are_rebuilt() {
        let stream = NoiseStream::new(1, Stream::Evaluation);
        for n in 1..=12 {
            let mut root = vec![0.0; n * n];
            stream.at(n as u64).fill_normal(&mut root);
            let matrix: Vec<f64> = (0..n * n).map(|idx| root[idx] + root[idx % n * n + idx / n]).collect();
            check(&matrix, n);
        }
    }

    #[test]
    fn special_matrices_are_rebuilt() {
        check(&[0.0; 9], 3);
        check(&[2.0, 0.0, 0.0, 2.0], 2);
        check(&[1.0, 1.0, 1.0, 1.0], 2);
        check(&[1e-300, 5e-301, 5e-301, 1e-300], 2);
        check(&[1.0, 0.999999, 0.999999, 1.0], 2);
        let known = symmetric_eigen(&[2.0, 1.0, 1.0, 2.0], 2);
        let mut values = known.values;
        values.sort_by(f64::total_cmp);
        assert!((values[0] - 1.0).abs() < 1e-15 && (values[1] - 3.0).abs() < 1e-15);
    }
}
