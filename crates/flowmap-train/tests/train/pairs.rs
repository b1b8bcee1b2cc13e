//! Training on pairs of noise and data from a file.

use std::fs;
use std::path::Path;

use candle_core::Device;
use flowmap_core::{NoiseStream, Stream};
use flowmap_data::{NpyArray, NpyData, npz_bytes};
use flowmap_train::{Config, ConfigSource, Result, Trainer, resolve};

const N: usize = 300;
/// Where every point of noise goes.
const SHIFT: [f32; 2] = [1.0, -2.0];

/// Normal noise.
fn noise() -> Vec<f32> {
    let mut values = vec![0.0; 2 * N];
    NoiseStream::new(9, Stream::Base).at(0).fill_normal_f32(&mut values);
    values
}

/// Writes points and the noise that each of them is shifted from.
fn write_pairs(path: &Path, [samples, noise_name]: [&str; 2], n_noise: usize) {
    let x0 = noise();
    let x1: Vec<f32> = x0.iter().zip(SHIFT.iter().cycle()).map(|(x, shift)| x + shift).collect();
    let array = |name, values, shape| NpyArray { name, shape, data: NpyData::F32(values) };
    let shape = [n_noise, 2];
    let arrays = [array(samples, &x1, &[N, 2]), array(noise_name, &x0[..2 * n_noise], &shape)];
    fs::write(path, npz_bytes(&arrays).unwrap()).unwrap();
}

fn config(path: &Path, more: &[&str]) -> Result<Config> {
    let path = format!("data.path={}", path.display());
    let sets = [
        "data.kind=points",
        path.as_str(),
        "coupling.kind=paired",
        "objective=[{ kind = 'flow_matching' }]",
        "train.batch=64",
        "train.lr=1e-2",
        "network.width=16",
        "network.x_features=0",
        "schedule.warmup=0",
    ];
    let mut sources = vec![ConfigSource::preset("checkerboard").unwrap()];
    sources.extend(sets.iter().chain(more).map(|set| ConfigSource::set(set).unwrap()));
    resolve(&sources)
}

fn trainer(path: &Path, more: &[&str]) -> Result<Trainer> {
    Trainer::new(config(path, more)?, &Device::Cpu)
}

/// The mean loss of the last of 300 steps.
fn trained_loss(path: &Path, more: &[&str]) -> f64 {
    let mut trainer = trainer(path, more).unwrap();
    let losses: Vec<f64> = (0..300).map(|_| trainer.step().unwrap().loss).collect();
    losses[250..].iter().sum::<f64>() / 50.0
}

#[test]
fn noise_of_a_row_is_the_noise_it_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pairs.npz");
    write_pairs(&path, ["samples", "noise"], N);
    // All paths are straight and parallel, so the velocity is one constant, which is soon learned.
    let paired = trained_loss(&path, &[]);
    assert!(paired < 0.05, "{paired}");
    // With noise that is drawn, the loss keeps the variance of x1 - x0 given the point.
    let drawn = trained_loss(&path, &["coupling.kind=independent"]);
    assert!(drawn > 1.0, "{drawn}");
}

#[test]
fn pairs_are_found_by_either_name_or_by_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pairs.npz");
    write_pairs(&path, ["x1", "x0"], N);
    let by_name = trainer(&path, &[]).unwrap().step().unwrap().loss;
    write_pairs(&path, ["ends", "starts"], N);
    let keys = ["data.array=ends", "data.noise=starts"];
    assert_eq!(trainer(&path, &keys).unwrap().step().unwrap().loss.to_bits(), by_name.to_bits());
    let message = trainer(&path, &["data.array=ends"]).unwrap_err().to_string();
    assert!(message.contains("expected an array `noise` or the key `noise`"), "{message}");
}

#[test]
fn standard_deviation_of_the_model_is_that_of_the_noise() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pairs.npz");
    write_pairs(&path, ["samples", "noise"], N);
    let mean_square = noise().iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / (2 * N) as f64;
    let model = trainer(&path, &[]).unwrap().checkpoint().unwrap().config;
    assert!((model.sigma_data - mean_square.sqrt()).abs() < 1e-12);
}

#[test]
fn run_on_pairs_goes_on_with_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pairs.npz");
    write_pairs(&path, ["samples", "noise"], N);
    let mut unbroken = trainer(&path, &[]).unwrap();
    // Past the first epoch of 300 samples, whose order is another.
    for _ in 0..6 {
        unbroken.step().unwrap();
    }
    let checkpoint = unbroken.checkpoint().unwrap();
    let mut resumed = Trainer::resume(config(&path, &[]).unwrap(), checkpoint, &Device::Cpu).unwrap();
    for _ in 6..10 {
        let (one, other) = (unbroken.step().unwrap(), resumed.step().unwrap());
        assert_eq!((one.step, one.loss.to_bits()), (other.step, other.loss.to_bits()));
    }
}

#[test]
fn data_without_noise_for_every_sample_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pairs.npz");
    let refusal = |path: &Path| trainer(path, &[]).unwrap_err().to_string();
    write_pairs(&path, ["samples", "noise"], N - 1);
    let message = refusal(&path);
    let words = "pairs.npz, array `noise`: expected 300 rows of shape [2], as many as samples, found 299 of shape [2]";
    assert!(message.ends_with(words), "{message}");
    write_pairs(&path, ["samples", "weights"], N);
    let message = refusal(&path);
    assert!(
        message
            .contains("pairs.npz: expected an array `noise` or the key `noise`, found `samples`, `weights`"),
        "{message}"
    );
    let table = dir.path().join("points.csv");
    fs::write(&table, "1,2\n3,4\n").unwrap();
    let message = refusal(&table);
    assert!(message.contains("points.csv: expected an NPZ file with the noise of each sample"), "{message}");
}
