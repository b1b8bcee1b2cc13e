//! Resumed runs: what they may change, what they refuse, and where in the data they go on.

use std::fs;
use std::path::Path;

use candle_core::Device;
use flowmap_core::{NoiseStream, Stream};
use flowmap_data::{DataSet, batch};
use flowmap_train::{Checkpoint, Config, ConfigSource, Error, StepReport, Trainer, resolve};

const SEED: u64 = 42;

/// A tiny run of a preset with `sets`.
fn config(preset: &str, sets: &[&str]) -> Config {
    let tiny = ["train.steps=20", "train.batch=16", "network.width=8", "schedule.warmup=2"];
    let mut sources = vec![ConfigSource::preset(preset).unwrap()];
    sources.extend(tiny.iter().chain(sets).map(|set| ConfigSource::set(set).unwrap()));
    resolve(&sources).unwrap()
}

/// The checkpoint after `n` steps, as it comes back from disk.
fn checkpoint(config: Config, n: usize) -> Checkpoint {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::new(config, &Device::Cpu).unwrap();
    (0..n).for_each(|_| drop(trainer.step().unwrap()));
    let path = dir.path().join("step");
    trainer.checkpoint().unwrap().write(&path).unwrap();
    Checkpoint::read(&path).unwrap()
}

fn resumed(config: Config, checkpoint: &Checkpoint) -> Result<Trainer, Error> {
    Trainer::resume(config, checkpoint.clone(), &Device::Cpu)
}

#[track_caller]
fn refused(config: Config, checkpoint: &Checkpoint, words: &[&str]) {
    let message = match resumed(config, checkpoint) {
        Ok(_) => panic!("expected a refusal with {words:?}"),
        Err(error) => error.to_string(),
    };
    for word in words.iter().chain(&["checkpoint", "begin a new run"]) {
        assert!(message.contains(word), "expected `{word}` in: {message}");
    }
}

/// Points of a grid, `scale` times (k, ±1) and so on, as a table.
fn points(path: &Path, n: usize, scale: f64, labels: impl Fn(usize) -> usize) {
    let row = |i: usize| {
        let (x, y) = ((i % 7) as f64 - 3.0, ((i * i) % 5) as f64 - 2.0);
        format!("{},{},{}\n", scale * x, scale * y, labels(i))
    };
    fs::write(path, format!("x,y,label\n{}", (0..n).map(row).collect::<String>())).unwrap();
}

#[test]
fn another_batch_goes_on_at_the_next_sample_of_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("points.csv");
    points(&path, 300, 1.0, |_| 0);
    let path = format!("data.path={}", path.display());
    let sets = ["data.kind=points", &path, "data.columns=[\"x\",\"y\"]", "coupling.kind=independent"];
    let with_batch = |batch: &str| config("checkerboard", &[&sets[..], &[batch]].concat());
    let begun = checkpoint(with_batch("train.batch=64"), 3);
    assert_eq!(begun.state.samples, Some(192));
    for (size, expected) in [(16, 208), (64, 256), (7, 199), (100, 292)] {
        let mut trainer = resumed(with_batch(&format!("train.batch={size}")), &begun).unwrap();
        let report: StepReport = trainer.step().unwrap();
        assert_eq!((report.step, report.samples), (4, expected), "a batch of {size}");
        assert_eq!(trainer.checkpoint().unwrap().state.samples, Some(expected));
    }
    // No row twice before the epoch ends: 3 batches of 64, then 6 of 16 and one of 12.
    let data = with_batch("train.batch=64").data.build(None).unwrap();
    let stream = NoiseStream::new(SEED, Stream::Data);
    let mut rows: Vec<Vec<u32>> = Vec::new();
    let mut first = 0;
    for size in [64, 64, 64, 16, 16, 16, 16, 16, 16, 12] {
        let drawn = batch(&*data as &dyn DataSet, &stream, first, size);
        rows.extend(drawn.x.chunks(2).map(|row| row.iter().map(|x| x.to_bits()).collect()));
        first += size as u64;
    }
    let whole = batch(&*data, &stream, 0, 300);
    let whole: Vec<Vec<u32>> =
        whole.x.chunks(2).map(|row| row.iter().map(|x| x.to_bits()).collect()).collect();
    assert_eq!(rows, whole);
}

#[test]
fn run_that_goes_on_with_its_own_batch_has_the_bits_of_an_unbroken_one() {
    let run = || config("checkerboard", &[]);
    let begun = checkpoint(run(), 5);
    let mut unbroken = Trainer::new(run(), &Device::Cpu).unwrap();
    (0..5).for_each(|_| drop(unbroken.step().unwrap()));
    let mut resumed = resumed(run(), &begun).unwrap();
    for _ in 5..8 {
        let (one, other) = (unbroken.step().unwrap(), resumed.step().unwrap());
        assert_eq!((one.samples, one.loss.to_bits()), (other.samples, other.loss.to_bits()));
    }
}

