//! Runs that stop being finite: what they say, and what they leave.

use std::fs;
use std::path::Path;

use candle_core::Device;
use flowmap_nn::loss::Bin;
use flowmap_train::{
    Checkpoint, Config, ConfigSource, Error, Fault, Observer, RunDir, StepReport, Trainer, read_log, resolve,
    train,
};

/// Remembers which steps were good.
#[derive(Default)]
struct Witness {
    is_finite: Vec<bool>,
}

impl Observer for Witness {
    fn step(&mut self, report: &StepReport, _n_steps: u64) {
        self.is_finite.push(report.is_finite());
    }

    fn stage(&mut self, _name: &str) {}
}

/// A run of a small network, with `more` settings.
fn config(more: &[&str]) -> Config {
    let tiny = ["train.steps=40", "train.batch=32", "network.width=8", "network.x_features=0"];
    let rest = ["schedule.warmup=0", "train.max_bad_steps=4", "train.log_every=5"];
    let mut sources = vec![ConfigSource::preset("checkerboard").unwrap()];
    sources.extend(tiny.iter().chain(&rest).chain(more).map(|set| ConfigSource::set(set).unwrap()));
    resolve(&sources).unwrap()
}

/// What is left of a run that diverged.
struct Ruin {
    step: u64,
    fault: Fault,
    n_bad: u32,
    message: String,
    is_finite: Vec<bool>,
    checkpoint: Checkpoint,
}

/// Trains in `dir` until it diverges.
fn diverge(dir: &Path, config: &Config) -> Ruin {
    let run = RunDir::new(dir);
    let mut witness = Witness::default();
    let mut trainer = Trainer::new(config.clone(), &Device::Cpu).unwrap();
    let error = train(&run, &mut trainer, &mut witness).unwrap_err();
    let message = error.to_string();
    let Error::Diverged { step, fault, n_bad, kept } = error else { panic!("{message}") };
    assert_eq!(run.latest_checkpoint().unwrap(), Some(kept.clone()));
    // Reading refuses what is not finite.
    let checkpoint = Checkpoint::read(&kept).unwrap();
    Ruin { step, fault, n_bad, message, is_finite: witness.is_finite, checkpoint }
}

/// Checks that the checkpoint trains on at a learning rate that is not too large.
fn assert_goes_on(checkpoint: Checkpoint, more: &[&str]) {
    let more: Vec<&str> = more.iter().copied().chain(["train.lr=1e-4"]).collect();
    let mut trainer = Trainer::resume(config(&more), checkpoint, &Device::Cpu).unwrap();
    for _ in 0..5 {
        let report = trainer.step().unwrap();
        assert!(report.is_finite(), "{:?}", report.fault);
    }
}

#[test]
fn run_with_a_huge_learning_rate_ends_with_a_state_that_trains_on() {
    let dir = tempfile::tempdir().unwrap();
    let ruin = diverge(dir.path(), &config(&["train.lr=1e30"]));
    let first_bad = ruin.is_finite.iter().position(|good| !good).unwrap() as u64 + 1;
    assert_eq!((ruin.step, ruin.n_bad), (first_bad, 4));
    assert!(matches!(ruin.fault, Fault::Loss { term: 0, .. }), "{:?}", ruin.fault);
    for words in
        ["diverged at step 2", "`flow_matching` (objective.0)", "s = t in [0", "4 steps", "step-0000000"]
    {
        assert!(ruin.message.contains(words), "{words}: {}", ruin.message);
    }
    // The state after the first step is finite, but no step from it is.
    assert_eq!(ruin.checkpoint.state.step, 0);
    assert_goes_on(ruin.checkpoint, &[]);
}

#[test]
fn bad_steps_are_logged_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    diverge(dir.path(), &config(&["train.lr=1e30"]));
    let log = read_log(&RunDir::new(dir.path()).metrics()).unwrap();
    let steps: Vec<u64> = log.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    let bad: Vec<u64> = log.iter().map(|line| line["bad_steps"].as_u64().unwrap()).collect();
    assert_eq!((steps, bad), (vec![2, 3, 4, 5], vec![1, 2, 3, 4]));
    assert!(log.iter().all(|line| line["loss"].is_null()));
}

