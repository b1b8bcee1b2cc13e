//! Claims that every density of the plane makes, tested with samples of a fixed seed.

use flowmap_core::{NoiseStream, Stream};

use crate::{DataSet, batch};

/// Samples that a check draws.
const N_DRAWS: usize = 1 << 17;

/// Moments and counts may be off by this many standard errors; the seed is fixed, so that no test flickers.
const N_STANDARD_ERRORS: f64 = 4.0;

fn stream() -> NoiseStream {
    NoiseStream::new(2024, Stream::Data)
}

/// The claims that every set makes: pure samples, its own sigma, the given shares of the classes, a fitting extent.
pub fn hold(set: &dyn DataSet, weights: &[f64]) {
    is_pure(set);
    sigma_is_right(set);
    labels_have_weights(set, weights);
    extent_frames_the_samples(set);
}

/// Calls the claim with every point and its label.
pub fn all_points(set: &dyn DataSet, mut claim: impl FnMut([f64; 2], Option<u32>)) {
    assert_eq!((set.shape(), set.n_samples()), (&[2][..], None));
    for index in 0..N_DRAWS as u64 {
        let mut x = [f32::NAN; 2];
        let label = set.draw(&stream(), index, &mut x);
        assert_eq!(label.is_some(), set.n_classes() > 0);
        assert!(label.is_none_or(|label| (label as usize) < set.n_classes()));
        claim(x.map(f64::from), label);
    }
}

/// One sample is the same alone, in a small batch, in a large batch and in another order; others differ.
fn is_pure(set: &dyn DataSet) {
    let large = batch(set, &stream(), 0, 60);
    for step in (0..12).rev() {
        let small = batch(set, &stream(), step * 5, 5);
        let at = step as usize * 5;
        assert_eq!(small.x, large.x[2 * at..2 * (at + 5)]);
        assert_eq!(small.labels.as_deref(), large.labels.as_deref().map(|labels| &labels[at..at + 5]));
        assert_eq!(small.shape, [5, 2]);
    }
    assert_ne!(large.x, batch(set, &stream(), 60, 60).x);
    assert_ne!(large.x, batch(set, &NoiseStream::new(2025, Stream::Data), 0, 60).x);
    assert_ne!(large.x, batch(set, &NoiseStream::new(2024, Stream::Evaluation), 0, 60).x);
    // A slice of the wrong length is not a panic.
    set.draw(&stream(), 0, &mut []);
    set.draw(&stream(), 0, &mut [0.0; 3]);
}

/// sigma² is the mean of the squared distance from the common mean, within its standard error.
pub fn sigma_is_right(set: &dyn DataSet) {
    let n_values: usize = set.shape().iter().product();
    let rows = batch(set, &stream(), 0, N_DRAWS).x;
    let n = N_DRAWS as f64;
    let mean = rows.iter().map(|x| f64::from(*x)).sum::<f64>() / rows.len() as f64;
    let squares: Vec<f64> = rows
        .chunks_exact(n_values)
        .map(|row| row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n_values as f64)
        .collect();
    let variance = squares.iter().sum::<f64>() / n;
    let spread = squares.iter().map(|square| (square - variance).powi(2)).sum::<f64>() / n;
    let (error, bound) = (variance - set.sigma().powi(2), N_STANDARD_ERRORS * (spread / n).sqrt());
    assert!(error.abs() < bound, "sigma² is off by {error:e}, bound {bound:e}");
}

/// Pearson's chi-square of the counts stays within its mean plus five of its standard deviations.
pub fn cell_masses_are_right(set: &dyn DataSet, lo: f64, hi: f64, bins: usize) {
    /// Cells below this count have no normal law; they are added up.
    const MIN_COUNT: f64 = 5.0;
    let Some(masses) = set.cell_masses(lo, hi, bins) else { unreachable!("a set without masses") };
    assert_eq!(masses.len(), bins * bins);
    let mut counts = vec![0.0; bins * bins];
    let mut rest = [0.0, (1.0 - masses.iter().sum::<f64>()) * N_DRAWS as f64];
    all_points(set, |point, _| {
        let [ix, iy] = point.map(|v| ((v - lo) / (hi - lo) * bins as f64).floor());
        let is_in = |i: f64| (0.0..bins as f64).contains(&i);
        match is_in(ix) && is_in(iy) {
            true => counts[ix as usize * bins + iy as usize] += 1.0,
            false => rest[0] += 1.0,
        }
    });
    let (mut chi_square, mut n_terms) = (0.0, 0.0);
    for (count, mass) in counts.into_iter().zip(masses) {
        let expected = mass * N_DRAWS as f64;
        if expected < MIN_COUNT {
            rest = [rest[0] + count, rest[1] + expected];
        } else {
            chi_square += (count - expected).powi(2) / expected;
            n_terms += 1.0;
        }
    }
    let [count, expected] = rest;
    if expected < 1e-6 {
        assert_eq!(count, 0.0, "samples where the law has no mass");
    } else {
        chi_square += (count - expected).powi(2) / expected.max(1.0);
        n_terms += 1.0;
    }
    let bound = n_terms + 5.0 * (2.0f64 * n_terms).sqrt();
    assert!(chi_square < bound, "chi-square {chi_square} of {n_terms} cells, bound {bound}");
}

/// Labels come up with the given probabilities, within five standard errors.
fn labels_have_weights(set: &dyn DataSet, weights: &[f64]) {
    let mut counts = vec![0.0; set.n_classes()];
    assert_eq!(counts.len(), weights.len());
    let labels = batch(set, &stream(), 0, N_DRAWS).labels.unwrap_or_default();
    labels.into_iter().for_each(|label| counts[label as usize] += 1.0);
    for (count, weight) in counts.into_iter().zip(weights) {
        let n = N_DRAWS as f64;
        let bound = 5.0 * (n * weight * (1.0 - weight)).sqrt();
        assert!((count - n * weight).abs() <= bound, "{count} labels for a weight of {weight}");
    }
}

/// All but one in ten thousand points lie in the square that is plotted, and some in its outer half.
fn extent_frames_the_samples(set: &dyn DataSet) {
    let extent = set.extent().unwrap_or(f64::NAN);
    let (mut n_out, mut reach) = (0, 0.0f64);
    all_points(set, |[x, y], _| {
        let r = x.abs().max(y.abs());
        n_out += usize::from(r > extent);
        reach = reach.max(r);
    });
    assert!(n_out * 10_000 <= N_DRAWS && reach > 0.5 * extent, "{n_out} out of {extent}, reach {reach}");
}
