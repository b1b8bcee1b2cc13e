//! Couplings: which noise goes with which data.
//!
//! Training draws pairs (x_0, x_1) from a joint distribution ρ(x_0, x_1) with the base and the data as marginals.
//! Independent pairs are the default. Optimal transport within a batch makes the paths straighter and İ_t less noisy
//! (Pooladian and others 2023, arXiv:2304.14772; Tong and others 2023, arXiv:2302.00482).
//! Data and labels keep their rows: a coupling only assigns a row of the noise to each of them.

mod assignment;
mod sinkhorn;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use assignment::assignment;

use crate::{Error, Noise, Result};
use sinkhorn::Plan;

/// Rows that are coupled with one another unless told otherwise.
const GROUP: usize = 256;

/// How the rows of a batch of noise and of data are paired.
///
/// With labels, rows are paired within each label only. The noise given a label then has the base distribution still;
/// pairing across labels would tie regions of the noise to labels, and a conditional model samples from all of it.
///
/// ```
/// use flowmap_core::coupling::Coupling;
/// use flowmap_core::{NoiseStream, Stream};
/// let noise = &mut NoiseStream::new(1, Stream::Coupling).at(0);
/// let (x0, x1) = ([0.0, 1.0, 2.0], [1.9, 0.2, 1.1]);
/// let rows = Coupling::OptimalTransport { group: 256 }.pair(&x0, &x1, 1, None, noise)?;
/// assert_eq!(rows, [2, 0, 1]); // data row 0 gets noise row 2
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Coupling {
    /// Noise as it comes, independent of the data.
    Independent {},
    /// Noise that comes with the data, row by row, such as the starting points of a teacher's samples.
    Paired {},
    /// Exact optimal transport for |x_1 − x_0|² within groups of rows; a permutation of the noise.
    OptimalTransport {
        /// Number of rows coupled with one another; the work grows with its square to cube.
        #[serde(default = "group")]
        group: usize,
    },
    /// Entropic optimal transport: each row of data draws its noise from its row of Sinkhorn's plan.
    ///
    /// Noise rows may be used twice or not at all.
    Sinkhorn {
        /// Number of rows coupled with one another.
        #[serde(default = "group")]
        group: usize,
        /// The entropy's weight as a share of the mean cost; 0 tends to exact transport, ∞ to independence.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// Most iterations at ε; a plan that needs more is replaced by exact transport, and so is one of an ε below 0.002.
        ///
        /// Small ε need the most, and the cost of exact transport is within ε ln n of theirs, for groups of n.
        #[serde(default = "iterations")]
        n_iterations: u32,
    },
}

fn group() -> usize {
    GROUP
}

fn epsilon() -> f64 {
    0.05
}

fn iterations() -> u32 {
    500
}

impl Default for Coupling {
    fn default() -> Self {
        Self::Independent {}
    }
}

