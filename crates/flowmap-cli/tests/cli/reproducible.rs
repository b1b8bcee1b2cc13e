//! One seed gives the same bits: in two runs, with any number of threads, and through an interruption.

use std::fs;
use std::path::{Path, PathBuf};

use crate::program::{TINY, checkpoint, copy_dir, flowmap, folder, tiny_run, train_tiny};

const TENSORS: [&str; 3] = ["model.safetensors", "ema-0.999.safetensors", "optimizer.safetensors"];

/// Checks that two checkpoints hold the same bits.
#[track_caller]
fn assert_same_bits(one: &Path, other: &Path) {
    for file in TENSORS {
        let (one, other) = (fs::read(one.join(file)).unwrap(), fs::read(other.join(file)).unwrap());
        assert!(one == other, "{file} differs");
    }
}

/// Trains with so many threads; batches of 1024 rows are large enough to be shared among them.
fn train_with_threads(dir: &Path, out: &str, n: &str) -> PathBuf {
    let mut command = flowmap(dir);
    command.env("RAYON_NUM_THREADS", n).args(["train", "--out", out]).args(TINY);
    command.args([
        "--set",
        "train.batch=1024",
        "--set",
        "network.width=128",
        "--set",
        "network.x_features=64",
    ]);
    command.args(["--steps", "5"]).assert().success();
    checkpoint(&dir.join(out))
}

#[test]
fn number_of_threads_changes_no_bit() {
    let dir = folder();
    let one = train_with_threads(dir.path(), "one", "1");
    for n in ["2", "3"] {
        assert_same_bits(&one, &train_with_threads(dir.path(), n, n));
    }
}

#[test]
fn run_repeats_from_its_own_config_bit_for_bit() {
    let dir = folder();
    let config = tiny_run().join("config.toml");
    flowmap(dir.path()).arg("train").arg(config).args(["--out", "again"]).assert().success();
    assert_same_bits(&checkpoint(tiny_run()), &checkpoint(&dir.path().join("again")));
}

#[test]
fn another_seed_gives_another_model() {
    let dir = folder();
    train_tiny(dir.path(), "other", &["--seed", "43"]);
    let file = |run: &Path| fs::read(checkpoint(run).join("model.safetensors")).unwrap();
    assert!(file(tiny_run()) != file(&dir.path().join("other")));
}

#[test]
fn resumed_run_ends_with_the_bits_of_an_unbroken_one() {
    let dir = folder();
    // Two checkpoints; the log goes on beyond the first, as where the machine goes down between them.
    train_tiny(dir.path(), "unbroken", &["--set", "train.checkpoint_every=10"]);
    let (unbroken, broken) = (dir.path().join("unbroken"), dir.path().join("broken"));
    copy_dir(&unbroken, &broken);
    fs::remove_dir_all(broken.join("checkpoints/step-0000020")).unwrap();
    fs::write(broken.join("checkpoints/latest"), "step-0000010").unwrap();
    let log = fs::read_to_string(unbroken.join("metrics.jsonl")).unwrap();
    fs::write(broken.join("metrics.jsonl"), &log[..log.len() - 30]).unwrap();
    flowmap(dir.path()).args(["train", "--resume", "--out", "broken"]).assert().success();
    assert_same_bits(&checkpoint(&unbroken), &checkpoint(&broken));
    assert_eq!(numbers_of(&unbroken), numbers_of(&broken));
}

#[test]
fn resumed_digits_end_with_the_bits_of_an_unbroken_run() {
    let dir = folder();
    let digits = ["--preset", "digits", "--set", "conditional=true", "--set", "optimizer.kind=radam"];
    train_tiny(dir.path(), "unbroken", &[&digits[..], &["--set", "train.checkpoint_every=7"]].concat());
    let (unbroken, broken) = (dir.path().join("unbroken"), dir.path().join("broken"));
    copy_dir(&unbroken, &broken);
    fs::write(broken.join("checkpoints/latest"), "step-0000014").unwrap();
    flowmap(dir.path()).args(["train", "--resume", "--out", "broken"]).assert().success();
    assert_same_bits(&checkpoint(&unbroken), &checkpoint(&broken));
    assert_eq!(numbers_of(&unbroken), numbers_of(&broken));
}

#[test]
fn resuming_a_finished_run_changes_no_bit() {
    let dir = folder();
    let run = crate::program::copied_run(dir.path());
    flowmap(dir.path()).args(["train", "--resume", "--out", "run"]).assert().success();
    assert_same_bits(&checkpoint(tiny_run()), &checkpoint(&run));
    assert_eq!(numbers_of(tiny_run()), numbers_of(&run));
}

/// Step, loss and gradient norm of every line of the log: all of it but the clock.
fn numbers_of(run: &Path) -> Vec<[String; 3]> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        ["step", "loss", "grad_norm"].map(|key| line[key].to_string())
    };
    text.lines().map(line).collect()
}
