//! Calibration passes for the exact posterior of a linear Gaussian and fails for one that is too narrow.
//!
//! θ ~ N(0, 0.1 I),  x ~ N(θ, 0.1 I),  θ | x ~ N(x/2, 0.05 I)

use flowmap_core::{NoiseStream, Stream};
use flowmap_metrics::{Ranks, Samples, Tarp, Uniformity, tarp};

const DIM: usize = 3;
const N_PAIRS: usize = 1000;
/// 105 ranks fill 21 bins evenly.
const N_DRAWS: usize = 104;
const N_BINS: usize = 21;
/// The level at which wrong posteriors must fail.
const LEVEL: f64 = 0.01;
/// The level of each of the nine tests that right posteriors must pass, one in a hundred in all.
const EACH: f64 = 0.001;

/// True parameters, and draws of N(`slope` x, `variance` I).
fn pairs(slope: f64, variance: f64, seed: u64) -> [Vec<f32>; 2] {
    let stream = NoiseStream::new(seed, Stream::Data);
    let (mut truth, mut draws) = (Vec::new(), Vec::new());
    for i in 0..N_PAIRS {
        let mut noise = stream.at(i as u64);
        let theta: Vec<f64> = (0..DIM).map(|_| 0.1f64.sqrt() * noise.normal()).collect();
        let x: Vec<f64> = theta.iter().map(|theta| theta + 0.1f64.sqrt() * noise.normal()).collect();
        truth.extend(theta.iter().map(|theta| *theta as f32));
        for _ in 0..N_DRAWS {
            draws.extend(x.iter().map(|x| (slope * x + variance.sqrt() * noise.normal()) as f32));
        }
    }
    [truth, draws]
}

/// Tests of posteriors whose deviation is `width` times the right one.
fn calibrate(width: f64, seed: u64) -> (Ranks, Vec<Uniformity>, Tarp) {
    let [truth, draws] = pairs(0.5, 0.05 * width * width, seed);
    let (truth, draws) = (Samples::new(&truth, DIM).unwrap(), Samples::new(&draws, DIM).unwrap());
    let ranks = Ranks::new(truth, draws).unwrap();
    let tests = (0..DIM).map(|k| ranks.uniformity(k, N_BINS).unwrap()).collect();
    (ranks, tests, tarp(truth, draws, seed).unwrap())
}

#[test]
fn exact_posteriors_are_calibrated() {
    for seed in 0..3 {
        let (ranks, tests, tarp) = calibrate(1.0, seed);
        assert!(tests.iter().all(|test| test.p_value > EACH), "{tests:?}");
        assert!(tarp.p_value > EACH, "{tarp}");
        for level in [0.5, 0.9] {
            // Four standard errors of a share of 1000 pairs.
            let bound = 4.0 * (level * (1.0 - level) / N_PAIRS as f64).sqrt();
            assert!((0..DIM).all(|k| (ranks.coverage(k, level) - level).abs() < bound + 0.01));
        }
        assert!((tarp.coverage(0.5) - 0.5).abs() < 0.064);
    }
}

#[test]
fn posteriors_that_are_a_fifth_too_narrow_are_found() {
    let (ranks, tests, _) = calibrate(0.8, 0);
    assert!(tests.iter().all(|test| test.p_value < LEVEL), "{tests:?}");
    assert!((0..DIM).all(|k| ranks.coverage(k, 0.9) < 0.87));
}

#[test]
fn posteriors_off_by_half_a_deviation_are_found() {
    let [truth, draws] = pairs(0.5, 0.05, 5);
    let shifted: Vec<f32> = draws.iter().map(|x| x + 0.1).collect();
    let (truth, shifted) = (Samples::new(&truth, DIM).unwrap(), Samples::new(&shifted, DIM).unwrap());
    assert!(Ranks::new(truth, shifted).unwrap().uniformity(0, N_BINS).unwrap().p_value < LEVEL);
    assert!(tarp(truth, shifted, 5).unwrap().p_value < LEVEL);
}

/// Calibration says nothing of how much a posterior learns from the data.
#[test]
fn prior_in_place_of_the_posterior_is_calibrated() {
    let [truth, draws] = pairs(0.0, 0.1, 5);
    let ranks = Ranks::new(Samples::new(&truth, DIM).unwrap(), Samples::new(&draws, DIM).unwrap()).unwrap();
    assert_eq!((ranks.n_draws(), ranks.dim()), (N_DRAWS, DIM));
    assert!((0..DIM).all(|k| ranks.uniformity(k, N_BINS).unwrap().p_value > EACH));
}

#[test]
fn results_name_their_protocols() {
    let (_, tests, tarp) = calibrate(1.0, 7);
    assert!(tests[0].to_string().contains("[sbc-chi2: "), "{}", tests[0]);
    assert!(tarp.to_string().contains("[tarp: "), "{tarp}");
    let [truth, draws] = pairs(0.5, 0.05, 7);
    let pair = (Samples::new(&truth, DIM).unwrap(), Samples::new(&draws[3..], DIM).unwrap());
    assert!(Ranks::new(pair.0, pair.1).is_err() && flowmap_metrics::tarp(pair.0, pair.1, 0).is_err());
}
