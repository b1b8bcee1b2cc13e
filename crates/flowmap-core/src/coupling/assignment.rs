//! Linear sum assignment by shortest augmenting paths.
//!
//! min_σ Σ_i c_{i,σ(i)} = max Σ_i u_i + Σ_j v_j  subject to  c_ij − u_i − v_j ≥ 0        (1)
//!
//! Jonker, Volgenant 1987, "A shortest augmenting path algorithm for dense and sparse linear assignment
//! problems".
//! Differs from the paper: of its initialization only column reduction and the greedy use of zero reduced
//! costs remain; each row left over is then matched along a shortest path of reduced costs (Dijkstra).
//! A path search scans each column at most once, so ties and rounding cannot make it loop.
//! Cost: O(n²) for each row left over, O(n³) in all.

use crate::{Error, Result};

/// The column of each row in an assignment of the smallest total cost; `cost` is row-major, `(n, n)`.
///
/// ```
/// let cost = [4.0, 1.0, 3.0, 2.0, 0.0, 5.0, 3.0, 2.0, 2.0];
/// assert_eq!(flowmap_core::coupling::assignment(&cost, 3)?, [1, 0, 2]);
/// # Ok::<(), flowmap_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Dimension`] if there are not n² costs, [`Error::Parameter`] for a cost that is not finite.
pub fn assignment(cost: &[f64], n: usize) -> Result<Vec<usize>> {
    if cost.len() != n * n {
        return Err(Error::Dimension { expected: n * n, found: cost.len() });
    }
    if let Some(&found) = cost.iter().find(|c| !c.is_finite()) {
        return Err(Error::Parameter { name: "cost", expected: "finite", found });
    }
    Ok(Matching::solve(cost, n).column_of)
}

/// Marks a row or column that has no partner yet.
const FREE: usize = usize::MAX;

/// A partial assignment with dual variables that satisfy (1), with equality on matched pairs.
struct Matching<'a> {
    cost: &'a [f64],
    n: usize,
    u: Vec<f64>,
    v: Vec<f64>,
    column_of: Vec<usize>,
    row_of: Vec<usize>,
}

impl<'a> Matching<'a> {
    fn solve(cost: &'a [f64], n: usize) -> Self {
        let mut matching = Self {
            cost,
            n,
            u: vec![0.0; n],
            v: vec![f64::INFINITY; n],
            column_of: vec![FREE; n],
            row_of: vec![FREE; n],
        };
        matching.reduce();
        let mut search = Search::new(n);
        for row in 0..n {
            if matching.column_of[row] == FREE {
                matching.augment(row, &mut search);
            }
        }
        matching
    }

    fn row(&self, i: usize) -> &'a [f64] {
        &self.cost[i * self.n..(i + 1) * self.n]
    }

    /// v_j = min_i c_ij, u_i = min_j (c_ij − v_j), and every free column that attains a row's minimum is
    /// taken.
    fn reduce(&mut self) {
        for i in 0..self.n {
            self.row(i).iter().zip(&mut self.v).for_each(|(c, v)| *v = v.min(*c));
        }
        for i in 0..self.n {
            let mut best = (f64::INFINITY, FREE);
            for (j, (c, v)) in self.row(i).iter().zip(&self.v).enumerate() {
                let reduced = c - v;
                let better = reduced < best.0;
                if better || (reduced == best.0 && self.row_of[best.1] != FREE && self.row_of[j] == FREE) {
                    best = (reduced, j);
                }
            }
            self.u[i] = best.0;
            if self.row_of[best.1] == FREE {
                self.column_of[i] = best.1;
                self.row_of[best.1] = i;
            }
        }
    }

    /// Matches `start` along a shortest path of reduced costs to a free column and repairs the duals.
    fn augment(&mut self, start: usize, search: &mut Search) {
        search.reset(self.n);
        let (mut i, mut reached) = (start, 0.0); // the row whose columns are tried, its distance from `start`
        let sink = loop {
            let row = self.row(i);
            let shift = reached - self.u[i];
            let mut nearest = (f64::INFINITY, 0);
            for (place, &j) in search.open.iter().enumerate() {
                let through_i = shift + row[j] - self.v[j];
                if through_i < search.distance[j] {
                    search.distance[j] = through_i;
                    search.previous_row[j] = i;
                }
                let distance = search.distance[j];
                if distance < nearest.0 || (distance == nearest.0 && self.row_of[j] == FREE) {
                    nearest = (distance, place);
                }
            }
            // Rounding may leave a step slightly negative; the distance along a path never decreases.
            reached = nearest.0.max(reached);
            let j = search.open.swap_remove(nearest.1);
            search.distance[j] = reached;
            if self.row_of[j] == FREE {
                break j;
            }
            search.scanned.push(j);
            i = self.row_of[j];
        };
        self.u[start] += reached;
        for &j in &search.scanned {
            let slack = reached - search.distance[j];
            self.v[j] -= slack;
            self.u[self.row_of[j]] += slack;
        }
        let mut j = sink;
        loop {
            let i = search.previous_row[j];
            self.row_of[j] = i;
            std::mem::swap(&mut self.column_of[i], &mut j);
            if i == start {
                return;
            }
        }
    }
}

