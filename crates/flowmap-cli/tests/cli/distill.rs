//! `flowmap distill`: whose student is trained, by what, and what is refused.

use std::fs;
use std::path::Path;

use crate::program::{TINY, checkpoint, flowmap, folder, refuses, tiny_run};

/// The config that `flowmap distill ARGS --dry-run` prints.
fn resolved(dir: &Path, args: &[&str]) -> toml::Table {
    let output = flowmap(dir).arg("distill").args(args).arg("--dry-run").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().parse().unwrap()
}

fn kinds(config: &toml::Table) -> Vec<String> {
    let terms = config["objective"].as_array().unwrap().iter();
    terms.map(|term| term["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn student_of_a_run_is_like_its_teacher_and_learns_by_lmd() {
    let dir = folder();
    let teacher = tiny_run().to_str().unwrap();
    let run: toml::Table = fs::read_to_string(tiny_run().join("config.toml")).unwrap().parse().unwrap();
    let last = checkpoint(tiny_run());
    let file = last.join("model.safetensors");
    for teacher in [teacher, last.to_str().unwrap(), file.to_str().unwrap()] {
        let student = resolved(dir.path(), &[teacher]);
        for key in ["data", "network", "interpolant", "train", "schedule"] {
            assert_eq!(student[key], run[key], "{key}");
        }
        assert_eq!(kinds(&student), ["lmd"]);
        assert_eq!(student["name"].as_str(), Some("checkerboard-lmd"));
        assert_eq!(student["teacher"]["path"].as_str(), Some(teacher));
    }
}

#[test]
fn model_without_a_run_tells_its_data_and_its_network() {
    let dir = folder();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(checkpoint(tiny_run()).join(name), dir.path().join(name)).unwrap();
    }
    let student = resolved(dir.path(), &["model.safetensors", "--steps", "9"]);
    assert_eq!(student["data"]["kind"].as_str(), Some("checkerboard"));
    assert_eq!(student["network"]["width"].as_integer(), Some(32));
    assert_eq!(student["train"]["steps"].as_integer(), Some(9));
    assert_eq!(kinds(&student), ["lmd"]);
}

#[test]
fn objective_comes_with_its_recipe_and_options_win() {
    let dir = folder();
    let teacher = tiny_run().to_str().unwrap();
    let objective = |name: &str| resolved(dir.path(), &[teacher, "--objective", name, "--steps", "200"]);
    assert_eq!(objective("align_your_flow")["objective"][0]["warmup"].as_integer(), Some(20));
    assert_eq!(objective("consistency")["objective"][0]["trajectory"].as_str(), Some("heun"));
    assert_eq!(objective("pfmm")["name"].as_str(), Some("checkerboard-pfmm"));
    let set = resolved(dir.path(), &[teacher, "--set", "objective.0.stop=teacher", "--set", "name=mine"]);
    assert_eq!(set["objective"][0]["stop"].as_str(), Some("teacher"));
    assert_eq!(set["name"].as_str(), Some("mine"));
}

#[test]
fn exact_is_the_preset_of_distillation_or_a_config_on_such_data() {
    let dir = folder();
    let preset = resolved(dir.path(), &["exact"]);
    assert_eq!(preset["name"].as_str(), Some("distill-mixture"));
    assert_eq!(preset["teacher"]["kind"].as_str(), Some("exact"));
    let other = resolved(dir.path(), &["exact", "--preset", "gaussian-mixture", "--objective", "emd"]);
    assert_eq!((other["name"].as_str(), kinds(&other)), (Some("gaussian-mixture"), vec!["emd".to_owned()]));
}

#[test]
fn student_is_trained_judged_and_resumed_like_any_run() {
    let dir = folder();
    let teacher = tiny_run().to_str().unwrap();
    let train = |more: &[&str]| flowmap(dir.path()).args(["distill", teacher]).args(more).assert().success();
    train(&[&["--out", "short"], &TINY[..]].concat());
    assert!(dir.path().join("short/report.html").is_file());
    train(&["--out", "short", "--resume", "--steps", "30"]);
    let log = fs::read_to_string(dir.path().join("short/metrics.jsonl")).unwrap();
    assert!(log.lines().last().unwrap().contains("\"step\":30"), "{log}");
    let config = fs::read_to_string(dir.path().join("short/config.toml")).unwrap();
    assert!(config.contains("kind = \"lmd\"") && config.contains(teacher), "{config}");
}

#[test]
fn teachers_that_are_not_there_or_do_not_fit_are_refused() {
    let dir = folder();
    let teacher = tiny_run().to_str().unwrap();
    let refused = |args: &[&str], code: i32, words: &[&str]| {
        refuses(dir.path(), &[&["distill"], args].concat(), code, words);
    };
    refused(&["absent"], 1, &["absent: no such file", "run directory"]);
    refused(&["absent", "--dry-run", "--preset", "digits"], 1, &["absent: no such file"]);
    refused(&[], 2, &["<TEACHER>"]);
    refused(&[teacher, "--preset", "digits", "--objective", "lmd"], 1, &["teacher", "`shape`", "[1, 8, 8]"]);
    let other = ["--preset", "gaussian-mixture", "--objective", "lmd"];
    refused(&[&[teacher], &other[..]].concat(), 1, &["teacher", "`sigma_data`"]);
    let exact = ["exact", "--preset", "checkerboard", "--objective", "lmd"];
    refused(&exact, 1, &["exact flow of `checkerboard` data is not known", "gaussian_mixture"]);
}

#[test]
fn objectives_that_need_no_teacher_or_another_are_refused() {
    let dir = folder();
    let teacher = tiny_run().to_str().unwrap();
    let refused = |args: &[&str], code: i32, words: &[&str]| {
        refuses(dir.path(), &[&["distill"], args].concat(), code, words);
    };
    refused(&[teacher, "--objective", "lsd"], 2, &["--objective", "`lsd`", "needs no teacher"]);
    refused(&[teacher, "--objective", "lmdd"], 2, &["`lmdd`", "did you mean `lmd`?", "`pfmm`"]);
    refused(&[teacher, "--preset", "checkerboard"], 2, &["`flow_matching`, `lsd`", "--objective"]);
    refused(&["exact", "--objective", "pfmm"], 1, &["`pfmm`", "found exact", "gives a velocity"]);
    refused(&[teacher, "--objective", "scm"], 1, &["`interpolant`", "`trigonometric`", "found linear"]);
    refused(&[teacher, "--resume"], 2, &["--resume", "--out"]);
    refused(&[teacher, "--resume", "--out", "a", "--objective", "emd"], 2, &["--resume", "--set"]);
}
