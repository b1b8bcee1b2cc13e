//! `flowmap eval`: the table, the JSON, and files of samples.

use std::fs;

use predicates::str::contains;
use serde_json::Value;

use crate::program::{digits_run, flowmap, folder, tiny_run};

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
    assert!(firsts.windows(4).any(|rows| rows == ["N", "1", "3", "floor"]), "{table}");
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
fn exact_flow_map_of_a_mixture_is_the_judge() {
    let run = tiny_run().to_str().unwrap();
    let args =
        [run, "--reference", "gaussian_mixture", "--num", "50", "--steps", "1", "--metrics", "map_error"];
    let evaluation = numbers(&args);
    assert!(evaluation["rows"][0]["metrics"]["map_error"]["value"].as_f64().unwrap() > 0.0);
    assert!(evaluation["laws"]["tangent"]["mean"].as_f64().unwrap() > 0.0);
}

#[test]
fn conditional_model_of_images_is_judged() {
    let evaluation = numbers(&[digits_run().to_str().unwrap(), "--num", "100", "--steps", "1"]);
    let metrics = evaluation["rows"][0]["metrics"].as_object().unwrap();
    assert!(metrics.contains_key("sliced_w2") && metrics.contains_key("energy"), "{metrics:?}");
}
