//! `flowmap compare`: what it trains, what it leaves, what it says, and what it refuses; never who won.

use std::fs;

use flowmap_nn::method::METHODS;
use predicates::str::contains;
use serde_json::Value;

use crate::program::{assert_one_clear_message, flowmap, folder, refuses};

/// Settings of a comparison that takes a second.
const QUICK: [&str; 13] = [
    "compare",
    "--set",
    "train.batch=32",
    "--set",
    "network.width=8",
    "--set",
    "network.x_features=0",
    "--set",
    "eval.num=300",
    "--set",
    "eval.steps=[1,2]",
    "--seed",
    "7",
];

fn json(path: &std::path::Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_method_is_compared_or_left_out_with_its_reason() {
    let dir = folder();
    let output = flowmap(dir.path()).args(QUICK).args(["--steps", "4"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let out = dir.path().join("runs/compare-checkerboard");
    let comparison = json(&out.join("comparison.json"));
    let names = |key: &str| -> Vec<String> {
        let entries = comparison[key].as_array().unwrap().iter();
        entries.map(|entry| entry["method"].as_str().unwrap().to_owned()).collect()
    };
    let (rows, omitted) = (names("rows"), names("omitted"));
    let mut all: Vec<&str> = rows.iter().chain(&omitted).map(String::as_str).collect();
    let mut expected: Vec<&str> = METHODS.iter().map(|method| method.name).collect();
    all.sort_unstable();
    expected.sort_unstable();
    assert_eq!(all, expected);
    assert_eq!(
        omitted,
        ["guided_mean_flow", "lmd", "emd", "align_your_flow", "pfmm", "map_distillation"],
        "what needs labels or a teacher"
    );
    for name in &omitted {
        assert!(stderr.contains(&format!("{name} is left out: it needs")), "{stderr}");
    }
    let table = String::from_utf8(output.stdout).unwrap();
    let markdown = fs::read_to_string(out.join("comparison.md")).unwrap();
    for row in comparison["rows"].as_array().unwrap() {
        let name = row["method"].as_str().unwrap();
        let trained = &row["outcome"]["trained"];
        assert_eq!(trained["steps"], 4, "{row}");
        assert_eq!(trained["config"]["train"]["steps"], 4);
        assert!(trained["seconds"].as_f64().unwrap() > 0.0 && trained["ms_per_step"].as_f64().unwrap() > 0.0);
        for metrics in trained["evaluation"]["rows"].as_array().unwrap() {
            assert_eq!(metrics["metrics"]["kl_exact"]["detail"]["protocol"], "exact");
            assert!(metrics["metrics"]["kl_paper"]["value"].is_number());
        }
        assert!(table.lines().any(|line| line.starts_with(name)), "{name}: {table}");
        assert!(markdown.contains(&format!("| {name} | 4 |")), "{name}: {markdown}");
        assert!(
            out.join(name).join("config.toml").is_file() && out.join(name).join("evaluation.json").is_file()
        );
    }
    let sampler = |name: &str| {
        let row = comparison["rows"].as_array().unwrap().iter().find(|row| row["method"] == name).unwrap();
        row["outcome"]["trained"]["sampler"].clone()
    };
    assert_eq!([sampler("flow_matching"), sampler("lsd")], ["euler", "flow_map"]);
    assert_eq!([sampler("consistency"), sampler("scm")], ["consistency", "consistency"]);
    assert!(table.contains("scm: interpolant = \"trigonometric\", which it needs"), "{table}");
    assert!(table.contains("exact samples") && table.contains("base"), "{table}");
    assert!(table.contains("samples are judged against checkerboard, drawn anew"), "{table}");
    assert!(table.contains("exact samples: the mean for exact samples, from a formula"), "{table}");
    assert!(image::open(out.join("comparison.png")).unwrap().width() > 500);
}

#[test]
fn runs_of_a_comparison_are_ordinary_runs() {
    let dir = folder();
    let methods = ["--methods", "lsd,consistency", "--steps", "6", "--out", "c"];
    flowmap(dir.path()).args(QUICK).args(methods).assert().success();
    for run in ["c/lsd", "c/consistency"] {
        let sampled = flowmap(dir.path()).args(["sample", run, "--num", "10"]).assert().success();
        let sampler = if run.ends_with("consistency") { "consistency" } else { "flow_map" };
        sampled.stdout(contains(format!("10 samples by {sampler},")));
        flowmap(dir.path()).args(["eval", run, "--num", "100", "--steps", "1,2"]).assert().success();
        let before = json(&dir.path().join(run).join("evaluation.json"));
        flowmap(dir.path()).args(["plot", run]).assert().success();
        assert_eq!(
            json(&dir.path().join(run).join("evaluation.json")),
            before,
            "{run} is judged the same way"
        );
    }
    let config = fs::read_to_string(dir.path().join("c/lsd/config.toml")).unwrap();
    flowmap(dir.path()).args(["train", "c/lsd/config.toml", "--dry-run"]).assert().success().stdout(config);
}

#[test]
fn base_of_a_comparison_is_that_of_the_models_and_has_their_classes() {
    let dir = folder();
    let base = |out: &str, sigma: &str| -> f64 {
        let sets = ["--set", sigma, "--set", "eval.metrics=[\"sliced_w2\"]"];
        let methods = ["--methods", "flow_matching", "--steps", "2", "--out", out];
        flowmap(dir.path()).args(QUICK).args(methods).args(sets).assert().success();
        json(&dir.path().join(out).join("comparison.json"))["base"]["sliced_w2"]["value"].as_f64().unwrap()
    };
    // Noise three times as wide is farther from the data.
    assert!(base("wide", "sigma_data=1.7") > 3.0 * base("data", "train.clip_norm=1.0"));
    let digits = ["--preset", "digits", "--methods", "flow_matching", "--steps", "2", "--out", "digits"];
    flowmap(dir.path()).args(QUICK).args(digits).args(["--set", "network.width=16"]).assert().success();
    let comparison = json(&dir.path().join("digits/comparison.json"));
    assert!(comparison["base"]["class_accuracy"]["value"].as_f64().unwrap() < 0.5, "{comparison}");
}

#[test]
fn same_steps_and_seed_give_the_same_numbers() {
    let dir = folder();
    let numbers = |out: &str| {
        let methods = ["--methods", "psd,consistency", "--steps", "5", "--out", out, "--json", "-"];
        let output = flowmap(dir.path()).args(QUICK).args(methods).output().unwrap();
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = printed["rows"].as_array().unwrap().iter();
        rows.map(|row| row["outcome"]["trained"]["evaluation"]["rows"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(numbers("a"), numbers("b"));
}

#[test]
fn time_decides_the_steps_and_the_schedule_ends_with_them() {
    let dir = folder();
    let methods = ["--methods", "flow_matching", "--time", "0.5s", "--out", "c", "--json", "c.json"];
    flowmap(dir.path()).args(QUICK).args(methods).assert().success();
    let trained = &json(&dir.path().join("c.json"))["rows"][0]["outcome"]["trained"];
    let steps = trained["steps"].as_u64().unwrap();
    // A step of this network takes a millisecond or a few; how many fit is the machine's business.
    assert!(steps > 10, "{steps}");
    let log = fs::read_to_string(dir.path().join("c/flow_matching/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["step"], steps);
    assert!(
        last["lr"].as_f64().unwrap() < 0.05 * trained["config"]["train"]["lr"].as_f64().unwrap(),
        "{last}"
    );
}

#[test]
fn exact_velocity_of_the_data_is_a_teacher_that_the_row_names() {
    let dir = folder();
    let methods = ["--preset", "gaussian-mixture", "--methods", "lmd,lsd", "--steps", "3", "--out", "c"];
    let printed = flowmap(dir.path()).args(QUICK).args(methods).assert().success();
    printed.stdout(contains("lmd: distills the exact velocity of the data")).stderr("");
    let config = |run: &str| fs::read_to_string(dir.path().join(run).join("config.toml")).unwrap();
    assert!(config("c/lmd").contains("[teacher]") && !config("c/lsd").contains("[teacher]"));
}

#[test]
fn method_that_diverges_has_a_row_that_says_so_and_ends_nothing() {
    let dir = folder();
    // An infinite loss from the first step on: in units of the base the data are larger than f32 can square.
    fs::write(dir.path().join("huge.csv"), "1e20,1e20\n-1e20,-1e20\n").unwrap();
    let mut data = vec!["--set", "data={kind=\"points\", path=\"huge.csv\"}"];
    data.extend(["--set", "eval.metrics=[\"sliced_w2\"]", "--set", "sigma_data=1.0"]);
    let methods = ["--methods", "flow_matching,lsd", "--steps", "40", "--out", "c"];
    let output = flowmap(dir.path()).args(QUICK).args(data).args(methods).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("lsd failed: training diverged"), "{stderr}");
    assert!(stderr.ends_with("error: no method could be trained\n"), "{stderr}");
    let rows = json(&dir.path().join("c/comparison.json"))["rows"].clone();
    for row in rows.as_array().unwrap() {
        assert!(row["outcome"]["failed"].as_str().unwrap().contains("diverged"), "{row}");
    }
}

#[test]
fn dry_run_prints_the_recipe_of_each_method_and_trains_nothing() {
    let dir = folder();
    let printed = flowmap(dir.path()).args(["compare", "--dry-run"]).assert().success().stderr("");
    let text = String::from_utf8(printed.get_output().stdout.clone()).unwrap();
    for method in METHODS {
        assert!(text.contains(&format!("# {}", method.name)), "{}", method.name);
    }
    assert!(text.contains("kind = \"shortcut\"") && text.contains("# lmd is left out"), "{text}");
    assert!(!dir.path().join("runs").exists());
}

#[test]
fn bad_times_are_refused() {
    for time in ["0", "-3s", "soon", "1d", "", "nan", "inf"] {
        let option = format!("--time={time}");
        refuses(folder().path(), &["compare", &option], 2, &["--time", "60s, 2m or 90"]);
    }
    refuses(folder().path(), &["compare", "--steps", "0"], 2, &["--steps", "0"]);
    refuses(folder().path(), &["compare", "--steps", "3", "--time", "1s"], 2, &["--steps", "--time"]);
}

#[test]
fn methods_that_are_unknown_or_do_not_apply_are_refused() {
    let refuses_methods = |methods: &str, words: &[&str]| {
        refuses(folder().path(), &["compare", "--methods", methods], 2, words);
    };
    refuses_methods("lsd,mean_fow", &["--methods", "`mean_fow`", "did you mean `mean_flow`?"]);
    refuses_methods("lmd", &["--methods", "`lmd`", "[teacher]"]);
    refuses_methods("guided_mean_flow", &["`guided_mean_flow`", "`conditional = true`"]);
    refuses_methods("", &["--methods", "unknown method ``"]);
}

#[test]
fn settings_that_are_not_shared_are_refused() {
    let set = |set: &str, words: &[&str]| refuses(folder().path(), &["compare", "--set", set], 2, words);
    set("objective.1.share=0.5", &["`objective`", "recipe"]);
    set("train.steps=7", &["`train.steps`", "--time"]);
    refuses(folder().path(), &["compare", "--set", "train.lr=-1"], 1, &["`train.lr`", "positive"]);
    refuses(folder().path(), &["compare", "--preset", "chekerboard"], 1, &["did you mean `checkerboard`?"]);
    refuses(folder().path(), &["compare", "absent.toml"], 1, &["absent.toml"]);
    refuses(folder().path(), &["compare", "--json", "absent/a.json"], 1, &["--json absent/a.json"]);
    refuses(folder().path(), &["compare", "--device", "gpu"], 2, &["device `gpu`"]);
    let metric = ["compare", "--steps", "1", "--methods", "lsd", "--set", "eval.metrics=[\"map_error\"]"];
    refuses(folder().path(), &metric, 1, &["`map_error`", "gaussian_mixture"]);
}

#[test]
fn directory_that_holds_something_is_refused() {
    let dir = folder();
    fs::create_dir(dir.path().join("full")).unwrap();
    fs::write(dir.path().join("full/mine.txt"), "mine").unwrap();
    let args = ["--methods", "lsd", "--steps", "1", "--out", "full"];
    let output = flowmap(dir.path()).args(QUICK).args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_one_clear_message(&output.stderr, &["full is not empty", "--out"]);
    assert_eq!(fs::read_dir(dir.path().join("full")).unwrap().count(), 1);
}
