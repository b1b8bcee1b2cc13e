//! The optimizer's kernels against their formulas in f64.

use crate::host::{Host, Place};
use crate::{floats, noise};
use flowmap_kernel::cuda::launches::{self, AdamRule};

/// f32 steps of a few operations each.
const TOLERANCE: f64 = 1e-6;

const RULE: AdamRule = AdamRule {
    beta1: 0.9,
    beta2: 0.999,
    gradient_scale: 0.5,
    rate: 3e-3,
    root: Some(0.3),
    eps: 1e-8,
    keep: 0.999,
};

/// |g| and c for gradients of several sizes, as the kernels leave them.
fn measured(host: &mut Host, gradients: &[Vec<f32>], max_norm: Option<f64>) -> Place {
    let n: u32 = gradients.iter().map(|g| launches::n_square_sums(g.len())).sum();
    let (partials, norm) = (host.poisoned(8 * n as usize), host.poisoned(16));
    let mut at = partials;
    for g in gradients {
        let place = host.floats(g);
        launches::square_sums(host, g.len(), place, at).unwrap();
        at = host.after(at, 2 * launches::n_square_sums(g.len()) as usize);
    }
    launches::clip(host, n, max_norm, partials, norm).unwrap();
    norm
}

#[test]
fn norm_is_that_of_all_gradients_together_and_clips() {
    if Host::find().is_none() {
        return;
    }
    let gradients: Vec<Vec<f32>> = [1, 7, 5000, 70_001].iter().map(|n| floats(&noise(40, &[*n]))).collect();
    let exact = gradients.iter().flatten().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    for max_norm in [None, Some(1e9), Some(0.25)] {
        let mut host = Host::find().unwrap();
        let norm = measured(&mut host, &gradients, max_norm);
        let found = host.read_doubles(norm, 2);
        assert!((found[0] - exact).abs() < 1e-13 * exact, "{} for {exact}", found[0]); // f64 sums of 75 009 terms
        let factor = max_norm.map_or(1.0, |max| (max / exact).min(1.0));
        assert!((found[1] - factor).abs() < 1e-13, "{} for {factor}", found[1]);
    }
}

/// θ, m, v and the averages after a step by the kernel.
fn stepped(
    host: &mut Host,
    rule: AdamRule,
    [numbers, averages]: [&[Vec<f32>]; 2],
    norm: Option<Place>,
    is_skewed: bool,
) -> Vec<Vec<f32>> {
    let n = numbers[0].len();
    let mut put = |values: &Vec<f32>| if is_skewed { host.skewed(values) } else { host.floats(values) };
    let places: Vec<Place> = numbers.iter().map(&mut put).collect();
    let decays = [0.5, 0.99, 0.9999];
    let averages: Vec<(Place, f64)> = averages.iter().map(&mut put).zip(decays).collect();
    let places: [Place; 4] = places.try_into().unwrap();
    launches::adam_step(host, rule, n, places, norm, &averages).unwrap();
    let moved = places[..3].iter().chain(averages.iter().map(|(place, _)| place));
    moved.map(|place| host.read(*place, n)).collect()
}

fn numbers(n: usize) -> [Vec<Vec<f32>>; 2] {
    let draw = |i: u64| floats(&noise(50 + i, &[n]));
    let mut numbers: Vec<Vec<f32>> = (0..4).map(draw).collect();
    numbers[2].iter_mut().for_each(|v| *v *= *v); // a second moment is not negative
    [numbers, (4..7).map(draw).collect()]
}

#[test]
fn step_of_adam_agrees_with_its_formula() {
    if Host::find().is_none() {
        return;
    }
    for (n, is_skewed) in [(1, false), (4, false), (1030, false), (1030, true), (9001, false)] {
        for (root, max_norm, n_averages) in [(Some(0.3), Some(0.1), 3), (None, None, 1), (Some(0.9), None, 0)]
        {
            let [values, averages] = numbers(n);
            let averages = &averages[..n_averages];
            let mut host = Host::find().unwrap();
            let norm = max_norm.map(|max| measured(&mut host, &values[3..], Some(max)));
            let rule = AdamRule { root, ..RULE };
            let found = stepped(&mut host, rule, [&values, averages], norm, is_skewed);
            let length = values[3].iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            let scale = rule.gradient_scale * max_norm.map_or(1.0, |max| (max / length).min(1.0));
            for i in 0..n {
                let [theta, m, v, g] = std::array::from_fn(|k| f64::from(values[k][i]));
                let m = rule.beta1 * m + (1.0 - rule.beta1) * scale * g;
                let v = rule.beta2 * v + (1.0 - rule.beta2) * (scale * g).powi(2);
                let divisor = root.map_or(1.0, |root| v.sqrt() / root + rule.eps);
                let theta = rule.keep * theta - rule.rate * m / divisor;
                let mut expected = vec![theta, m, v];
                let followed = averages.iter().zip([0.5, 0.99, 0.9999]);
                expected.extend(followed.map(|(a, d)| d * f64::from(a[i]) + (1.0 - d) * theta));
                for (k, expected) in expected.into_iter().enumerate() {
                    let error = (f64::from(found[k][i]) - expected).abs() / expected.abs().max(1.0);
                    assert!(error < TOLERANCE, "number {i} of {n}, {k}: off by {error:e}");
                }
            }
        }
    }
}

#[test]
fn norm_that_is_not_finite_stops_the_step() {
    if Host::find().is_none() {
        return;
    }
    for bad in [f32::NAN, f32::INFINITY] {
        let [mut values, averages] = numbers(77);
        values[3][40] = bad;
        let mut host = Host::find().unwrap();
        let norm = measured(&mut host, &values[3..], Some(1.0));
        assert!(!host.read_doubles(norm, 1)[0].is_finite());
        let found = stepped(&mut host, RULE, [&values, &averages], Some(norm), false);
        assert_eq!(found, [&values[..3], &averages[..]].concat());
    }
}