/// Work space of one path search.
struct Search {
    distance: Vec<f64>,
    previous_row: Vec<usize>,
    open: Vec<usize>,
    scanned: Vec<usize>,
}

impl Search {
    fn new(n: usize) -> Self {
        Self {
            distance: vec![0.0; n],
            previous_row: vec![FREE; n],
            open: Vec::with_capacity(n),
            scanned: Vec::with_capacity(n),
        }
    }

    fn reset(&mut self, n: usize) {
        self.distance.fill(f64::INFINITY);
        self.open.clear();
        self.open.extend(0..n);
        self.scanned.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{NoiseStream, Stream};

    /// Rounding of the duals, relative to costs of order 1.
    const DUAL_TOLERANCE: f64 = 1e-12;

    fn random_cost(n: usize, seed: u64, levels: f64) -> Vec<f64> {
        let mut noise = NoiseStream::new(seed, Stream::Evaluation).at(0);
        (0..n * n).map(|_| (noise.uniform() * levels).floor() / levels).collect()
    }

    fn total(cost: &[f64], n: usize, columns: &[usize]) -> f64 {
        columns.iter().enumerate().map(|(i, j)| cost[i * n + j]).sum()
    }

    /// Minimum over all permutations that extend `columns`.
    fn brute_force(cost: &[f64], n: usize, columns: &mut Vec<usize>) -> f64 {
        if columns.len() == n {
            return total(cost, n, columns);
        }
        let mut best = f64::INFINITY;
        for j in 0..n {
            if !columns.contains(&j) {
                columns.push(j);
                best = best.min(brute_force(cost, n, columns));
                columns.pop();
            }
        }
        best
    }

    fn assert_permutation(columns: &[usize]) {
        let mut sorted = columns.to_vec();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..columns.len()));
    }

    #[test]
    fn agrees_with_all_permutations_up_to_seven_rows() {
        for n in 1..=7 {
            for seed in 0..20 {
                // A few levels only: many ties.
                for levels in [1.0, 3.0, 1e9] {
                    let cost = random_cost(n, seed, levels);
                    let columns = assignment(&cost, n).unwrap();
                    assert_permutation(&columns);
                    let best = brute_force(&cost, n, &mut Vec::new());
                    assert!((total(&cost, n, &columns) - best).abs() < DUAL_TOLERANCE, "{n} {seed} {levels}");
                }
            }
        }
    }

    #[test]
    fn duals_certify_the_optimum() {
        for levels in [2.0, 10.0, 1e9] {
            let n = 200;
            let cost = random_cost(n, 5, levels);
            let matching = Matching::solve(&cost, n);
            assert_permutation(&matching.column_of);
            for i in 0..n {
                for j in 0..n {
                    assert!(cost[i * n + j] - matching.u[i] - matching.v[j] > -DUAL_TOLERANCE);
                }
            }
            let dual: f64 = matching.u.iter().chain(&matching.v).sum();
            assert!((dual - total(&cost, n, &matching.column_of)).abs() < n as f64 * DUAL_TOLERANCE);
        }
    }

    #[test]
    fn equal_costs_and_one_row_are_no_special_case() {
        assert_permutation(&assignment(&[3.0; 100], 10).unwrap());
        assert_eq!(assignment(&[7.0], 1).unwrap(), [0]);
        assert_eq!(assignment(&[f64::MAX], 1).unwrap(), [0]);
        assert_eq!(assignment(&[], 0).unwrap(), [0; 0]);
        assert_eq!(assignment(&[1.0], 2), Err(Error::Dimension { expected: 4, found: 1 }));
        assert!(assignment(&[f64::NAN], 1).is_err());
    }
}
