//! Multistep consistency sampling on an exact flow map: its formula, its law, and what it refuses.

use candle_core::{DType, Device, Tensor};
use flowmap_core::exact::ExactFlow;
use flowmap_core::{Linear, NoiseStream, Stream, TimeGrid};
use flowmap_sample::{Error, FlowMapJump, Session, base_noise, multistep_consistency, n_fresh};

use crate::support::exact_gaussian::{DIM, ExactGaussian, MEAN, SD, SIGMA0, normals, reference};

/// Rounding of a few operations in f64.
const EXACT: f64 = 1e-12;
/// Samples for the law of the end, and four standard errors of their mean and of their variance over it.
const N_SAMPLES: usize = 20_000;
const STANDARD_ERRORS: f64 = 4.0;

fn run(grid: &str, x0: &Tensor, fresh: &[Tensor]) -> Result<Vec<Tensor>, Error> {
    let session = Session::new(&FlowMapJump, &ExactGaussian);
    multistep_consistency(&session, &Linear, x0, None, &grid.parse().unwrap(), fresh)
}

/// `n` tensors of noise like that of the base.
fn noise(n: usize, rows: usize) -> Vec<Tensor> {
    let stream = NoiseStream::new(6, Stream::Base);
    let draw = |k| base_noise(&stream, (k * rows) as u64, rows, &[DIM], SIGMA0, DType::F64, &Device::Cpu);
    (0..n).map(|k| draw(k).unwrap()).collect()
}

#[test]
fn every_step_is_a_jump_to_the_data_and_noise_as_the_interpolant_has_it() {
    let (x0, z) = (normals(Stream::Base, 3), normals(Stream::Evaluation, 3));
    let path = run("0, 0.25, 1", &x0, std::slice::from_ref(&z)).unwrap();
    let rows = |x: &Tensor| x.to_vec2::<f64>().unwrap();
    assert_eq!(path.len(), 3);
    for (((x0, z), middle), end) in rows(&x0).iter().zip(rows(&z)).zip(rows(&path[1])).zip(rows(&path[2])) {
        let x_hat = reference().flow_map(0.0, 1.0, x0).unwrap();
        let noised: Vec<f64> = z.iter().zip(&x_hat).map(|(z, x)| 0.75 * z + 0.25 * x).collect();
        let expected = reference().flow_map(0.25, 1.0, &noised).unwrap();
        for (found, expected) in middle.iter().chain(&end).zip(noised.iter().chain(&expected)) {
            assert!((found - expected).abs() < EXACT, "{found} {expected}");
        }
    }
}

#[test]
fn exact_jumps_give_the_law_of_the_data_in_any_number_of_steps() {
    for grid in ["0,1", "0,0.5,1", "0,0.25,0.5,0.75,1"] {
        let noise = noise(1 + n_fresh(&grid.parse().unwrap()), N_SAMPLES);
        let path = run(grid, &noise[0], &noise[1..]).unwrap();
        let x = path[path.len() - 1].flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|x| (x - MEAN).powi(2)).sum::<f64>() / n;
        assert!((mean - MEAN).abs() < STANDARD_ERRORS * SD / n.sqrt(), "{grid}: mean {mean}");
        let error = variance / SD.powi(2) - 1.0;
        assert!(error.abs() < STANDARD_ERRORS * (2.0 / n).sqrt(), "{grid}: variance {variance}");
    }
}

#[test]
fn grid_that_ends_early_ends_with_noise() {
    let grid: TimeGrid = "0,0.5".parse().unwrap();
    assert_eq!(n_fresh(&grid), 1);
    assert_eq!(run("0,0.5", &noise(1, 4)[0], &noise(1, 4)).unwrap().len(), 2);
}

#[test]
fn falling_grids_and_missing_noise_are_refused() {
    let x0 = normals(Stream::Base, 2);
    let error = run("1,0.5,0", &x0, &[]).unwrap_err();
    assert!(matches!(error, Error::FallingGrid { s: 1.0, t: 0.5 }), "{error}");
    let error = run("0,0.5,1", &x0, &[]).unwrap_err();
    assert_eq!(error.to_string(), "expected 1 tensors of fresh noise, one for each inner time, found 0");
}
