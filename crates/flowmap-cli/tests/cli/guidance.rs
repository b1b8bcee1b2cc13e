//! Models that take the scale of guidance as an input, beside models that are guided by two evaluations.

use std::fs;
use std::path::Path;

use crate::program::{checkpoint, digits_run, flowmap, folder, guided_run, refuses, tiny_run};

/// What the program says with `args`.
fn says(dir: &Path, args: &[&str]) -> String {
    let output = flowmap(dir).args(args).assert().success().get_output().stdout.clone();
    String::from_utf8(output).unwrap()
}

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn scale_as_an_input_costs_one_evaluation_and_without_it_two() {
    let dir = folder();
    let sample = |run: &Path, more: &[&str]| {
        says(dir.path(), &[&["sample", str(run), "--steps", "1", "--num", "5"], more].concat())
    };
    assert!(
        sample(guided_run(), &["--guidance", "2"]).ends_with("5 samples by flow_map, 1 evaluations each\n")
    );
    assert!(
        sample(digits_run(), &["--guidance", "2"]).ends_with("5 samples by flow_map, 2 evaluations each\n")
    );
    assert!(sample(digits_run(), &[]).ends_with("5 samples by flow_map, 1 evaluations each\n"));
}

#[test]
fn samples_differ_by_scale_and_start_at_the_smallest() {
    let dir = folder();
    let sample = |out: &str, more: &[&str]| {
        let args = [&["sample", str(guided_run()), "--num", "6", "--out", out], more].concat();
        says(dir.path(), &args);
        fs::read(dir.path().join(out)).unwrap()
    };
    let none = sample("none.npz", &[]);
    assert!(none == sample("one.npz", &["--guidance", "1"]));
    assert!(none != sample("three.npz", &["--guidance", "3"]));
}

#[test]
fn scale_that_the_model_was_not_trained_for_is_refused_with_the_range() {
    let (dir, run) = (folder(), str(guided_run()));
    for scale in ["3.5", "0.5"] {
        let words = ["guidance", scale, "out of range", "1 to 3"];
        refuses(dir.path(), &["sample", run, "--guidance", scale], 1, &words);
        refuses(dir.path(), &["eval", run, "--guidance", scale], 1, &words);
    }
    refuses(dir.path(), &["eval", run, "--guidance", "nan"], 2, &["--guidance", "finite number", "'nan'"]);
    refuses(dir.path(), &["eval", str(tiny_run()), "--guidance", "2"], 1, &["no classes"]);
}

#[test]
fn info_and_config_say_which_scales_a_model_takes() {
    let dir = folder();
    assert!(says(dir.path(), &["info", str(guided_run())]).contains("guidance      1 to 3\n"));
    assert!(!says(dir.path(), &["info", str(digits_run())]).contains("guidance"));
    let config = |run: &Path| fs::read_to_string(checkpoint(run).join("config.json")).unwrap();
    assert!(config(guided_run()).contains("\"guidance\""));
    assert!(!config(digits_run()).contains("guidance"));
}

#[test]
fn eval_measures_at_the_scale_asked_for() {
    let dir = folder();
    let json = |more: &[&str]| -> serde_json::Value {
        let args = ["eval", str(guided_run()), "--num", "400", "--steps", "1", "--json", "-"];
        serde_json::from_str(&says(dir.path(), &[&args, more].concat())).unwrap()
    };
    let (plain, one, guided) = (json(&[]), json(&["--guidance", "1"]), json(&["--guidance", "3"]));
    assert_eq!(plain, one);
    assert_ne!(plain["rows"], guided["rows"]);
    assert_ne!(plain["laws"]["lagrangian"], guided["laws"]["lagrangian"]);
    // The exact flow is that of all classes together, which is not the map of a class.
    assert_eq!(plain["laws"]["tangent"], serde_json::Value::Null);
    assert!(plain["rows"][0]["metrics"]["map_error"].is_null());
}

#[test]
fn run_with_guidance_draws_its_scales() {
    assert!(guided_run().join("figures/guidance.png").is_file());
    assert!(!digits_run().join("figures/guidance.png").exists());
}
