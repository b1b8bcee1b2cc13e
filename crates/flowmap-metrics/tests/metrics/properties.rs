//! What holds for every distance: symmetry, zero on equal sets, invariance, the triangle inequality.

use flowmap_core::{NoiseStream, Stream};
use flowmap_metrics::{
    Bandwidths, Directions, Error, Samples, Wasserstein, energy_distance, mmd2, sliced_wasserstein,
    wasserstein,
};
use proptest::prelude::*;

/// Rounding of sums of up to some thousand terms of order 1 in f64.
const ROUNDING: f64 = 1e-11;

/// A rotated or shifted point is rounded to f32 again, so distances move by about 1e-7 each.
const SINGLE_ROUNDING: f64 = 1e-5;

/// `n` samples of dimension `dim` of a Gaussian around `mean` in every coordinate.
fn gaussian(n: usize, dim: usize, mean: f64, seed: u64) -> Vec<f32> {
    let mut noise = NoiseStream::new(seed, Stream::Evaluation).at(0);
    (0..n * dim).map(|_| (mean + noise.normal()) as f32).collect()
}

/// Rows in another order, each once.
fn reversed(values: &[f32], dim: usize) -> Vec<f32> {
    values.chunks_exact(dim).rev().flatten().copied().collect()
}

/// The first two coordinates rotated by `angle`.
fn rotated(values: &[f32], dim: usize, angle: f64) -> Vec<f32> {
    let (sin, cos) = angle.sin_cos();
    let mut values = values.to_vec();
    for row in values.chunks_exact_mut(dim) {
        let (a, b) = (f64::from(row[0]), f64::from(row[1]));
        row[0] = (cos * a - sin * b) as f32;
        row[1] = (sin * a + cos * b) as f32;
    }
    values
}

/// Sliced W₂, energy, both MMD² and, for equal sizes, exact W₂.
fn all_distances(x: &[f32], y: &[f32], dim: usize) -> Vec<f64> {
    let (x, y) = (Samples::new(x, dim).unwrap(), Samples::new(y, dim).unwrap());
    let directions = Directions::uniform(dim, 16, 0).unwrap();
    let mut distances = vec![sliced_wasserstein(x, y, &directions).unwrap().distance];
    distances.extend(isotropic_distances(x, y));
    distances
}

/// Those that no rotation changes.
fn isotropic_distances(x: Samples<'_>, y: Samples<'_>) -> Vec<f64> {
    let energy = energy_distance(x, y).unwrap();
    // The same widths for either order of the sets.
    let both: Vec<f32> = x.rows().chain(y.rows()).flatten().copied().collect();
    let bandwidths = Bandwidths::median_heuristic(Samples::new(&both, x.dim()).unwrap()).unwrap();
    let mmd = mmd2(x, y, &bandwidths).unwrap();
    let mut distances = vec![energy.value, energy.unbiased, mmd.unbiased, mmd.biased];
    if x.n() == y.n() {
        distances.push(wasserstein(x, y).unwrap().distance);
    }
    distances
}

