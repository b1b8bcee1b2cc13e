//! Runs: the files that a training leaves, and what can be done with them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use predicates::str::contains;
use serde_json::Value;

use crate::program::{
    TINY, checkpoint, copied_run, digits_run, flowmap, folder, snapshot, tiny_run, train_tiny,
};

#[test]
fn run_holds_the_files_of_its_description_and_no_others() {
    let run = tiny_run();
    let files: BTreeSet<String> = snapshot(run)
        .into_iter()
        .filter(|(_, bytes)| bytes.is_some())
        .map(|(path, _)| path.strip_prefix(run).unwrap().display().to_string())
        .collect();
    let expected = [
        "checkpoints/latest",
        "checkpoints/step-0000020/config.json",
        "checkpoints/step-0000020/config.toml",
        "checkpoints/step-0000020/ema-0.999.safetensors",
        "checkpoints/step-0000020/model.safetensors",
        "checkpoints/step-0000020/optimizer.safetensors",
        "checkpoints/step-0000020/state.json",
        "config.toml",
        "evaluation.json",
        "figures/loss.png",
        "figures/loss_bins.png",
        "figures/quality.png",
        "figures/samples.png",
        "figures/trajectories.png",
        "metrics.jsonl",
        "report.html",
    ];
    assert_eq!(files, expected.map(str::to_owned).into());
}

#[test]
fn config_of_a_run_resolves_to_itself() {
    let config = tiny_run().join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let dir = folder();
    flowmap(dir.path()).arg("train").arg(config).arg("--dry-run").assert().success().stdout(text);
}

#[test]
fn log_has_a_line_for_every_fifth_step_with_the_promised_keys() {
    let lines = log(tiny_run());
    let steps: Vec<u64> = lines.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [5, 10, 15, 20]);
    for line in &lines {
        for key in [
            "samples",
            "wall_s",
            "loss",
            "loss/flow_matching",
            "loss/lsd",
            "bad_steps",
            "grad_norm",
            "lr",
            "samples_per_s",
            "data_wait",
        ] {
            assert!(line[key].is_number(), "{key}: {line}");
        }
        assert_eq!(line["samples"].as_u64().unwrap(), 64 * line["step"].as_u64().unwrap());
    }
}

#[test]
fn figures_are_pictures() {
    for run in [tiny_run(), digits_run()] {
        for name in ["loss", "loss_bins", "quality", "samples", "trajectories"] {
            let image = image::open(run.join(format!("figures/{name}.png"))).unwrap();
            assert!(
                image.width() >= 200 && image.height() >= 100,
                "{name}: {}x{}",
                image.width(),
                image.height()
            );
        }
    }
}

#[test]
fn report_is_one_file_that_asks_for_no_other() {
    let html = fs::read_to_string(tiny_run().join("report.html")).unwrap();
    for outside in ["src=\"http", "href=\"http", "url(http", "@import", "<link", "src=\"figures"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert_eq!(html.matches("src=\"data:image/png;base64,").count(), 5);
    assert!(html.contains("KL exact"));
}

#[test]
fn evaluation_has_the_numbers_of_every_number_of_steps() {
    let evaluation: Value =
        serde_json::from_slice(&fs::read(tiny_run().join("evaluation.json")).unwrap()).unwrap();
    assert_eq!(evaluation["num"], 500);
    let rows = evaluation["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["steps"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    for row in rows {
        assert!(row["metrics"]["kl_exact"]["value"].is_number(), "{row}");
        assert!(row["metrics"]["kl_exact"]["floor"].is_number(), "{row}");
    }
    assert!(evaluation["laws"]["semigroup"]["mean"].is_number());
}

#[test]
fn results_go_to_stdout_and_nothing_else_to_stderr_without_a_terminal() {
    let dir = folder();
    let output = flowmap(dir.path()).arg("train").args(TINY).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("KL exact") && table.contains("floor") && table.contains("semigroup"), "{table}");
    assert!(dir.path().join("runs/checkerboard/report.html").is_file());
    // The next run of that name goes beside it.
    let output =
        flowmap(dir.path()).args(["train", "--set", "network.hidden=1"]).args(TINY).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("runs/checkerboard-2"));
}

#[test]
fn run_on_a_file_of_points_repeats_from_its_own_config_anywhere() {
    let dir = folder();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let rows: String = (0..200).map(|i| format!("{},{}\n", f64::from(i).cos(), f64::from(i).sin())).collect();
    fs::write(dir.path().join("sub/points.csv"), rows).unwrap();
    train_tiny(dir.path(), "run", &["--set", "data.kind=points", "--set", "data.path=sub/points.csv"]);
    let text = fs::read_to_string(dir.path().join("run/config.toml")).unwrap();
    flowmap(&dir.path().join("sub"))
        .args(["train", "../run/config.toml", "--dry-run"])
        .assert()
        .success()
        .stdout(text);
    flowmap(&dir.path().join("sub"))
        .args(["eval", "../run", "--num", "50", "--steps", "1"])
        .assert()
        .success();
}

#[test]
fn info_says_what_a_run_a_checkpoint_and_a_file_are() {
    let dir = folder();
    let last = checkpoint(tiny_run());
    for model in [tiny_run(), &last, &last.join("model.safetensors")] {
        let table = flowmap(dir.path()).arg("info").arg(model).assert().success();
        table
            .stdout(contains("checkerboard"))
            .stdout(contains("layers.0.weight"))
            .stdout(contains("noise at 0"));
        let json = flowmap(dir.path()).arg("info").arg(model).args(["--format", "json"]).output().unwrap();
        let info: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(info["config"]["shape"], serde_json::json!([2]));
        assert_eq!(info["tensors"]["layers.1.weight"], serde_json::json!([32, 32]));
    }
}

#[test]
fn plot_draws_lost_figures_again_bit_for_bit() {
    let dir = folder();
    let run = copied_run(dir.path());
    let figures = snapshot(&run.join("figures"));
    fs::remove_dir_all(run.join("figures")).unwrap();
    fs::remove_file(run.join("report.html")).unwrap();
    flowmap(dir.path()).args(["plot", "run"]).assert().success().stdout(contains("run/report.html"));
    assert!(run.join("report.html").is_file());
    assert!(snapshot(&run.join("figures")) == figures);
}

/// The lines of metrics.jsonl.
fn log(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
