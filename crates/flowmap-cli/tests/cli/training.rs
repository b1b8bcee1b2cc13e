//! Trainings that would end without an error and with a model of no use: refused, warned of, or right.

use std::fs;
use std::path::Path;

use crate::program::{TINY, checkpoint, digits_run, flowmap, folder, refuses, train_tiny};

/// C07 of the cases: a term that gets no row of the batch.
#[test]
fn term_without_a_row_is_refused_with_share_and_batch() {
    let dir = folder();
    let train = |sets: &[&str], words: &[&str]| {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let args: Vec<&str> = ["train"].into_iter().chain(TINY).chain(sets).collect();
        refuses(dir.path(), &args, 1, words);
    };
    let words = ["key `objective.0.share`", "at least one row", "0.01 of `train.batch` = 64"];
    train(&["objective.0.share=0.01", "objective.1.share=0.99"], &words);
    train(&["train.batch=1"], &["key `objective.0.share`", "0.6 of `train.batch` = 1"]);
    let three = ["train.batch=3", "objective.0.share=0.25", "objective.1.share=0.75"];
    train(&three, &["key `objective.0.share`", "0.25 of `train.batch` = 3"]);
}

/// A conditional run that hides no label.
fn shown(dir: &Path) {
    fs::write(
        dir.join("shown.toml"),
        "name = \"shown\"\nconditional = true\n[data]\nkind = \"eight_gaussians\"\n[schedule]\nkind = \"cosine\"\n[network]\nkind = \"mlp\"\n\
         [[objective]]\nkind = \"flow_matching\"\nshare = 0.75\n[[objective]]\nkind = \"lsd\"\nshare = 0.25\n",
    )
    .unwrap();
    let args = [&["train", "shown.toml", "--out", "run"], &TINY[..]].concat();
    flowmap(dir).args(args).assert().success();
}

/// C06 of the cases: guidance away from a model without a label that was never trained.
#[test]
fn guidance_of_a_model_that_saw_every_label_is_refused_except_for_scale_one() {
    let dir = folder();
    shown(dir.path());
    let words = ["`shown`", "`train.label_dropout` = 0", "`train.label_dropout` above 0"];
    for scale in ["2", "0", "1.5", "-1"] {
        let guided = format!("--guidance={scale}");
        refuses(dir.path(), &["sample", "run", "--num", "5", &guided, "--out", "x.npz"], 1, &words);
        refuses(dir.path(), &["eval", "run", "--num", "50", &guided], 1, &words);
    }
    let args = ["sample", "run", "--num", "5", "--guidance", "1", "--out", "x.npz"];
    flowmap(dir.path()).args(args).assert().success().stderr("");
    // With a guide no label is hidden.
    let guided = ["sample", "run", "--num", "5", "--guidance", "2", "--guide", "run", "--out", "x.npz"];
    flowmap(dir.path()).args(guided).assert().success();
    let distil = ["distill", "run", "--set", "teacher.guidance=2.0", "--out", "student"];
    refuses(dir.path(), &distil, 1, &words);
    // Nor can the run itself be judged so.
    let resume = ["train", "--resume", "--out", "run", "--set", "eval.guidance=2.0"];
    refuses(dir.path(), &resume, 1, &["key `train.label_dropout`", "`eval.guidance`"]);
}

#[test]
fn guidance_of_a_model_that_does_not_say_how_it_was_trained_is_warned_of() {
    let dir = folder();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(checkpoint(digits_run()).join(name), dir.path().join(name)).unwrap();
    }
    let sample = ["sample", "model.safetensors", "--num", "5", "--guidance", "2", "--out", "x.npz"];
    flowmap(dir.path()).args(sample).assert().success().stderr("");
    let path = dir.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("trained");
    fs::write(&path, config.to_string()).unwrap();
    let output = flowmap(dir.path()).args(sample).assert().success().get_output().stderr.clone();
    let text = String::from_utf8(output).unwrap();
    assert!(
        text.starts_with("warning: digits: guidance 2") && text.contains("train.label_dropout"),
        "{text}"
    );
}

/// C09b of the cases: an average that is its random start.
#[test]
fn average_that_never_moves_is_warned_of_in_the_program_the_report_and_the_numbers() {
    let dir = folder();
    let args = [&["train", "--out", "run", "--set", "train.ema_every=500"], &TINY[..]].concat();
    let output = flowmap(dir.path()).args(args).assert().success().get_output().stderr.clone();
    let text = String::from_utf8(output).unwrap();
    let words = ["moves 0 times in 20 steps", "is the random start at 100 %", "ema_every"];
    assert!(words.iter().all(|word| text.contains(word)) && text.contains("warning: train.ema: "), "{text}");
    for file in ["report.html", "evaluation.json"] {
        let text = fs::read_to_string(dir.path().join("run").join(file)).unwrap();
        assert!(text.contains(words[0]), "{file}");
    }
    train_tiny(dir.path(), "moved", &[]);
    assert!(!fs::read_to_string(dir.path().join("moved/report.html")).unwrap().contains("random start"));
}

/// C01 of the cases: the unit of the data is no part of the result.
#[test]
fn data_of_any_scale_are_learned_alike() {
    let dir = folder();
    let value = |scale: f64| {
        let means = format!("data.means=[[{scale:e},0.0],[-{scale:e},0.0]]");
        let stds = format!("data.stds=[{:e}]", 0.1 * scale);
        let out = format!("run{scale:e}");
        let sets =
            ["data.kind=gaussian_mixture", &means, &stds, "eval.metrics=[\"kl_exact\"]", "eval.num=4000"];
        let sets = sets.into_iter().flat_map(|set| ["--set", set]);
        let args: Vec<&str> =
            ["train", "--out", &out].into_iter().chain(TINY).chain(sets).chain(["--steps", "150"]).collect();
        flowmap(dir.path()).args(args).assert().success();
        let text = fs::read(dir.path().join(out).join("evaluation.json")).unwrap();
        let evaluation: serde_json::Value = serde_json::from_slice(&text).unwrap();
        evaluation["rows"][0]["metrics"]["kl_exact"]["value"].as_f64().unwrap()
    };
    let expected = value(1.0);
    for scale in [1e-5, 1e-3, 1e4] {
        let found = value(scale);
        assert!((found / expected - 1.0).abs() < 0.02, "{scale}: {found}, expected {expected}");
    }
    let means = ["--set", "data={kind=\"gaussian_mixture\", means=[[1e35,0.0],[-1e35,0.0]], stds=[1e34]}"];
    let args = [&["train", "--out", "far"], &TINY[..], &means].concat();
    let output = flowmap(dir.path()).args(args).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: ") && !dir.path().join("far").exists(), "{text}");
}