fn assert_same(left: &[f64], right: &[f64], tolerance: f64) {
    for (l, r) in left.iter().zip(right) {
        assert!((l - r).abs() < tolerance * (1.0 + l.abs()), "{left:?} and {right:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn order_of_sets_and_of_rows_does_not_matter(
        n in 2_usize..40, m in 2_usize..40, dim in 1_usize..5, seed: u64,
    ) {
        let (x, y) = (gaussian(n, dim, 0.0, seed), gaussian(m, dim, 0.5, !seed));
        let distances = all_distances(&x, &y, dim);
        assert_same(&distances, &all_distances(&y, &x, dim), ROUNDING);
        assert_same(&distances, &all_distances(&reversed(&x, dim), &y, dim), ROUNDING);
    }

    #[test]
    fn equal_sets_have_distance_zero(n in 2_usize..40, dim in 1_usize..5, seed: u64) {
        let x = gaussian(n, dim, 0.0, seed);
        let y = reversed(&x, dim);
        let (x, y) = (Samples::new(&x, dim).unwrap(), Samples::new(&y, dim).unwrap());
        let directions = Directions::uniform(dim, 16, 0).unwrap();
        prop_assert_eq!(sliced_wasserstein(x, y, &directions).unwrap().distance, 0.0);
        prop_assert_eq!(wasserstein(x, y).unwrap().distance, 0.0);
        prop_assert!(energy_distance(x, y).unwrap().value.abs() < ROUNDING);
        let mmd = mmd2(x, y, &Bandwidths::median_heuristic(y).unwrap()).unwrap();
        prop_assert!(mmd.biased.abs() < ROUNDING);
    }

    #[test]
    fn rotation_of_both_sets_changes_no_isotropic_distance(
        n in 2_usize..40, dim in 2_usize..5, angle in 0.0..6.3, seed: u64,
    ) {
        let (x, y) = (gaussian(n, dim, 0.0, seed), gaussian(n, dim, 0.5, !seed));
        let (turned_x, turned_y) = (rotated(&x, dim, angle), rotated(&y, dim, angle));
        let before = isotropic_distances(Samples::new(&x, dim).unwrap(), Samples::new(&y, dim).unwrap());
        let after =
            isotropic_distances(Samples::new(&turned_x, dim).unwrap(), Samples::new(&turned_y, dim).unwrap());
        assert_same(&before, &after, SINGLE_ROUNDING);
    }

    #[test]
    fn a_shifted_set_is_as_far_as_its_shift(
        n in 1_usize..60, dim in 1_usize..5, shift in -3.0_f32..3.0, seed: u64,
    ) {
        let x = gaussian(n, dim, 0.0, seed);
        let y: Vec<f32> = x.iter().map(|value| value + shift).collect();
        let (x, y) = (Samples::new(&x, dim).unwrap(), Samples::new(&y, dim).unwrap());
        let length = f64::from(shift.abs()) * (dim as f64).sqrt();
        let exact = wasserstein(x, y).unwrap().distance;
        prop_assert!((exact - length).abs() < SINGLE_ROUNDING);
        let sliced = sliced_wasserstein(x, y, &Directions::uniform(dim, 64, 1).unwrap()).unwrap().distance;
        prop_assert!(sliced < exact + SINGLE_ROUNDING);
    }

    #[test]
    fn wasserstein_distances_and_the_root_of_the_energy_obey_the_triangle_inequality(
        n in 2_usize..30, dim in 1_usize..4, seed: u64,
    ) {
        let [x, y, z] = [0, 1, 2].map(|i| gaussian(n, dim, 0.3 * i as f64, seed ^ i));
        let [x, y, z] = [&x, &y, &z].map(|values| Samples::new(values, dim).unwrap());
        let directions = Directions::uniform(dim, 16, 0).unwrap();
        let distances = |a, b| {
            let sliced = sliced_wasserstein(a, b, &directions).unwrap().distance;
            // The V-statistic is the square of a distance between the empirical measures.
            let energy = energy_distance(a, b).unwrap().value.max(0.0).sqrt();
            [wasserstein(a, b).unwrap().distance, sliced, energy]
        };
        for ((xz, xy), yz) in distances(x, z).into_iter().zip(distances(x, y)).zip(distances(y, z)) {
            prop_assert!(xz <= xy + yz + ROUNDING);
        }
    }

    #[test]
    fn in_one_dimension_sliced_and_exact_distance_are_one(n in 1_usize..60, seed: u64) {
        let (x, y) = (gaussian(n, 1, 0.0, seed), gaussian(n, 1, 1.0, !seed));
        let (x, y) = (Samples::new(&x, 1).unwrap(), Samples::new(&y, 1).unwrap());
        let sliced = sliced_wasserstein(x, y, &Directions::uniform(1, 3, 0).unwrap()).unwrap().distance;
        prop_assert!((sliced - wasserstein(x, y).unwrap().distance).abs() < ROUNDING);
    }
}

#[test]
fn unbiased_estimators_average_to_zero_for_one_law() {
    let (mut energies, mut mmds) = (Vec::new(), Vec::new());
    for seed in 0..60 {
        let (x, y) = (gaussian(50, 2, 0.0, seed), gaussian(40, 2, 0.0, seed + 1000));
        let (x, y) = (Samples::new(&x, 2).unwrap(), Samples::new(&y, 2).unwrap());
        energies.push(energy_distance(x, y).unwrap().unbiased);
        mmds.push(mmd2(x, y, &Bandwidths::new(vec![0.5, 1.0]).unwrap()).unwrap().unbiased);
    }
    for values in [energies, mmds] {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n * (n - 1.0));
        assert!(mean.abs() < 4.0 * variance.sqrt(), "{mean} ± {}", variance.sqrt());
    }
}

#[test]
fn results_have_the_same_bits_for_any_number_of_threads() {
    let (x, y) = (gaussian(500, 2, 0.0, 1), gaussian(500, 2, 0.2, 2));
    let bits = |threads| -> Vec<u64> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| all_distances(&x, &y, 2).into_iter().map(f64::to_bits).collect())
    };
    let one = bits(1);
    assert_eq!(one, bits(2));
    assert_eq!(one, bits(5));
}

#[test]
fn exact_distance_refuses_large_and_unequal_sets() {
    let n = Wasserstein::LIMIT + 1;
    let values = gaussian(n, 1, 0.0, 0);
    let large = Samples::new(&values, 1).unwrap();
    assert_eq!(wasserstein(large, large).err(), Some(Error::TooManySamples { n, limit: 2048 }));
    let small = Samples::new(&values[..3], 1).unwrap();
    assert_eq!(wasserstein(small, large).err(), Some(Error::CountMismatch { left: 3, right: n }));
}

#[test]
fn exact_distance_of_repeated_points_ends() {
    let values: Vec<f32> = (0..600).map(|i| (i % 3) as f32).collect();
    let shifted: Vec<f32> = (0..600).map(|i| (i % 2) as f32).collect();
    let (x, y) = (Samples::new(&values, 1).unwrap(), Samples::new(&shifted, 1).unwrap());
    // Sorted: 200 zeros, 200 ones, 200 twos against 300 zeros, 300 ones.
    let expected = ((100.0 + 200.0) / 600.0_f64).sqrt();
    assert!((wasserstein(x, y).unwrap().distance - expected).abs() < ROUNDING);
}

#[test]
fn printed_numbers_name_their_protocol() {
    let (x, y) = (gaussian(8, 2, 0.0, 1), gaussian(8, 2, 0.2, 2));
    let (x, y) = (Samples::new(&x, 2).unwrap(), Samples::new(&y, 2).unwrap());
    let directions = Directions::uniform(2, 128, 0).unwrap();
    let lines = [
        sliced_wasserstein(x, y, &directions).unwrap().to_string(),
        wasserstein(x, y).unwrap().to_string(),
        energy_distance(x, y).unwrap().to_string(),
        mmd2(x, y, &Bandwidths::new(vec![1.0]).unwrap()).unwrap().to_string(),
    ];
    let names = ["[sliced-w2: ", "[w2: ", "[energy: ", "[mmd2: "];
    for (line, name) in lines.iter().zip(names) {
        assert!(line.contains(name) && line.contains("n = 8"), "{line}");
    }
}
