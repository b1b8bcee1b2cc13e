//! The documented floors of both histogram protocols, by computation and by simulation.

use flowmap_core::{Noise, NoiseStream, Stream};
use flowmap_metrics::{CellMasses, Checkerboard, PaperTarget, Samples, SquareGrid, exact_kl, paper_kl};

/// The documented value of the base Gaussian is one draw; the spread of a draw of 100 000 is 0.009, mostly
/// from bins in the corners that stay empty and cost log(1e10) each.
const GAUSSIAN_TOLERANCE: f64 = 0.04;

/// The documented value of the uniform law is one draw; the spread of a draw of 100 000 is 0.003.
const UNIFORM_TOLERANCE: f64 = 0.012;

/// The documented floor of `exact` is printed with three digits.
const PRINTED_TOLERANCE: f64 = 0.0005;

fn draw(n: usize, seed: u64, one: impl Fn(&mut Noise) -> [f64; 2]) -> Vec<f32> {
    let stream = NoiseStream::new(seed, Stream::Evaluation);
    (0..n).flat_map(|i| one(&mut stream.at(i as u64)).map(|value| value as f32)).collect()
}

/// Uniform on the white cells: a row, one of its two white cells, a place in it.
fn checkerboard(noise: &mut Noise) -> [f64; 2] {
    let i = noise.below(4);
    let j = 2 * noise.below(2) + i % 2;
    [i, j].map(|cell| -1.0 + 0.5 * (cell as f64 + noise.uniform()))
}

fn paper(values: &[f32]) -> f64 {
    let samples = Samples::new(values, 2).unwrap();
    paper_kl(samples, &PaperTarget::checkerboard()).unwrap().kl
}

/// The documented floors are one draw each; the last column is four times the spread of a draw.
#[test]
fn paper_floor_is_the_documented_one() {
    let target = PaperTarget::checkerboard();
    for (n, documented, tolerance) in [
        (25_000, 0.0805, 0.0096),
        (64_000, 0.0654, 0.0044),
        (100_000, 0.0628, 0.0036),
        (1_000_000, 0.0564, 0.0008),
        (10_000_000, 0.0555, 0.0003),
    ] {
        let floor = target.floor(n).unwrap();
        assert!((floor - documented).abs() < tolerance, "n = {n}: {floor}");
    }
}

#[test]
fn exact_samples_score_the_floor_of_paper_on_average() {
    let target = PaperTarget::checkerboard();
    for n in [25_000, 64_000] {
        let scores: Vec<f64> = (0..12).map(|seed| paper(&draw(n, seed, checkerboard))).collect();
        assert_mean_is(&scores, target.floor(n).unwrap());
    }
}

#[test]
fn base_gaussian_and_uniform_score_as_documented_under_paper() {
    let sigma = (1.0_f64 / 3.0).sqrt();
    let gaussian = paper(&draw(100_000, 2, |noise| [sigma * noise.normal(), sigma * noise.normal()]));
    assert!((gaussian - 0.890).abs() < GAUSSIAN_TOLERANCE, "{gaussian}");
    let uniform =
        paper(&draw(100_000, 3, |noise| [2.0 * noise.uniform() - 1.0, 2.0 * noise.uniform() - 1.0]));
    assert!((uniform - 0.705).abs() < UNIFORM_TOLERANCE, "{uniform}");
}

#[test]
fn exact_floor_is_the_documented_one() {
    let floor = CellMasses::checkerboard().floor(100_000);
    assert!((floor - 0.030).abs() < PRINTED_TOLERANCE, "{floor}");
}

/// Mean score of `n_draws` sets of `n` exact samples against the computed floors.
fn assert_floors_are_means(target: &CellMasses, n: usize, n_draws: u64, one: fn(&mut Noise) -> [f64; 2]) {
    let (mut forward, mut reverse) = (Vec::new(), Vec::new());
    for seed in 0..n_draws {
        let values = draw(n, seed, one);
        let result = exact_kl(Samples::new(&values, 2).unwrap(), target).unwrap();
        forward.push(result.kl);
        reverse.push(result.reverse_kl);
    }
    assert_mean_is(&forward, target.floor(n));
    assert_mean_is(&reverse, target.reverse_floor(n));
}

