//! The program under test, a tiny run to look at, and what a refusal must look like.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use assert_cmd::Command;
use tempfile::TempDir;

/// Settings of a run that takes a second.
pub const TINY: [&str; 16] = [
    "--set",
    "train.batch=64",
    "--set",
    "network.width=32",
    "--set",
    "network.x_features=0",
    "--set",
    "eval.num=500",
    "--set",
    "eval.steps=[1,2]",
    "--set",
    "train.log_every=5",
    "--set",
    "schedule.warmup=5",
    "--set",
    "train.steps=20",
];

/// The program, run in the directory `dir`.
pub fn flowmap(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmap"));
    command.current_dir(dir);
    command
}

/// An empty directory that goes with its value.
pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Trains a tiny checkerboard in `dir/out`.
pub fn train_tiny(dir: &Path, out: &str, more: &[&str]) {
    flowmap(dir).args(["train", "--out", out]).args(TINY).args(more).assert().success();
}

/// A tiny run on the checkerboard, trained once; tests only read it.
pub fn tiny_run() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| cached("tiny", |dir| train_tiny(dir, "run", &[])))
}

/// A tiny run on the digits, conditional on the class.
pub fn digits_run() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        cached("digits", |dir| train_tiny(dir, "run", &["--preset", "digits", "--set", "conditional=true"]))
    })
}

/// A tiny run on the checkerboard whose noise is independent of the data.
pub fn independent_run() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        cached("independent", |dir| train_tiny(dir, "run", &["--set", "coupling.kind=independent"]))
    })
}

/// A tiny run of flow matching alone.
pub fn velocity_run() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        cached("velocity", |dir| {
            let terms = ["--set", "objective=[{kind=\"flow_matching\"}]"];
            train_tiny(dir, "run", &[&terms[..], &["--set", "coupling.kind=independent"]].concat());
        })
    })
}

/// A tiny run on two classes of 90 % and 10 %.
pub fn unequal_run() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        cached("unequal", |dir| {
            let data = "data={kind=\"gaussian_mixture\", means=[[-1.0,0.0],[1.0,0.0]], stds=[0.1], weights=[9.0,1.0]}";
            let preset = ["--preset", "gaussian-mixture", "--set", data, "--set", "conditional=true"];
            train_tiny(dir, "run", &preset);
        })
    })
}

/// A tiny run on three classes with the scale of guidance as an input, 1 to 3.
pub fn guided_run() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| cached("guided", |dir| train_tiny(dir, "run", &["--preset", "guided"])))
}

/// `make`'s directory `run`, made once for this build of the program, whatever number of processes ask for it.
fn cached(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let built = fs::metadata(env!("CARGO_BIN_EXE_flowmap")).unwrap().modified().unwrap();
    let built = built.duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(root.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let home = root.join(format!("{name}-{built}"));
    if !home.exists() {
        let begun = tempfile::tempdir_in(root).unwrap();
        make(begun.path());
        fs::rename(begun.keep(), &home).unwrap();
    }
    home.join("run")
}

/// A copy of the tiny run as `dir/run`, to be damaged.
pub fn copied_run(dir: &Path) -> PathBuf {
    let run = dir.join("run");
    copy_dir(tiny_run(), &run);
    run
}

/// Copies a directory with all that is in it.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// The newest checkpoint of a run.
pub fn checkpoint(run: &Path) -> PathBuf {
    let checkpoints = run.join("checkpoints");
    let latest = fs::read_to_string(checkpoints.join("latest")).unwrap();
    checkpoints.join(latest)
}

/// Every file and directory below `dir` with its bytes; directories have none.
pub fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut to_see = vec![dir.to_owned()];
    while let Some(dir) = to_see.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                to_see.push(path.clone());
                all.insert(path, None);
            } else {
                let bytes = fs::read(&path).unwrap();
                all.insert(path, Some(bytes));
            }
        }
    }
    all
}

/// Checks that stderr is one clear message that holds every one of `words`.
#[track_caller]
pub fn assert_one_clear_message(stderr: &[u8], words: &[&str]) {
    let text = String::from_utf8(stderr.to_vec()).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    assert!(text.starts_with("error: "), "{text}");
    assert_eq!(text.matches("error:").count(), 1, "{text}");
    for line in text.lines().filter(|line| line.len() > 10) {
        let line = line.trim_start_matches("  caused by: ");
        assert_eq!(text.matches(line).count(), 1, "said twice: {text}");
    }
    for word in words {
        assert!(text.contains(word), "expected `{word}` in: {text}");
    }
}

/// Checks that `flowmap ARGS` in `dir` ends with the exit code and one message with all of `words`, and writes nothing.
#[track_caller]
pub fn refuses(dir: &Path, args: &[&str], code: i32, words: &[&str]) {
    let before = snapshot(dir);
    let output = flowmap(dir).args(args).output().unwrap();
    eprintln!("flowmap {}\n{}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code));
    assert_one_clear_message(&output.stderr, words);
    assert!(snapshot(dir) == before, "files changed: {:?}", snapshot(dir).keys());
}