impl Coupling {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a group of no rows, an ε that is not positive, or no iteration.
    pub fn validate(&self) -> Result<()> {
        let (group, epsilon, n_iterations) = match *self {
            Self::Independent {} | Self::Paired {} => return Ok(()),
            Self::OptimalTransport { group } => (group, 1.0, 1),
            Self::Sinkhorn { group, epsilon, n_iterations } => (group, epsilon, n_iterations),
        };
        if n_iterations == 0 {
            return Err(Error::Parameter { name: "n_iterations", expected: "at least 1", found: 0.0 });
        }
        if group == 0 {
            return Err(Error::Parameter { name: "group", expected: "at least 1", found: 0.0 });
        }
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(Error::Parameter {
                name: "epsilon",
                expected: "positive and finite",
                found: epsilon,
            });
        }
        Ok(())
    }

    /// The row of the noise `x0` that goes with each row of the data `x1`; both are `(n, dim)`, row-major.
    ///
    /// # Errors
    /// [`Error::Dimension`] where the sizes do not fit, [`Error::Parameter`] for a value that is not finite,
    /// and the errors of [`Coupling::validate`].
    pub fn pair<T: Copy + Into<f64>>(
        &self,
        x0: &[T],
        x1: &[T],
        dim: usize,
        labels: Option<&[u32]>,
        noise: &mut Noise,
    ) -> Result<Vec<usize>> {
        self.validate()?;
        let fits = |expected, found| {
            if expected == found { Ok(()) } else { Err(Error::Dimension { expected, found }) }
        };
        let n = x1.len() / dim.max(1);
        fits(n * dim, x1.len())?;
        fits(x1.len(), x0.len())?;
        let mut rows: Vec<usize> = (0..n).collect();
        let group = match *self {
            Self::Independent {} | Self::Paired {} => return Ok(rows),
            Self::OptimalTransport { group } | Self::Sinkhorn { group, .. } => group,
        };
        let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        match labels {
            Some(labels) => {
                fits(n, labels.len())?;
                labels
                    .iter()
                    .enumerate()
                    .for_each(|(row, label)| classes.entry(*label).or_default().push(row));
            }
            None => {
                classes.insert(0, rows.clone());
            }
        }
        for members in classes.values().flat_map(|class| class.chunks(group)) {
            let partners = self.partners(&costs(x0, x1, dim, members), members.len(), noise)?;
            members.iter().zip(partners).for_each(|(row, partner)| rows[*row] = members[partner]);
        }
        Ok(rows)
    }

    /// The column of each row of a cost matrix `(n, n)`.
    fn partners(&self, cost: &[f64], n: usize, noise: &mut Noise) -> Result<Vec<usize>> {
        match *self {
            Self::Sinkhorn { epsilon, n_iterations, .. } => {
                if let Some(&found) = cost.iter().find(|c| !c.is_finite()) {
                    return Err(Error::Parameter { name: "cost", expected: "finite", found });
                }
                match Plan::new(cost, n, epsilon, n_iterations) {
                    Some(plan) => Ok(plan.draw(noise)),
                    // The limit of small ε, in which all noise is used once.
                    None => assignment(cost, n),
                }
            }
            _ => assignment(cost, n),
        }
    }
}