/// Four standard errors of the mean.
fn assert_mean_is(values: &[f64], expected: f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n * (n - 1.0));
    assert!((mean - expected).abs() < 4.0 * variance.sqrt(), "{mean} ± {}, {expected}", variance.sqrt());
}

#[test]
fn exact_floors_are_the_means_of_simulated_scores() {
    for n in [1_000, 10_000] {
        assert_floors_are_means(&CellMasses::checkerboard(), n, 30, checkerboard);
    }
}

#[test]
fn floors_hold_with_unequal_masses_and_an_overflow() {
    // The triangle law of a sum of two uniforms on each axis, seen through a window that misses some mass.
    let triangle = |x: f64| if x < 0.0 { 0.5 * (1.0 + x).powi(2) } else { 1.0 - 0.5 * (1.0 - x).powi(2) };
    let grid = SquareGrid::new(8, -0.75, 0.75).unwrap();
    let side = |i| triangle(grid.edge(i + 1)) - triangle(grid.edge(i));
    let masses = (0..grid.n_bins()).map(|bin| side(bin / 8) * side(bin % 8)).collect();
    let target = CellMasses::new(grid, masses).unwrap();
    assert!(target.outside() > 0.1);
    assert_floors_are_means(&target, 500, 200, |noise| {
        [noise.uniform() + noise.uniform() - 1.0, noise.uniform() + noise.uniform() - 1.0]
    });
}

#[test]
fn mass_off_the_support_counts_black_cells_and_the_outside() {
    let values = draw(10_000, 4, |noise| [2.0 * noise.uniform() - 1.0, 2.2 * noise.uniform() - 1.1]);
    let result = exact_kl(Samples::new(&values, 2).unwrap(), &CellMasses::checkerboard()).unwrap();
    let expected = 1.0 - 0.5 / 1.1; // half of the share inside is white
    assert!((result.mass_off_support - expected).abs() < 0.02, "{}", result.mass_off_support);
    // 2048 black bins of 2.07 samples each lose about log 3 of their share, the overflow all of log(1 +
    // 1736).
    assert!(result.reverse_kl > 10.0 * result.reverse_floor, "{result:?}");
    assert!(result.kl > 2.0 * result.floor, "{result:?}");
}

#[test]
fn printed_numbers_name_their_protocol() {
    let values = draw(64_000, 5, checkerboard);
    let samples = Samples::new(&values, 2).unwrap();
    let paper = paper_kl(samples, &PaperTarget::checkerboard()).unwrap();
    assert!(paper.to_string().contains("[paper: 50×50 bins, n = 64000, outside 0, floor 0.066]"), "{paper}");
    let exact = exact_kl(samples, &CellMasses::checkerboard()).unwrap();
    assert!(exact.to_string().contains("[exact: 64×64 bins, n = 64000, floor 0.046]"), "{exact}");
    let json = serde_json::to_value(exact).unwrap();
    assert_eq!(json["protocol"], "exact");
    let plain = PaperTarget::from_density(|x, y| Checkerboard::PAPER.density(x, y)).unwrap();
    let without_floor = paper_kl(samples, &plain).unwrap();
    assert_eq!((without_floor.kl, without_floor.floor), (paper.kl, None));
}

#[test]
fn floors_in_the_readme_are_the_computed_ones() {
    let readme = include_str!("../../README.md");
    let counts = [25_000, 64_000, 100_000, 1_000_000];
    let row = |name: &str, floor: &dyn Fn(usize) -> f64| {
        let cells: Vec<String> = counts.iter().map(|&n| format!("{:.4}", floor(n))).collect();
        format!("| `{name}` | {} |", cells.join(" | "))
    };
    let (paper, exact) = (PaperTarget::checkerboard(), CellMasses::checkerboard());
    assert!(readme.contains(&row("paper", &|n| paper.floor(n).unwrap())));
    assert!(readme.contains(&row("exact", &|n| exact.floor(n))));
}
