//! `flowmap bench`: what it prints and what it refuses; never how fast it was.

use predicates::str::contains;
use serde_json::Value;

use crate::program::{flowmap, folder, refuses, snapshot};

/// Measurements that take no time.
const QUICK: [&str; 7] = ["bench", "--batch", "16", "--width", "8", "--seconds", "0.001"];

/// What `flowmap bench --json` says with these options besides.
fn report(more: &[&str]) -> Value {
    let dir = folder();
    let output = flowmap(dir.path()).args(QUICK).arg("--json").args(more).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(snapshot(dir.path()).is_empty());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn json_has_training_sampling_and_the_limit() {
    let report = report(&["--hidden", "2"]);
    assert_eq!(report["objective"], "lsd");
    assert_eq!((&report["width"], &report["hidden"]), (&8.into(), &2.into()));
    assert_eq!(report["device"], "cpu");
    assert_eq!(report["training"]["batch"], 16);
    let steps: Vec<_> = report["sampling"].as_array().unwrap().iter().map(|s| &s["steps"]).collect();
    assert_eq!(steps, [1, 4]);
    for timing in report["sampling"].as_array().unwrap().iter().chain([&report["training"]]) {
        for key in ["ms", "samples_per_s", "gemm_limit_ms", "share_of_gemm_limit"] {
            assert!(timing[key].as_f64().unwrap() > 0.0, "{key}: {timing}");
        }
    }
    assert!(report["gemm"]["gflop_per_s"].as_f64().unwrap() > 0.0);
    let memory = &report["peak_memory_mib"];
    assert!(if cfg!(target_os = "linux") { memory.as_f64().unwrap() > 1.0 } else { memory.is_null() });
}

#[test]
fn every_objective_of_the_help_can_be_measured() {
    let dir = folder();
    let help = flowmap(dir.path()).args(["bench", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let list = help.lines().find_map(|line| line.strip_prefix("Objectives: ")).unwrap();
    let names: Vec<_> = list.trim_end_matches('.').split(", ").collect();
    assert_eq!(names.len(), flowmap_train::bench::BENCHED.len());
    for name in names {
        assert_eq!(report(&["--objective", name])["objective"], name);
    }
}

#[test]
fn number_of_threads_is_the_one_asked_for() {
    for n in [1, 3] {
        assert_eq!(report(&["--threads", &n.to_string()])["threads"], n);
    }
}

#[test]
fn table_is_for_people() {
    let printed = flowmap(folder().path()).args(QUICK).assert().success();
    let printed = printed.stdout(contains("lsd, MLP 4x8, f32, cpu"));
    for words in ["training step", "sampling, N = 1", "sampling, N = 4", "GFLOP/s", "peak memory: "] {
        assert!(String::from_utf8_lossy(&printed.get_output().stdout).contains(words), "{words}");
    }
}

/// Checks that `flowmap bench ARGS` is refused.
#[track_caller]
fn refuses_to_bench(args: &[&str], code: i32, words: &[&str]) {
    refuses(folder().path(), &[&["bench"], args].concat(), code, words);
}

#[test]
fn unknown_objective_is_refused_with_the_known_ones() {
    refuses_to_bench(
        &["--objective", "lds"],
        2,
        &["--objective", "`lds`", "did you mean `lsd`?", "`flow_matching`", "`psd`"],
    );
}

#[test]
fn nothing_to_do_is_refused() {
    for option in ["--batch", "--width", "--threads"] {
        refuses_to_bench(&[option, "0"], 2, &[option, "'0'", "expected at least 1"]);
    }
    refuses_to_bench(&["--seconds", "0"], 2, &["--seconds", "positive", "0"]);
    refuses_to_bench(&["--seconds", "nan"], 2, &["--seconds", "positive", "NaN"]);
}

#[test]
fn missing_device_is_refused() {
    refuses_to_bench(&["--device", "cuda:0"], 1, &["device `cuda:0`", "--device cpu"]);
    refuses_to_bench(&["--device", "gpu", "--threads", "1"], 2, &["device `gpu`", "cpu"]);
}
