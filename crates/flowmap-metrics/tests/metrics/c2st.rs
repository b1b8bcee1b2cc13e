//! Classifier two-sample tests score what scikit-learn's do on the same sets; `golden/make_c2st.py` made those.

use flowmap_core::normal;
use flowmap_metrics::{Error, Samples, c2st};
use serde_json::Value;

/// Theirs is the mean of five seeds and ours of two; single scores scatter by about 0.008.
const TOLERANCE: f64 = 0.02;

/// SplitMix64, the upper 52 bits as the middle of a cell of (0, 1), made normal.
fn normals(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        normal::quantile((((z ^ (z >> 31)) >> 12) as f64 + 0.5) * 2f64.powi(-52))
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// The two sets of a case.
fn sets(law: &str, n: usize, dim: usize) -> [Vec<f32>; 2] {
    let seed =
        ["equal", "shifted", "correlated", "ring"].iter().position(|known| *known == law).unwrap() as u64;
    let (x, mut y) = (normals(2 * seed + 1, n * dim), normals(2 * seed + 2, n * dim));
    for row in y.chunks_exact_mut(dim) {
        match law {
            "shifted" => row.iter_mut().for_each(|y| *y += 0.4),
            "correlated" => row[1] = 0.8 * row[0] + 0.6 * row[1],
            "ring" => {
                let scale = 2f64.sqrt() / row[0].hypot(row[1]);
                row.iter_mut().for_each(|y| *y *= scale);
            }
            _ => (),
        }
    }
    [x, y].map(|set| set.into_iter().map(|x| x as f32).collect())
}

#[test]
fn scores_are_those_of_scikit_learn() {
    let golden: Value = serde_json::from_str(include_str!("../golden/c2st.json")).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let size = |key: &str| case[key].as_u64().unwrap() as usize;
        let (law, dim) = (case["law"].as_str().unwrap(), size("dim"));
        let [x, y] = sets(law, size("n"), dim);
        let (x, y) = (Samples::new(&x, dim).unwrap(), Samples::new(&y, dim).unwrap());
        let mean = |scores: Vec<f64>| scores.iter().sum::<f64>() / scores.len() as f64;
        let ours = mean((1..=2).map(|seed| c2st(x, y, seed).unwrap().accuracy).collect());
        let theirs = case["scores"].as_array().unwrap().iter().map(|score| score.as_f64().unwrap());
        let theirs = mean(theirs.collect());
        assert!((ours - theirs).abs() < TOLERANCE, "{law}: {ours:.4}, scikit-learn {theirs:.4}");
    }
}

#[test]
fn score_depends_on_the_seed_and_not_on_the_number_of_threads() {
    let [x, y] = sets("shifted", 300, 2);
    let score = |seed| c2st(Samples::new(&x, 2).unwrap(), Samples::new(&y, 2).unwrap(), seed).unwrap();
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    let (one, two) = (pool(1).install(|| score(1)), pool(2).install(|| score(1)));
    assert_eq!(one, two);
    assert_ne!(one.folds, score(2).folds);
    assert!(one.to_string().contains("[c2st-sbibm: perceptron, 5 folds, n = 300, m = 300]"));
}

#[test]
fn scale_of_the_data_does_not_matter_and_constant_columns_do_no_harm() {
    let [x, y] = sets("shifted", 300, 2);
    let moved =
        |set: &[f32]| set.chunks_exact(2).flat_map(|row| [row[0], 1e6 * row[1], 7.0]).collect::<Vec<_>>();
    let score = |x: &[f32], y: &[f32], dim| {
        c2st(Samples::new(x, dim).unwrap(), Samples::new(y, dim).unwrap(), 1).unwrap().accuracy
    };
    let (plain, moved) = (score(&x, &y, 2), score(&moved(&x), &moved(&y), 3));
    assert!((plain - moved).abs() < 0.05, "{plain}, {moved}");
}

#[test]
fn sets_that_do_not_fit_are_refused() {
    let (four, five) = (Samples::new(&[0.0; 4], 1).unwrap(), Samples::new(&[0.0; 5], 1).unwrap());
    assert_eq!(c2st(five, four, 1).err(), Some(Error::TooFewSamples { n: 4, needed: 5 }));
    let pairs = Samples::new(&[0.0; 10], 2).unwrap();
    assert_eq!(c2st(five, pairs, 1).err(), Some(Error::DimMismatch { left: 1, right: 2 }));
}
