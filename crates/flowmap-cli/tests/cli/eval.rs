//! `flowmap eval`: the table, the JSON, and files of samples.

use std::fs;
use std::path::Path;

use predicates::str::contains;
use serde_json::Value;

use crate::program::{
    TINY, digits_run, flowmap, folder, independent_run, refuses, tiny_run, train_tiny, unequal_run,
    velocity_run,
};

/// The numbers that `eval ARGS --json -` prints.
fn numbers(args: &[&str]) -> Value {
    let output = flowmap(folder().path()).arg("eval").args(args).args(["--json", "-"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn table_has_a_row_for_each_number_of_steps_and_the_floor() {
    let dir = folder();
    let output = flowmap(dir.path())
        .arg("eval")
        .arg(tiny_run())
        .args(["--num", "500", "--steps", "1,3"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let table = String::from_utf8(output.stdout).unwrap();
    let firsts: Vec<&str> = table.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(firsts.windows(5).any(|rows| rows == ["N", "1", "3", "floor", "floor"]), "{table}");
    assert!(table.contains("computed") && table.contains("second draw"), "{table}");
    assert!(table.contains("500 samples by flow_map against checkerboard, drawn anew"), "{table}");
    assert!(firsts.contains(&"eulerian"), "{table}");
    assert!(table.contains("KL exact") && table.contains("sliced W2"), "{table}");
}

#[test]
fn json_on_stdout_and_in_a_file_are_the_same_numbers() {
    let run = tiny_run().to_str().unwrap();
    let args =
        [run, "--num", "200", "--steps", "1", "--metrics", "energy,mmd2,w2,sliced_w2,kl_exact,kl_paper"];
    let printed = numbers(&args);
    let dir = folder();
    let file = dir.path().join("out.json");
    let output = flowmap(dir.path()).arg("eval").args(args).arg("--json").arg(&file).assert().success();
    output.stdout(contains("MMD²"));
    assert_eq!(serde_json::from_slice::<Value>(&fs::read(file).unwrap()).unwrap(), printed);
    let metrics = printed["rows"][0]["metrics"].as_object().unwrap();
    assert_eq!(metrics.len(), 6);
    assert!(metrics.values().all(|m| m["value"].is_number()), "{metrics:?}");
}

#[test]
fn both_protocols_of_kl_are_named_with_their_floor() {
    let evaluation = numbers(&[tiny_run().to_str().unwrap(), "--num", "500", "--steps", "1"]);
    for metric in ["kl_exact", "kl_paper"] {
        let measured = &evaluation["rows"][0]["metrics"][metric];
        assert!(measured["value"].is_number(), "{measured}");
        assert!(measured["detail"].is_object(), "{measured}");
    }
}

#[test]
fn samples_that_were_written_score_as_the_model_they_came_from() {
    let dir = folder();
    let file = dir.path().join("samples.npz");
    let file = file.to_str().unwrap();
    let run = tiny_run().to_str().unwrap();
    flowmap(dir.path())
        .args(["sample", run, "--num", "500", "--steps", "2", "--seed", "5", "--out", file])
        .assert()
        .success();
    let how = ["--seed", "5", "--metrics", "kl_exact,sliced_w2,energy"];
    let of_file = numbers(&[&["--samples", file, "--reference", "checkerboard"], &how[..]].concat());
    let of_model = numbers(&[&[run, "--num", "500", "--steps", "2"], &how[..]].concat());
    assert_eq!(of_file["rows"][0]["metrics"], of_model["rows"][0]["metrics"]);
    assert_eq!(of_file["num"], 500);
    assert_eq!(of_file["rows"][0]["steps"], Value::Null);
}

#[test]
fn file_of_samples_may_be_the_reference() {
    let dir = folder();
    let file = dir.path().join("samples.npz");
    let run = tiny_run().to_str().unwrap();
    flowmap(dir.path()).args(["sample", run, "--num", "300", "--out"]).arg(&file).assert().success();
    let table =
        flowmap(dir.path()).arg("eval").arg("--samples").arg(&file).arg("--reference").arg(&file).assert();
    table.success().stdout(contains("300 samples against points"));
}

#[test]
fn exact_flow_map_of_a_mixture_is_the_judge_of_independent_pairs() {
    let args = ["--reference", "gaussian_mixture", "--num", "50", "--steps", "1", "--metrics", "map_error"];
    let coupled = [&["eval", tiny_run().to_str().unwrap()], &args[..]].concat();
    refuses(folder().path(), &coupled, 1, &["`map_error`", "independent pairs", "`coupling`"]);
    let independent = independent_run().to_str().unwrap();
    let evaluation = numbers(&[&[independent], &args[..]].concat());
    let steps = ["eval", independent, "--sampler", "consistency", "--steps", "1,4"];
    let fresh = [&steps[..], &args[..2], &args[6..]].concat();
    refuses(folder().path(), &fresh, 1, &["`map_error`", "fresh noise"]);
    assert!(evaluation["rows"][0]["metrics"]["map_error"]["value"].as_f64().unwrap() > 0.0);
    assert!(evaluation["laws"]["tangent"]["mean"].as_f64().unwrap() > 0.0);
}

#[test]
fn conditional_model_of_images_is_judged() {
    let evaluation = numbers(&[digits_run().to_str().unwrap(), "--num", "100", "--steps", "1"]);
    let metrics = evaluation["rows"][0]["metrics"].as_object().unwrap();
    assert!(metrics.contains_key("sliced_w2") && metrics.contains_key("energy"), "{metrics:?}");
}

#[test]
fn run_is_judged_again_by_its_own_sampler_and_scores_the_same() {
    for (run, sampler) in [(velocity_run(), "euler"), (tiny_run(), "flow_map"), (digits_run(), "flow_map")] {
        let run_evaluation = fs::read(run.join("evaluation.json")).unwrap();
        let mut of_run: Value = serde_json::from_slice(&run_evaluation).unwrap();
        let seed = of_run["seed"].to_string();
        let mut again = numbers(&[run.to_str().unwrap(), "--num", "500", "--steps", "1,2", "--seed", &seed]);
        assert_eq!(again["sampler"], sampler);
        for evaluation in [&mut of_run, &mut again] {
            evaluation["subject"].take();
        }
        assert_eq!(again, of_run);
    }
}

#[test]
fn sampler_that_the_model_was_never_trained_for_is_a_warning_in_the_numbers_too() {
    let run = velocity_run().to_str().unwrap();
    let args = [run, "--num", "100", "--steps", "1", "--sampler", "flow_map"];
    let evaluation = numbers(&args);
    assert_eq!(evaluation["warnings"][0]["subject"], "sampler `flow_map`");
    let output = flowmap(folder().path()).arg("eval").args(args).assert().success();
    output.stderr(contains("warning: sampler `flow_map`: the model learned the velocity alone"));
}

#[test]
fn consistency_model_of_other_pairs_is_refused_before_its_training() {
    let dir = folder();
    let terms = ["train", "--set", "objective=[{kind=\"consistency\"}]", "--out", "run"];
    let words = ["`eval.steps`", "`consistency` in 16 steps", "`independent`", "`optimal_transport`"];
    refuses(dir.path(), &terms, 1, &words);
    train_tiny(
        dir.path(),
        "one",
        &["--set", "objective=[{kind=\"consistency\"}]", "--set", "eval.steps=[1]"],
    );
}

#[test]
fn samples_of_a_conditional_model_score_as_the_model_and_other_shares_are_a_warning() {
    let dir = folder();
    let file = dir.path().join("samples.npz");
    let (file, run) = (file.to_str().unwrap(), unequal_run().to_str().unwrap());
    let sample = ["sample", run, "--num", "2000", "--steps", "2", "--seed", "5", "--out", file];
    flowmap(dir.path()).args(sample).assert().success();
    let text = fs::read_to_string(unequal_run().join("config.toml")).unwrap();
    assert!(text.contains("weights = [9.0, 1.0]"), "{text}");
    // As many points of the data as the reference, from a run that only reads them.
    let how = ["--seed", "5", "--metrics", "sliced_w2,energy"];
    let of_model = numbers(&[&[run, "--num", "2000", "--steps", "2"], &how[..]].concat());
    let of_file = numbers(&[&["--samples", file, "--reference", file], &how[..]].concat());
    assert_eq!(of_file["warnings"], Value::Null);
    assert_eq!(of_file["reference"], "points, its 2000 samples");
    assert!(of_model["omitted"][0]["reason"].as_str().unwrap().contains("all classes together"));
    // The same samples with as many of either class.
    let of_class = |class: &str, out: &str| {
        let args = ["sample", run, "--num", "1000", "--class", class, "--out", out];
        flowmap(dir.path()).args(args).assert().success();
    };
    of_class("1", "ones.npz");
    let args = ["eval", "--samples", "ones.npz", "--reference", file];
    let output = flowmap(dir.path()).args(args).assert().success();
    output.stderr(contains("warning: ones.npz: 100.0 % of the samples have the label 1, and"));
}

#[test]
fn order_of_a_file_of_samples_changes_nothing_beyond_noise() {
    let dir = folder();
    // Eight clusters of 2000 points, one after the other or in turn; 1024 to 10 000 of them are measured.
    let point = |i: usize, class: usize| {
        let (angle, small) = (class as f64 * std::f64::consts::FRAC_PI_4, i as f64);
        format!("{},{}\n", 2.83 * angle.cos() + 0.2 * small.sin(), 2.83 * angle.sin() + 0.2 * small.cos())
    };
    let sorted: String = (0..16_000).map(|i| point(i, i / 2000)).collect();
    let in_turn: String = (0..16_000).map(|i| point(i, i % 8)).collect();
    fs::write(dir.path().join("sorted.csv"), sorted).unwrap();
    fs::write(dir.path().join("in_turn.csv"), in_turn).unwrap();
    let values = |file: &str| -> Vec<f64> {
        let path = dir.path().join(file);
        let path = path.to_str().unwrap();
        let metrics = "kl_exact,w2,energy,mmd2";
        let evaluation =
            numbers(&["--samples", path, "--reference", "eight_gaussians", "--metrics", metrics]);
        let metrics = evaluation["rows"][0]["metrics"].as_object().unwrap().clone();
        metrics.values().map(|measured| measured["value"].as_f64().unwrap()).collect()
    };
    let (sorted, in_turn) = (values("sorted.csv"), values("in_turn.csv"));
    // Energy, KL, MMD² and W2; the first rows of the sorted file are at 2.2, 1.9, 2.1 and 3.7.
    for ((a, b), noise) in sorted.iter().zip(&in_turn).zip([0.03, 0.02, 0.03, 0.4]) {
        assert!((a - b).abs() < noise, "{sorted:?} and {in_turn:?}");
    }
}

#[test]
fn samples_in_other_units_are_a_warning() {
    let dir = folder();
    let rows: String = (0..500).map(|i| format!("{},{}\n", 255 * (i % 2), i % 255)).collect();
    fs::write(dir.path().join("bytes.csv"), rows).unwrap();
    let args = ["eval", "--samples", "bytes.csv", "--reference", "moons"];
    let output = flowmap(dir.path()).args(args).assert().success();
    output.stderr(contains("warning: bytes.csv: values from 0 to 255, where the data have"));
}

/// Writes 40 images of 2x2 pixels and two classes as a part of a directory of IDX files.
fn write_idx(dir: &Path, part: &str, shift: u32) {
    let sizes = [40u32, 2, 2].map(u32::to_be_bytes).concat();
    let pixels = (0..160u32).map(|i| (i * 37 + shift).rem_euclid(256) as u8);
    let images: Vec<u8> = [0, 0, 8, 3].into_iter().chain(sizes).chain(pixels).collect();
    let labels: Vec<u8> = [0, 0, 8, 1, 0, 0, 0, 40].into_iter().chain((0..40).map(|i| i % 2)).collect();
    fs::write(dir.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
    fs::write(dir.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
}

#[test]
fn images_are_judged_against_the_held_out_part_and_without_one_with_a_warning() {
    let dir = folder();
    fs::create_dir(dir.path().join("idx")).unwrap();
    write_idx(&dir.path().join("idx"), "train", 0);
    let data = "data={kind=\"idx\", path=\"idx\"}";
    let sets = ["--set", data, "--set", "eval.metrics=[\"sliced_w2\"]"];
    let train = |out: &str| {
        let args = [&["train", "--out", out], &TINY[..], &sets[..]].concat();
        let output = flowmap(dir.path()).args(args).assert().success().get_output().clone();
        let evaluation = fs::read(dir.path().join(out).join("evaluation.json")).unwrap();
        let report = fs::read_to_string(dir.path().join(out).join("report.html")).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (serde_json::from_slice::<Value>(&evaluation).unwrap(), report, stderr)
    };
    let (evaluation, report, stderr) = train("without");
    let warning = "the held-out part is not there";
    assert_eq!(evaluation["reference"], "idx, the 40 training samples");
    assert!(evaluation["warnings"][0]["seen"].as_str().unwrap().contains(warning), "{evaluation}");
    assert!(stderr.contains(warning) && stderr.contains("t10k"), "{stderr}");
    assert!(report.contains(warning) && report.contains("resampled"));
    write_idx(&dir.path().join("idx"), "t10k", 11);
    let (evaluation, report, stderr) = train("with");
    assert_eq!(evaluation["reference"], "idx, the 40 held-out samples");
    assert_eq!(evaluation["rows"][0]["metrics"]["sliced_w2"]["floor_kind"], "held_out");
    assert_eq!(evaluation["warnings"], Value::Null);
    assert!(!stderr.contains("warning"), "{stderr}");
    assert!(report.contains("idx, the 40 held-out samples"));
}
