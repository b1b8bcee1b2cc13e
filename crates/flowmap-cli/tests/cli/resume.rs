//! `flowmap train --resume` with changed keys and changed data: what goes on, and what is refused.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::{TINY, copied_run, flowmap, folder, refuses};

const RESUME: [&str; 4] = ["train", "--resume", "--out", "run"];

fn log(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn set(value: &str) -> [&str; 2] {
    ["--set", value]
}

/// 100 points of a plane, `scale` times the same ones.
fn points(scale: f64) -> String {
    let point = |i: i32| format!("{},{}\n", scale * f64::from(i % 10), scale * f64::from(i * i % 7));
    (0..100).map(point).collect()
}

#[test]
fn keys_that_say_how_to_go_on_may_change() {
    let dir = folder();
    copied_run(dir.path());
    let mut steps = 20;
    let free = [
        "name=other",
        "train.lr=1e-5",
        "train.clip_norm=0.0",
        "train.ema=[]",
        "train.log_every=1",
        "train.precision=bf16",
        "schedule.kind=constant",
        "optimizer.beta2=0.9",
        "objective.0.weight=0.5",
        "objective.1.norm={ kind = \"adaptive\" }",
        "eval.num=300",
    ];
    for key in free {
        steps += 1;
        let steps = steps.to_string();
        let args = [&RESUME[..], &["--steps", &steps], &set(key)].concat();
        flowmap(dir.path()).args(args).assert().success();
    }
    assert_eq!(log(&dir.path().join("run")).last().unwrap()["step"], steps);
}

#[test]
fn keys_that_the_weights_belong_to_are_refused_with_both_values() {
    let dir = folder();
    copied_run(dir.path());
    let fixed = [
        ("seed=7", "seed", "42", "7"),
        ("interpolant=trigonometric", "interpolant", "linear", "trigonometric"),
        ("sigma_data=1.0", "sigma_data", "0.57", "1"),
        ("conditional=true", "conditional", "false", "true"),
        ("coupling.kind=independent", "coupling.kind", "optimal_transport", "independent"),
        ("coupling.group=32", "coupling.group", "64", "32"),
        ("data.kind=moons", "data.kind", "checkerboard", "moons"),
        ("network.width=48", "network.width", "32", "48"),
        ("network.hidden=2", "network.hidden", "3", "2"),
        ("network.activation=silu", "network.activation", "gelu_tanh", "silu"),
        ("objective.1.kind=psd", "objective.1.kind", "lsd", "psd"),
        (
            "objective.1.time_weight={ kind = \"learned\" }",
            "objective.1.time_weight.kind",
            "constant",
            "learned",
        ),
        ("optimizer.kind=muon", "optimizer.kind", "adamw", "muon"),
        ("optimizer.kind=radam", "optimizer.kind", "adamw", "radam"),
        ("train.ema=[0.5]", "train.ema", "0.999", "0.5"),
        ("train.steps=10", "train.steps", "20", "10"),
    ];
    for (value, key, expected, found) in fixed {
        // Labels there are none of; that is said first.
        if key == "conditional" {
            let args = [&RESUME[..], &set(value)].concat();
            refuses(dir.path(), &args, 1, &["checkerboard", "`conditional`"]);
            continue;
        }
        let args = [&RESUME[..], &set(value)].concat();
        refuses(dir.path(), &args, 1, &["step-0000020", &format!("key `{key}`"), expected, found]);
    }
}

/// C13 of the cases: the statistics of a new file must not take the place of those of the checkpoint.
#[test]
fn data_file_that_changed_is_refused_with_both_numbers() {
    let dir = folder();
    let file = dir.path().join("d.csv");
    fs::write(&file, points(1.0)).unwrap();
    let data = ["--set", "data={kind=\"points\", path=\"d.csv\"}", "--out", "run"];
    let data: Vec<&str> = [&["train"], &TINY[..], &data].concat();
    flowmap(dir.path()).args(data).assert().success();
    let resume = [&RESUME[..], &["--steps", "30"]].concat();
    fs::write(&file, points(1e4)).unwrap();
    refuses(dir.path(), &resume, 1, &["key `sigma_data`", "expected 2.59418", "found 25941.8"]);
    fs::write(&file, points(1.0).replacen("0,0\n", "5,5\n", 1)).unwrap();
    refuses(dir.path(), &resume, 1, &["key `sigma_data`"]);
    // The order of the rows is that of the epochs.
    let mut lines: Vec<String> = points(1.0).lines().map(|line| format!("{line}\n")).collect();
    lines.rotate_left(1);
    fs::write(&file, lines.concat()).unwrap();
    refuses(dir.path(), &resume, 1, &["key `data`", "sketch"]);
    fs::write(&file, points(1.0) + &points(1.0)).unwrap();
    refuses(dir.path(), &resume, 1, &["key `data`", "100 samples", "200 samples"]);
    fs::write(&file, points(1.0)).unwrap();
    flowmap(dir.path()).args(resume).assert().success();
}

/// C11 of the cases.
#[test]
fn samples_go_on_counting_after_a_change_of_the_batch() {
    let dir = folder();
    copied_run(dir.path());
    let more = ["--set", "train.batch=16", "--set", "train.log_every=1", "--steps", "22"];
    flowmap(dir.path()).args(RESUME).args(more).assert().success();
    let samples: Vec<u64> =
        log(&dir.path().join("run")).iter().map(|line| line["samples"].as_u64().unwrap()).collect();
    assert_eq!(samples[samples.len() - 3..], [1280, 1296, 1312]);
}

#[test]
fn teacher_whose_weights_changed_is_refused() {
    let dir = folder();
    let teacher = copied_run(dir.path());
    fs::rename(&teacher, dir.path().join("teacher")).unwrap();
    let distil = [&["distill", "teacher", "--out", "run"], &TINY[..]].concat();
    flowmap(dir.path()).args(distil).assert().success();
    let resume = ["distill", "teacher", "--out", "run", "--resume", "--steps", "30"];
    flowmap(dir.path()).args(["train", "--resume", "--out", "teacher", "--steps", "25"]).assert().success();
    refuses(dir.path(), &resume, 1, &["key `teacher`", "weights"]);
}
