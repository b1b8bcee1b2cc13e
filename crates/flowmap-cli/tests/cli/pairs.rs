//! Training on the pairs that `flowmap sample` writes.

use crate::program::{checkpoint, flowmap, folder, refuses, tiny_run, train_tiny};

/// A learning rate that does not depend on the length of the run, so that a part of a run is its beginning.
const PAIRED: [&str; 8] = [
    "--set",
    "data.kind=points",
    "--set",
    "data.path=pairs.npz",
    "--set",
    "schedule.kind=constant",
    "--set",
    "coupling.kind=paired",
];

#[test]
fn samples_of_a_model_are_pairs_to_train_on_and_to_resume_with_the_same_bits() {
    let dir = folder();
    let run = tiny_run().to_str().unwrap();
    flowmap(dir.path()).args(["sample", run, "--num", "100", "--out", "pairs.npz"]).assert().success();
    train_tiny(dir.path(), "unbroken", &PAIRED);
    train_tiny(dir.path(), "resumed", &[&PAIRED[..], &["--steps", "7"]].concat());
    let resume = ["train", "--resume", "--out", "resumed", "--steps", "20"];
    flowmap(dir.path()).args(resume).assert().success();
    let bytes = |run| std::fs::read(checkpoint(&dir.path().join(run)).join("model.safetensors")).unwrap();
    assert!(bytes("unbroken") == bytes("resumed"));
    train_tiny(dir.path(), "drawn", &PAIRED[..6]);
    assert!(bytes("unbroken") != bytes("drawn"));
}

#[test]
fn generated_data_have_no_pairs() {
    let dir = folder();
    let set = "coupling.kind=paired";
    refuses(
        dir.path(),
        &["train", "--set", set],
        1,
        &["--set coupling.kind=paired", "data.kind = \"points\""],
    );
}
