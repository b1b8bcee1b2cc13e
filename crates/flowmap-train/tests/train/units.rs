//! The unit of the data is no part of a training, whatever the optimizer and the coupling.

use std::collections::BTreeMap;
use std::fs;

use candle_core::Device;
use flowmap_train::{
    Config, ConfigSource, Generation, Metric, Model, Observer, Reference, RunDir, StepReport, Trainer,
    evaluate, resolve, train,
};

const OPTIMIZERS: [&str; 3] = ["adamw", "radam", "muon"];
const COUPLINGS: [&str; 2] = ["optimal_transport", "sinkhorn"];
/// How far the quality of a model may be from that of the same training in another unit, in which every rounding is
/// another: the claim of the issue.
const SAME_QUALITY: f64 = 0.02;

/// A small run on two Gaussians whose unit is `scale`.
fn config(scale: f64, sets: &[&str]) -> Config {
    let means = format!("data.means=[[{:e},0.0],[{:e},{:e}]]", scale, -scale, 0.5 * scale);
    let stds = format!("data.stds=[{:e}]", 0.25 * scale);
    let mut all =
        vec!["data.kind=gaussian_mixture", &means, &stds, "network.width=32", "network.x_features=0"];
    all.extend(["train.batch=64", "train.lr=4e-3", "schedule.warmup=5", "coupling.kind=independent"]);
    all.extend(sets);
    let mut sources = vec![ConfigSource::preset("checkerboard").unwrap()];
    sources.extend(all.into_iter().map(|set| ConfigSource::set(set).unwrap()));
    resolve(&sources).unwrap()
}

/// Every optimizer, and every coupling.
fn cases() -> impl Iterator<Item = [String; 2]> {
    let with =
        |optimizer, coupling| [format!("optimizer.kind={optimizer}"), format!("coupling.kind={coupling}")];
    let optimizers = OPTIMIZERS.into_iter().map(move |optimizer| with(optimizer, "independent"));
    optimizers.chain(COUPLINGS.into_iter().map(move |coupling| with("adamw", coupling)))
}

/// The bits of all parameters after some steps, and of the loss and the norm of the gradient in each.
#[derive(PartialEq)]
struct Bits {
    parameters: BTreeMap<String, Vec<u32>>,
    steps: Vec<[u64; 2]>,
}

fn bits(config: Config) -> Bits {
    let mut trainer = Trainer::new(config, &Device::Cpu).unwrap();
    let step = |trainer: &mut Trainer| {
        let report = trainer.step().unwrap();
        [report.loss.to_bits(), report.grad_norm.to_bits()]
    };
    let steps = (0..8).map(|_| step(&mut trainer)).collect();
    let numbers = |t: &candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let bits = |t| numbers(t).into_iter().map(f32::to_bits).collect();
    let parameters = trainer.params().tensors().iter().map(|(name, t)| (name.clone(), bits(t))).collect();
    Bits { parameters, steps }
}

#[test]
fn training_in_units_of_a_power_of_two_has_the_same_bits() {
    for case in cases() {
        let sets: Vec<&str> = case.iter().map(String::as_str).chain(["train.steps=8"]).collect();
        let expected = bits(config(1.0, &sets));
        for power in [-60, -20, 3, 19] {
            assert!(bits(config(f64::from(power).exp2(), &sets)) == expected, "{sets:?} at 2^{power}");
        }
    }
}

struct Silent;

impl Observer for Silent {
    fn step(&mut self, _: &StepReport, _: u64) {}
    fn stage(&mut self, _: &str) {}
}

/// Sliced W2 over the unit, of one jump and of four.
fn quality(scale: f64, sets: &[&str]) -> Vec<f64> {
    let dir = tempfile::tempdir().unwrap();
    let config = config(scale, sets);
    let mut trainer = Trainer::new(config.clone(), &Device::Cpu).unwrap();
    let model: Model = train(&RunDir::new(dir.path()), &mut trainer, &mut Silent).unwrap();
    let reference = Reference::for_model(&config.data, &model.config).unwrap();
    let how = Generation::new(2000, 3);
    let metrics = [Metric::SlicedW2];
    let device = Device::Cpu;
    let found = evaluate(&model, &reference, &metrics, &[1, 4], &how, &device, &mut |_| ()).unwrap();
    found.rows.iter().map(|row| row.metrics[&Metric::SlicedW2].value / scale).collect()
}

#[test]
fn data_of_any_scale_train_to_the_same_quality() {
    for case in cases() {
        let sets: Vec<&str> = case.iter().map(String::as_str).chain(["train.steps=100"]).collect();
        let expected = quality(1.0, &sets);
        for scale in [1e-6, 1e6] {
            for (found, expected) in quality(scale, &sets).into_iter().zip(&expected) {
                let off = (found / expected - 1.0).abs();
                assert!(off < SAME_QUALITY, "{sets:?} at {scale}: {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn data_of_the_size_of_a_galaxy_train_and_those_beyond_single_precision_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("points.csv");
    let trainer = |scale: f64| {
        let rows: String = (0..50).map(|i| format!("{:e},{:e}\n", scale * f64::from(i), scale)).collect();
        fs::write(&file, rows).unwrap();
        let data = format!("data={{ kind = \"points\", path = \"{}\" }}", file.display());
        let config = config(1.0, &[&data, "train.steps=3"]);
        Trainer::new(config, &Device::Cpu)
    };
    for scale in [1e-20, 1e20] {
        let mut trainer = trainer(scale).unwrap();
        assert!((0..3).all(|_| trainer.step().unwrap().is_finite()), "{scale}");
    }
    for scale in [1e-33, 1e34] {
        let error = trainer(scale).unwrap_err().to_string();
        for word in ["points.csv", "standard deviation from 1e-30 to 1e30"] {
            assert!(error.contains(word), "expected `{word}` in: {error}");
        }
    }
    let error = Trainer::new(config(1.0, &["sigma_data=1e31"]), &Device::Cpu).unwrap_err().to_string();
    for word in ["`sigma_data`", "from 1e-30 to 1e30", "single precision"] {
        assert!(error.contains(word), "expected `{word}` in: {error}");
    }
}