#[test]
fn parameters_that_are_not_finite_end_the_run_at_once() {
    let dir = tempfile::tempdir().unwrap();
    // More than an f32 holds.
    let ruin = diverge(dir.path(), &config(&["train.lr=1e39"]));
    assert_eq!((ruin.step, ruin.n_bad, ruin.is_finite), (2, 1, vec![true, false]));
    let Fault::State { tensor } = &ruin.fault else { panic!("{:?}", ruin.fault) };
    assert_eq!(tensor, "layers.0.bias");
    assert!(ruin.message.contains("`layers.0.bias` holds a number that is not finite"), "{}", ruin.message);
    assert_goes_on(ruin.checkpoint, &[]);
}

#[test]
fn last_step_that_ruins_the_parameters_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let ruin = diverge(dir.path(), &config(&["train.lr=1e39", "train.steps=1"]));
    assert_eq!((ruin.step, ruin.n_bad, ruin.is_finite), (1, 0, vec![true]));
    assert!(matches!(ruin.fault, Fault::State { .. }));
    let dir = tempfile::tempdir().unwrap();
    let ruin = diverge(dir.path(), &config(&["train.lr=1e30", "train.steps=3"]));
    assert_eq!((ruin.step, ruin.n_bad, ruin.checkpoint.state.step), (2, 2, 0));
}

#[test]
fn data_whose_loss_overflows_are_named_by_their_times() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("far.csv");
    let rows: String = (0..50).map(|i| format!("{i}e28,-{i}e28\n")).collect();
    fs::write(&path, rows).unwrap();
    let path = format!("data.path={}", path.display());
    // Losses are in units of `sigma_data`: it is that of the data, unless somebody says otherwise.
    let ruin = diverge(dir.path(), &config(&["data.kind=points", &path, "sigma_data=1e-5"]));
    assert_eq!((ruin.step, ruin.n_bad, ruin.checkpoint.state.step), (1, 4, 0));
    let Fault::Loss { name, bin: Bin::Diagonal { .. }, .. } = &ruin.fault else { panic!("{:?}", ruin.fault) };
    assert_eq!(name, "flow_matching");
}

#[test]
fn checkpoints_after_the_last_good_state_go_and_that_state_stays() {
    let dir = tempfile::tempdir().unwrap();
    let every_step = ["train.lr=1e30", "train.checkpoint_every=1", "train.keep_checkpoints=1"];
    let ruin = diverge(dir.path(), &config(&every_step));
    assert_eq!(ruin.checkpoint.state.step, 0);
    let mut names: Vec<String> = fs::read_dir(dir.path().join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["latest", "step-0000000"]);
}

#[test]
fn good_state_that_is_on_disk_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path());
    let mut trainer = Trainer::new(config(&["train.steps=13"]), &Device::Cpu).unwrap();
    train(&run, &mut trainer, &mut Witness::default()).unwrap();
    // Goes on at 13 and is bad from step 14 on: 13 is on disk.
    let checkpoint = Checkpoint::read(&run.latest_checkpoint().unwrap().unwrap()).unwrap();
    let before = fs::read(run.checkpoint(13).join("model.safetensors")).unwrap();
    let mut resumed = Trainer::resume(config(&["train.lr=1e30"]), checkpoint, &Device::Cpu).unwrap();
    let error = train(&run, &mut resumed, &mut Witness::default()).unwrap_err();
    let Error::Diverged { kept, .. } = error else { panic!("{error}") };
    assert_eq!(kept, run.checkpoint(13));
    assert_eq!(fs::read(kept.join("model.safetensors")).unwrap(), before);
}

#[test]
fn checkpoint_with_a_number_that_is_not_finite_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path());
    let trainer = Trainer::new(config(&[]), &Device::Cpu).unwrap();
    let mut checkpoint = trainer.checkpoint().unwrap();
    let bias = checkpoint.optimizer["second.layers.0.bias"].ones_like().unwrap();
    checkpoint.optimizer.insert("second.layers.0.bias".into(), (bias / 0.0).unwrap());
    let error = run.write_checkpoint(&checkpoint, 2).unwrap_err().to_string();
    assert!(error.contains("`second.layers.0.bias` holds a value that is not finite"), "{error}");
    assert!(!dir.path().join("checkpoints").exists());
}
