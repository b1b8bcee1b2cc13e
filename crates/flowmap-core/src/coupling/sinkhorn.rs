//! Entropic optimal transport by Sinkhorn's iteration, in the logarithm.
//!
//! P = argmin ⟨P, C⟩ + ε ⟨P, ln P⟩ over P 1 = 1/n, Pᵀ 1 = 1/n        (1)
//! P_ij = exp((f_i + g_j − C_ij)/ε),  f_i ← −ε ln Σ_j exp((g_j − C_ij)/ε) − ε ln n, and g likewise        (2)
//!
//! Sinkhorn 1967; Cuturi 2013, arXiv:1306.0895; in the logarithm, Peyré, Cuturi 2019, arXiv:1803.00567, section 4.4,
//! with the scaling of ε of its remark 4.14: a small ε begins at the potentials of larger ones.
//! The columns of (2) have their mass after every iteration, and its rows in the limit; a plan whose rows are off by more
//! than a share of 1e-3 is rejected, since it would draw some noise too often and other noise never.
//! Differs from the paper: ε is given as a share of the mean cost, so that it means the same for all data.
//! Cost: O(n²) exponentials an iteration.

use crate::Noise;

/// A plan has converged when no row's mass is off by more than this share.
const TOLERANCE: f64 = 1e-3;
/// From this ε on down, each ε begins at the potentials of twice its value; above, at none.
const COARSEST: f64 = 0.02;
/// Below this ε a plan is not worth its iterations, a thousand and more: exact transport costs at most ε ln n more.
const SMALLEST: f64 = 2e-3;
/// How near the rows of an ε on the way need to be to their mass, and most iterations for it.
const LOOSE_TOLERANCE: f64 = 0.1;
const MAX_LOOSE: u32 = 50;

/// The plan (1) for `cost`, row-major `(n, n)`: row i of it times n is a distribution over columns.
pub(super) struct Plan {
    /// ln of n P_ij, row-major.
    log_rows: Vec<f64>,
    n: usize,
}

impl Plan {
    /// The plan with ε = `epsilon` times the mean cost, `None` for an ε near 0, and where `n_iterations` at that ε do not
    /// bring the rows to their mass.
    pub(super) fn new(cost: &[f64], n: usize, epsilon: f64, n_iterations: u32) -> Option<Self> {
        let mean = cost.iter().sum::<f64>() / cost.len().max(1) as f64;
        if epsilon < SMALLEST {
            return None;
        }
        let mut stages = vec![epsilon];
        while let Some(&larger) = stages.last().filter(|e| **e < COARSEST) {
            stages.push((2.0 * larger).min(COARSEST));
        }
        let mut potentials = Potentials { f: vec![0.0; n], g: vec![0.0; n] };
        let mut before = 1.0;
        for stage in stages.into_iter().rev() {
            // Costs that are all zero have any plan.
            let unit = (stage * mean).max(f64::MIN_POSITIVE);
            let scaled: Vec<f64> = cost.iter().map(|c| c / unit).collect();
            potentials.rescale(before / stage);
            before = stage;
            if stage != epsilon {
                potentials.iterate(&scaled, MAX_LOOSE, LOOSE_TOLERANCE);
            } else if potentials.iterate(&scaled, n_iterations, TOLERANCE) {
                return Some(Self { log_rows: potentials.log_rows(&scaled), n });
            }
        }
        None
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

/// f/ε and g/ε of (2).
struct Potentials {
    f: Vec<f64>,
    g: Vec<f64>,
}

impl Potentials {
    /// Carries f and g over to another ε.
    fn rescale(&mut self, factor: f64) {
        self.f.iter_mut().chain(&mut self.g).for_each(|value| *value *= factor);
    }

    /// At most `n_iterations` of (2) for costs over ε, and whether no row's mass is off by more than `tolerance` then.
    fn iterate(&mut self, scaled: &[f64], n_iterations: u32, tolerance: f64) -> bool {
        let (f, g) = (&mut self.f, &mut self.g);
        let n = f.len();
        let log_n = (n.max(1) as f64).ln();
        for _ in 0..n_iterations {
            for (i, f) in f.iter_mut().enumerate() {
                *f = -log_sum_exp((0..n).map(|j| g[j] - scaled[i * n + j])) - log_n;
            }
            for (j, g) in g.iter_mut().enumerate() {
                *g = -log_sum_exp((0..n).map(|i| f[i] - scaled[i * n + j])) - log_n;
            }
            // Columns now have their mass; rows have it in the limit.
            let mass = |i: usize| log_sum_exp((0..n).map(|j| f[i] + g[j] - scaled[i * n + j])) + log_n;
            if (0..n).all(|i| mass(i).abs() < tolerance) {
                return true;
            }
        }
        false
    }

    /// ln of n P_ij.
    fn log_rows(&self, scaled: &[f64]) -> Vec<f64> {
        let n = self.f.len();
        let log_n = (n.max(1) as f64).ln();
        let log = |(at, c): (usize, &f64)| self.f[at / n] + self.g[at % n] - c + log_n;
        scaled.iter().enumerate().map(log).collect()
    }
}

/// ln Σ exp, without overflow.
fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + values.map(|v| (v - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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
        for epsilon in [2e-3, 0.01, 0.02, 0.05, 1.0, 1e3] {
            let plan = Plan::new(&random_cost(n), n, epsilon, 20_000).unwrap();
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
        let expected = assignment(&cost, n);
        let largest = |row: &[f64]| (0..n).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(n);
        let sharp = Plan::new(&cost, n, 2e-3, 20_000).unwrap();
        let found: Vec<usize> = sharp.log_rows.chunks_exact(n).map(largest).collect();
        assert_eq!(Ok(found), expected);
        assert!([1e-3, 1e-6, 1e-300].iter().all(|epsilon| Plan::new(&cost, n, *epsilon, 20_000).is_none()));
        let blunt = Plan::new(&cost, n, 1e3, 100).unwrap();
        assert!(blunt.log_rows.iter().all(|log| (log.exp() * n as f64 - 1.0).abs() < 0.01));
    }

    #[test]
    fn plan_that_has_not_converged_is_none() {
        assert!(Plan::new(&random_cost(40), 40, 0.02, 2).is_none());
    }

    #[test]
    fn no_rows_and_equal_points_are_no_special_case() {
        let mut noise = NoiseStream::new(1, Stream::Coupling).at(0);
        assert!(Plan::new(&[], 0, 0.1, 10).unwrap().draw(&mut noise).is_empty());
        let found = Plan::new(&[0.0; 9], 3, 0.1, 10).unwrap().draw(&mut noise);
        assert!(found.len() == 3 && found.iter().all(|j| *j < 3));
    }
}
