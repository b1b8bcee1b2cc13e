//! Entropic optimal transport by Sinkhorn's iteration, in the logarithm.
//!
//! P = argmin ⟨P, C⟩ + ε ⟨P, ln P⟩ over P 1 = 1/n, Pᵀ 1 = 1/n        (1)
//! P_ij = exp((f_i + g_j − C_ij)/ε),  f_i ← −ε ln Σ_j exp((g_j − C_ij)/ε) − ε ln n, and g likewise        (2)
//!
//! Sinkhorn 1967; Cuturi 2013, arXiv:1306.0895; in the logarithm, Peyré, Cuturi 2019, arXiv:1803.00567, section 4.4.
//! Differs from the paper: ε is given as a share of the mean cost, so that it means the same for all data.
//! Cost: O(n²) exponentials an iteration.

use crate::Noise;

/// The iteration stops when no row's mass is off by more than this share.
const TOLERANCE: f64 = 1e-3;

/// The plan (1) for `cost`, row-major `(n, n)`: row i of it times n is a distribution over columns.
pub(super) struct Plan {
    /// ln of n P_ij, row-major.
    log_rows: Vec<f64>,
    n: usize,
}

impl Plan {
    /// The plan after at most `n_iterations`, with ε = `epsilon` times the mean cost.
    pub(super) fn new(cost: &[f64], n: usize, epsilon: f64, n_iterations: u32) -> Self {
        let mean = cost.iter().sum::<f64>() / cost.len().max(1) as f64;
        // Costs that are all zero have any plan.
        let epsilon = (epsilon * mean).max(f64::MIN_POSITIVE);
        let scaled: Vec<f64> = cost.iter().map(|c| c / epsilon).collect();
        let log_n = (n.max(1) as f64).ln();
        let (mut f, mut g) = (vec![0.0; n], vec![0.0; n]);
        for _ in 0..n_iterations {
            for (i, f) in f.iter_mut().enumerate() {
                *f = -log_sum_exp((0..n).map(|j| g[j] - scaled[i * n + j])) - log_n;
            }
            for (j, g) in g.iter_mut().enumerate() {
                *g = -log_sum_exp((0..n).map(|i| f[i] - scaled[i * n + j])) - log_n;
            }
            // Columns now have their mass; rows have it in the limit.
            let mass = |i: usize| log_sum_exp((0..n).map(|j| f[i] + g[j] - scaled[i * n + j])) + log_n;
            if (0..n).all(|i| mass(i).abs() < TOLERANCE) {
                break;
            }
        }
        let log = |(at, c): (usize, &f64)| f[at / n] + g[at % n] - c + log_n;
        Self { log_rows: scaled.iter().enumerate().map(log).collect(), n }
    }

    /// A column for every row, each drawn from its row of the plan; takes one uniform a row.
    pub(super) fn draw(&self, noise: &mut Noise) -> Vec<usize> {
        let pick = |row: &[f64]| {
            let mass: f64 = row.iter().map(|log| log.exp()).sum();
            let mut left = noise.uniform() * mass;
            for (j, log) in row.iter().enumerate() {
                left -= log.exp();
                if left < 0.0 {
                    return j;
                }
            }
            row.len() - 1
        };
        self.log_rows.chunks_exact(self.n.max(1)).map(pick).collect()
    }
}

/// ln Σ exp, without overflow.
fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + values.map(|v| (v - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::super::assignment::assignment;
    use super::*;
    use crate::{NoiseStream, Stream};

    fn random_cost(n: usize) -> Vec<f64> {
        let mut noise = NoiseStream::new(1, Stream::Evaluation).at(0);
        (0..n * n).map(|_| noise.uniform()).collect()
    }

    #[test]
    fn plan_has_both_marginals() {
        let n = 40;
        for epsilon in [0.05, 1.0] {
            let plan = Plan::new(&random_cost(n), n, epsilon, 1000);
            for i in 0..n {
                let row: f64 = (0..n).map(|j| plan.log_rows[i * n + j].exp()).sum();
                let column: f64 = (0..n).map(|j| plan.log_rows[j * n + i].exp()).sum();
                assert!((row - 1.0).abs() < 2.0 * TOLERANCE && (column - 1.0).abs() < 2.0 * TOLERANCE);
            }
        }
    }

    #[test]
    fn plan_tends_to_the_assignment_and_to_independence() {
        let n = 12;
        let cost = random_cost(n);
        let sharp = Plan::new(&cost, n, 1e-3, 20_000);
        let expected = assignment(&cost, n);
        let largest = |row: &[f64]| (0..n).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(n);
        let found: Vec<usize> = sharp.log_rows.chunks_exact(n).map(largest).collect();
        assert_eq!(Ok(found), expected);
        let blunt = Plan::new(&cost, n, 1e3, 100);
        assert!(blunt.log_rows.iter().all(|log| (log.exp() * n as f64 - 1.0).abs() < 0.01));
    }

    #[test]
    fn no_rows_and_equal_points_are_no_special_case() {
        let mut noise = NoiseStream::new(1, Stream::Coupling).at(0);
        assert!(Plan::new(&[], 0, 0.1, 10).draw(&mut noise).is_empty());
        let found = Plan::new(&[0.0; 9], 3, 0.1, 10).draw(&mut noise);
        assert!(found.len() == 3 && found.iter().all(|j| *j < 3));
    }
}