#[test]
fn checkpoints_of_older_versions_go_on_and_are_checked_by_what_they_have() {
    let mut old = checkpoint(config("checkerboard", &[]), 4);
    (old.run, old.state.samples, old.state.data, old.state.teacher) = (None, None, None, None);
    let report = resumed(config("checkerboard", &["train.lr=1e-4"]), &old).unwrap().step().unwrap();
    assert_eq!((report.step, report.samples), (5, 80));
    refused(config("checkerboard", &["interpolant=trigonometric"]), &old, &["key `interpolant`"]);
    refused(config("checkerboard", &["network.width=16"]), &old, &["key `network.width`", "8", "16"]);
    refused(config("checkerboard", &["data.kind=moons"]), &old, &["key `data.kind`"]);
    refused(config("checkerboard", &["sigma_data=2.0"]), &old, &["key `sigma_data`", "0.577", "found 2"]);
}

#[test]
fn data_file_that_changed_is_refused_with_what_was_and_what_came() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("points.csv");
    let set = format!("data.path={}", path.display());
    let with = |sets: &[&str]| {
        let labels = ["data.kind=points", &set, "data.labels=label", "conditional=true"];
        config("checkerboard", &[&labels[..], sets].concat())
    };
    let two = |i: usize| i % 2;
    points(&path, 200, 1.0, two);
    let begun = checkpoint(with(&[]), 2);
    assert!(resumed(with(&[]), &begun).is_ok());
    points(&path, 200, 1e4, two);
    refused(with(&[]), &begun, &["key `sigma_data`", "expected 1.84249", "found 18424.9"]);
    // The unit of the first file does not make the second one of it.
    let sigma = format!("sigma_data={}", begun.config.sigma_data);
    refused(with(&[&sigma]), &begun, &["key `data`", "deviation 1.84249", "deviation 18424.9"]);
    points(&path, 210, 1.0, two);
    refused(with(&[&sigma]), &begun, &["key `data`", "200 samples", "210 samples"]);
    points(&path, 200, 1.0, |i| i % 3);
    refused(with(&[]), &begun, &["key `data`", "2 classes", "3 classes"]);
    points(&path, 200, 1.0, |i| (i + 1) % 2);
    refused(with(&[]), &begun, &["key `data`", "200 samples of standard deviation", "and sketch"]);
    // One of 200 rows is another.
    points(&path, 200, 1.0, two);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\n2,", "\n-3,", 1)).unwrap();
    refused(with(&[&sigma]), &begun, &["key `data`"]);
    // The same rows elsewhere are the same data.
    let moved = dir.path().join("moved.csv");
    points(&moved, 200, 1.0, two);
    assert!(resumed(with(&[&format!("data.path={}", moved.display())]), &begun).is_ok());
}

#[test]
fn averages_steps_and_sigma_are_compared_with_those_of_the_checkpoint() {
    let begun = checkpoint(config("checkerboard", &["train.ema=[0.9,0.99]"]), 6);
    for decays in ["[0.9,0.99]", "[0.99]", "[]"] {
        let trainer = resumed(config("checkerboard", &[&format!("train.ema={decays}")]), &begun).unwrap();
        let kept: Vec<f64> = trainer.checkpoint().unwrap().emas.iter().map(|(decay, _)| *decay).collect();
        assert_eq!(format!("{kept:?}").replace(' ', ""), decays.replace(' ', ""));
    }
    let other = config("checkerboard", &["train.ema=[0.9,0.5]"]);
    refused(other, &begun, &["key `train.ema`", "[0.99, 0.9]", "found 0.5"]);
    let fewer = config("checkerboard", &["train.ema=[0.9]", "train.steps=5"]);
    refused(fewer, &begun, &["key `train.steps`", "at least 6", "found 5"]);
    let at_the_end = config("checkerboard", &["train.ema=[0.9]", "train.steps=6"]);
    assert!(resumed(at_the_end, &begun).is_ok());
    let same = config("checkerboard", &["train.ema=[0.9]", "sigma_data=0.5773502691896258"]);
    assert!(resumed(same, &begun).is_ok());
}

#[test]
fn labels_that_were_hidden_before_count_after_a_resume() {
    let begun = checkpoint(config("digits", &[]), 2);
    let shown = config("digits", &["train.label_dropout=0.0"]);
    let trained = resumed(shown, &begun).unwrap().checkpoint().unwrap().config.trained.unwrap();
    assert!(trained.hidden_labels);
}
