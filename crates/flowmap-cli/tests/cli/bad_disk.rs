//! Disks that are full and places that cannot be written: one message, and nothing half-written.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::program::{
    TINY, assert_one_clear_message, checkpoint, copied_run, folder, refuses, snapshot, tiny_run, train_tiny,
};

#[test]
fn run_below_a_file_is_refused() {
    let dir = folder();
    fs::write(dir.path().join("file"), "mine").unwrap();
    refuses(dir.path(), &["train", "--out", "file/run"], 1, &["file/run", "Not a directory"]);
    refuses(dir.path(), &["train", "--out", "file"], 1, &["file"]);
}

#[test]
fn samples_into_a_directory_that_is_not_there_are_refused() {
    let dir = folder();
    let run = tiny_run().to_str().unwrap();
    for out in ["absent/dir/x.npz", "absent/x.png"] {
        refuses(dir.path(), &["sample", run, "--out", out], 1, &["--out", out, "expected a directory"]);
    }
    refuses(
        dir.path(),
        &["eval", run, "--num", "50", "--json", "absent/x.json"],
        1,
        &["--json", "absent/x.json"],
    );
}

#[test]
fn samples_below_a_file_are_refused() {
    let dir = folder();
    let run = tiny_run().to_str().unwrap();
    fs::write(dir.path().join("file"), "mine").unwrap();
    refuses(dir.path(), &["sample", run, "--out", "file/x.npz"], 1, &["file/x.npz"]);
    refuses(dir.path(), &["sample", run, "--out", "file"], 1, &["file", "expected a directory"]);
    refuses(dir.path(), &["sample", run, "--out", "file/dir"], 1, &["file/dir"]);
}

#[test]
fn samples_onto_a_directory_are_refused() {
    let dir = folder();
    fs::create_dir(dir.path().join("x.npz")).unwrap();
    let args = ["sample", tiny_run().to_str().unwrap(), "--out", "x.npz"];
    refuses(dir.path(), &args, 1, &["x.npz", "expected a file, found a directory"]);
}

#[test]
fn directory_that_holds_a_run_is_refused() {
    let dir = folder();
    copied_run(dir.path());
    refuses(dir.path(), &["train", "--out", "run"], 1, &["run already holds a run", "--resume", "--out"]);
}

/// Runs the program in `dir` where no file may grow beyond `blocks` times 512 bytes, as on a disk that fills up.
#[cfg(unix)]
fn with_small_disk(dir: &Path, blocks: u32, args: &[&str]) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut sh = Command::new("sh");
    sh.current_dir(dir).args(["-c", &script, env!("CARGO_BIN_EXE_flowmap")]).args(args);
    sh.output().unwrap()
}

#[cfg(unix)]
#[test]
fn full_disk_leaves_old_samples_and_nothing_else() {
    let dir = folder();
    let run = tiny_run().to_str().unwrap();
    fs::write(dir.path().join("x.npz"), "old").unwrap();
    let before = snapshot(dir.path());
    for out in ["x.npz", "new.npz", "new-dir", "a/b/new-dir"] {
        let output = with_small_disk(dir.path(), 8, &["sample", run, "--num", "1000", "--out", out]);
        assert_eq!(output.status.code(), Some(1));
        assert_one_clear_message(&output.stderr, &["writing", out, "File too large"]);
        assert!(snapshot(dir.path()) == before, "{:?}", snapshot(dir.path()).keys());
    }
}

#[cfg(unix)]
#[test]
fn full_disk_leaves_no_json() {
    let dir = folder();
    let args = ["eval", tiny_run().to_str().unwrap(), "--num", "50", "--json", "x.json"];
    let output = with_small_disk(dir.path(), 0, &args);
    assert_eq!(output.status.code(), Some(1));
    assert_one_clear_message(&output.stderr, &["writing", "x.json", "File too large"]);
    assert!(snapshot(dir.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn full_disk_at_the_start_leaves_no_run() {
    let dir = folder();
    let output = with_small_disk(dir.path(), 0, &["train", "--out", "runs/a"]);
    assert_eq!(output.status.code(), Some(1));
    assert_one_clear_message(&output.stderr, &["writing", "runs/a/config.toml", "File too large"]);
    assert!(snapshot(dir.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn full_disk_at_a_checkpoint_leaves_no_half_of_it() {
    let dir = folder();
    let args = [&["train", "--out", "run"], &TINY[..]].concat();
    let output = with_small_disk(dir.path(), 16, &args);
    assert_eq!(output.status.code(), Some(1));
    assert_one_clear_message(&output.stderr, &["writing", "step-0000020", "File too large"]);
    let left: Vec<_> = fs::read_dir(dir.path().join("run/checkpoints")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    refuses(
        dir.path(),
        &["train", "--resume", "--out", "run"],
        1,
        &["run holds no checkpoint", "train anew"],
    );
}

#[cfg(unix)]
#[test]
fn full_disk_at_a_later_checkpoint_leaves_the_one_before() {
    let dir = folder();
    let run = copied_run(dir.path());
    let before = snapshot(&checkpoint(&run));
    let args = ["train", "--resume", "--out", "run", "--steps", "30"];
    let output = with_small_disk(dir.path(), 16, &args);
    assert_eq!(output.status.code(), Some(1));
    assert_one_clear_message(&output.stderr, &["writing", "step-0000030", "File too large"]);
    assert!(snapshot(&checkpoint(&run)) == before);
    assert!(!run.join("checkpoints/step-0000030").exists());
    assert!(!snapshot(dir.path()).keys().any(|path| path.display().to_string().contains(".writing-")));
}

#[test]
fn training_that_diverges_says_so_and_keeps_the_last_checkpoint() {
    let dir = folder();
    train_tiny(dir.path(), "run", &["--steps", "5"]);
    let before = snapshot(&checkpoint(&dir.path().join("run")));
    let mut command = crate::program::flowmap(dir.path());
    command.args(["train", "--resume", "--out", "run", "--steps", "60"]);
    command.args([
        "--set",
        "train.lr=1e30",
        "--set",
        "train.max_bad_steps=3",
        "--set",
        "schedule.kind=constant",
    ]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_one_clear_message(&output.stderr, &["training diverged", "3 steps in a row", "checkpoint"]);
    assert!(snapshot(&checkpoint(&dir.path().join("run"))) == before);
    // With a smaller rate it goes on from there.
    let resume = ["train", "--resume", "--out", "run", "--steps", "10", "--set", "train.lr=1e-3"];
    crate::program::flowmap(dir.path()).args(resume).assert().success();
}

#[test]
fn training_that_diverges_before_any_checkpoint_leaves_one_to_go_on_from() {
    let dir = folder();
    let mut command = crate::program::flowmap(dir.path());
    command.args(["train", "--out", "run"]).args(TINY);
    command.args(["--set", "train.lr=1e30", "--set", "train.max_bad_steps=3"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = ["diverged at step", "(objective.", "run/checkpoints/step-0000000", "`train.lr`"];
    assert_one_clear_message(&output.stderr, &words);
    let resume = ["train", "--resume", "--out", "run", "--set", "train.lr=1e-3"];
    crate::program::flowmap(dir.path()).args(resume).assert().success();
}