/// |x_1 − x_0|² of every pair of members, data along the rows.
fn costs<T: Copy + Into<f64>>(x0: &[T], x1: &[T], dim: usize, members: &[usize]) -> Vec<f64> {
    let row =
        |x: &[T], i: usize| -> Vec<f64> { x[i * dim..(i + 1) * dim].iter().map(|v| (*v).into()).collect() };
    let noise: Vec<Vec<f64>> = members.iter().map(|&j| row(x0, j)).collect();
    let mut costs = Vec::with_capacity(members.len() * members.len());
    for &i in members {
        let data = row(x1, i);
        let distance = |x0: &Vec<f64>| data.iter().zip(x0).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        costs.extend(noise.iter().map(distance));
    }
    costs
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{NoiseStream, Stream};

    const EXACT: Coupling = Coupling::OptimalTransport { group: GROUP };
    const ENTROPIC: Coupling = Coupling::Sinkhorn { group: GROUP, epsilon: 0.05, n_iterations: 200 };

    fn noise() -> Noise {
        NoiseStream::new(1, Stream::Coupling).at(0)
    }

    fn points(n: usize, stream: Stream) -> Vec<f32> {
        let mut values = vec![0.0; n];
        NoiseStream::new(2, stream).at(0).fill_normal_f32(&mut values);
        values
    }

    fn cost(x0: &[f32], x1: &[f32], dim: usize, rows: &[usize]) -> f64 {
        let all: Vec<usize> = (0..rows.len()).collect();
        let costs = costs(x0, x1, dim, &all);
        rows.iter().enumerate().map(|(i, j)| costs[i * rows.len() + j]).sum::<f64>() / rows.len() as f64
    }

    fn is_permutation(rows: &[usize]) -> bool {
        let mut sorted = rows.to_vec();
        sorted.sort_unstable();
        sorted.into_iter().eq(0..rows.len())
    }

    #[test]
    fn exact_transport_in_one_dimension_sorts() {
        let (x0, x1) = (points(100, Stream::Base), points(100, Stream::Data));
        let rows = EXACT.pair(&x0, &x1, 1, None, &mut noise()).unwrap();
        let mut pairs: Vec<(f32, f32)> = x1.iter().zip(&rows).map(|(x1, j)| (*x1, x0[*j])).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(is_permutation(&rows) && pairs.windows(2).all(|p| p[0].1 <= p[1].1));
    }

    #[test]
    fn independent_pairs_cost_most_and_exact_ones_least() {
        let (x0, x1) = (points(400, Stream::Base), points(400, Stream::Data));
        let of =
            |coupling: Coupling| cost(&x0, &x1, 2, &coupling.pair(&x0, &x1, 2, None, &mut noise()).unwrap());
        let (independent, entropic, exact) = (of(Coupling::default()), of(ENTROPIC), of(EXACT));
        assert!(exact < entropic && entropic < 0.5 * independent, "{exact}, {entropic}, {independent}");
        assert_eq!(independent, of(Coupling::Paired {}));
        let small_groups = of(Coupling::OptimalTransport { group: 20 });
        assert!(exact < small_groups && small_groups < independent);
    }

    #[test]
    fn little_entropy_is_exact_transport_and_uses_all_noise_once() {
        let (x0, x1) = (points(512, Stream::Base), points(512, Stream::Data));
        let exact = EXACT.pair(&x0, &x1, 2, None, &mut noise()).unwrap();
        let of = |epsilon, n_iterations| {
            let coupling = Coupling::Sinkhorn { group: GROUP, epsilon, n_iterations };
            coupling.pair(&x0, &x1, 2, None, &mut noise()).unwrap()
        };
        for epsilon in [1e-3, 1e-6, 1e-9] {
            assert_eq!(of(epsilon, iterations()), exact, "{epsilon}");
        }
        // Also if the iterations are too few for the plan.
        assert_eq!(of(0.01, 1), exact);
        assert!(Coupling::Sinkhorn { group: 8, epsilon: 0.1, n_iterations: 0 }.validate().is_err());
    }

    #[test]
    fn labels_keep_their_noise() {
        let n = 90;
        let (x0, x1) = (points(2 * n, Stream::Base), points(2 * n, Stream::Data));
        let labels: Vec<u32> = (0..n as u32).map(|i| i * i % 3).collect();
        for coupling in [EXACT, ENTROPIC, Coupling::OptimalTransport { group: 7 }] {
            let rows = coupling.pair(&x0, &x1, 2, Some(&labels), &mut noise()).unwrap();
            assert!(rows.iter().enumerate().all(|(i, j)| labels[i] == labels[*j]), "{coupling:?}");
            assert!(coupling == ENTROPIC || is_permutation(&rows));
            assert!(rows.iter().enumerate().any(|(i, j)| i != *j));
        }
    }

    #[test]
    fn pairing_depends_on_its_noise_alone() {
        let (x0, x1) = (points(60, Stream::Base), points(60, Stream::Data));
        let of = |index| {
            ENTROPIC.pair(&x0, &x1, 1, None, &mut NoiseStream::new(1, Stream::Coupling).at(index)).unwrap()
        };
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }

    #[test]
    fn sizes_and_parameters_that_do_not_fit_are_refused() {
        let pair = |coupling: Coupling, x0: &[f64], x1: &[f64], labels: Option<&[u32]>| {
            coupling.pair(x0, x1, 2, labels, &mut noise()).unwrap_err().to_string()
        };
        assert_eq!(pair(EXACT, &[0.0; 4], &[0.0; 6], None), "dimension mismatch: expected 6, found 4");
        assert_eq!(pair(EXACT, &[0.0; 5], &[0.0; 5], None), "dimension mismatch: expected 4, found 5");
        assert_eq!(pair(EXACT, &[0.0; 4], &[0.0; 4], Some(&[1])), "dimension mismatch: expected 2, found 1");
        for coupling in [EXACT, ENTROPIC] {
            let message = pair(coupling, &[0.0, f64::NAN], &[0.0; 2], None);
            assert_eq!(message, "`cost` must be finite, found NaN");
        }
        assert!(Coupling::OptimalTransport { group: 0 }.validate().is_err());
        assert!(Coupling::Sinkhorn { group: 1, epsilon: 0.0, n_iterations: 1 }.validate().is_err());
    }

    #[test]
    fn couplings_are_read_from_a_file() {
        for (text, coupling) in [
            ("kind = \"independent\"\n", Coupling::default()),
            ("kind = \"paired\"\n", Coupling::Paired {}),
            ("kind = \"optimal_transport\"\n", EXACT),
            ("kind = \"sinkhorn\"\nn_iterations = 200\n", ENTROPIC),
        ] {
            assert_eq!(toml::from_str::<Coupling>(text).unwrap(), coupling);
        }
        assert!(toml::from_str::<Coupling>("kind = \"independent\"\ngroup = 3").is_err());
    }
}
