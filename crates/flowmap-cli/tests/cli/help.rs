//! Help, presets and completions: what people read first.

use std::process::{Command, Stdio};

use flowmap_nn::method::METHODS;
use predicates::str::contains;
use serde_json::Value;

use crate::program::{flowmap, folder, refuses};

const COMMANDS: [&str; 9] =
    ["train", "distill", "compare", "sample", "eval", "presets", "info", "plot", "bench"];

#[test]
fn help_of_every_command_has_examples_of_that_command() {
    let dir = folder();
    flowmap(dir.path()).arg("--help").assert().success().stdout(contains("Examples:\n  flowmap train"));
    for command in COMMANDS {
        let help = flowmap(dir.path()).args([command, "--help"]).assert().success();
        help.stdout(contains(format!("Examples:\n  flowmap {command}"))).stderr("");
    }
}

#[test]
fn no_arguments_print_help_as_wrong_usage() {
    flowmap(folder().path()).assert().code(2).stderr(contains("Usage: flowmap <COMMAND>"));
}

#[test]
fn version_is_that_of_the_package() {
    let version = concat!("flowmap ", env!("CARGO_PKG_VERSION"), "\n");
    flowmap(folder().path()).arg("--version").assert().success().stdout(version);
}

#[test]
fn completions_of_every_shell_know_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = flowmap(folder().path()).args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

/// What `flowmap presets --json` prints.
fn listing() -> Value {
    let output = flowmap(folder().path()).args(["presets", "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn listing_shows_every_preset_and_every_method() {
    let printed = flowmap(folder().path()).arg("presets").assert().success();
    let text = String::from_utf8(printed.get_output().stdout.clone()).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for preset in flowmap_train::PRESETS {
        assert!(names.contains(&preset.name), "{}", preset.name);
    }
    for method in METHODS {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(method.name)).unwrap();
        let [on_tape, off_tape] = [method.on_tape, method.off_tape].map(|cost| cost.to_string());
        for part in [method.title, method.arxiv, &on_tape, &off_tape, method.when] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    assert_eq!(listing()["methods"].as_array().unwrap().len(), METHODS.len());
}

#[test]
fn terms_of_every_method_are_toml_that_a_config_can_take() {
    let dir = folder();
    for method in METHODS {
        let printed = flowmap(dir.path()).args(["presets", method.name]).output().unwrap();
        assert!(String::from_utf8_lossy(&printed.stdout).contains(method.arxiv));
        let mut text = String::from_utf8(printed.stdout).unwrap();
        if text.contains("It needs a [teacher]") {
            text.push_str("[teacher]\nkind = \"model\"\npath = \"absent\"\n");
        }
        std::fs::write(dir.path().join("terms.toml"), text).unwrap();
        flowmap(dir.path())
            .args(["train", "--preset", "checkerboard", "terms.toml", "--dry-run"])
            .assert()
            .success()
            .stdout(contains(format!("kind = \"{}\"", method.name)));
    }
    refuses(dir.path(), &["presets", "lds"], 1, &["`lds`", "did you mean `lsd`?", "`digits`", "`psd`"]);
    refuses(dir.path(), &["presets", "lsd", "--json"], 2, &["--json"]);
}

#[test]
fn costs_of_the_methods_are_those_of_the_page_of_objectives() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/objectives.md");
    let page = std::fs::read_to_string(page).unwrap();
    for method in METHODS {
        let row = page.lines().find(|line| line.starts_with(&format!("| [`{}`]", method.name))).unwrap();
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        // What a cell says of other choices follows a semicolon.
        let cost = |cell: &str| cell.split(';').next().unwrap_or_default().to_owned();
        let expected = [method.arxiv.to_owned(), method.on_tape.to_string(), method.off_tape.to_string()];
        assert_eq!([cells[2].to_owned(), cost(cells[3]), cost(cells[4])], expected, "{}", method.name);
    }
}

#[test]
fn every_listed_preset_prints_a_config_that_resolves() {
    let dir = folder();
    let names: Vec<String> = listing()["presets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|preset| preset["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names[0], "checkerboard");
    for name in &names {
        let printed = flowmap(dir.path()).args(["presets", name]).output().unwrap();
        std::fs::write(dir.path().join("printed.toml"), &printed.stdout).unwrap();
        let resolved =
            |args: &[&str]| flowmap(dir.path()).arg("train").args(args).arg("--dry-run").output().unwrap();
        let (of_file, of_preset) = (resolved(&["printed.toml"]), resolved(&["--preset", name]));
        assert!(of_file.status.success());
        // Paths of a file start where the file is.
        let here = format!("{}/", dir.path().display());
        let of_file = String::from_utf8(of_file.stdout).unwrap().replace(&here, "");
        assert_eq!(of_file, String::from_utf8(of_preset.stdout).unwrap());
    }
}

#[test]
fn dry_run_prints_a_config_that_resolves_to_itself() {
    let dir = folder();
    let first = flowmap(dir.path())
        .args(["train", "--dry-run", "--seed", "7", "--set", "train.lr=1e-3"])
        .output()
        .unwrap();
    let text = String::from_utf8(first.stdout.clone()).unwrap();
    assert!(text.contains("seed = 7") && text.contains("lr = 0.001"), "{text}");
    std::fs::write(dir.path().join("my.toml"), &first.stdout).unwrap();
    flowmap(dir.path()).args(["train", "my.toml", "--dry-run"]).assert().success().stdout(text);
    assert!(!dir.path().join("runs").exists());
}

#[test]
fn output_closed_early_is_no_failure() {
    for args in
        [&["presets"][..], &["presets", "checkerboard"], &["completions", "bash"], &["train", "--dry-run"]]
    {
        let mut program = Command::new(env!("CARGO_BIN_EXE_flowmap"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(program.stdout.take());
        let output = program.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn messages_are_as_written_down() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}
