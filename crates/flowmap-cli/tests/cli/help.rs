//! Help, presets and completions: what people read first.

use std::process::{Command, Stdio};

use predicates::str::contains;

use crate::program::{flowmap, folder};

const COMMANDS: [&str; 7] = ["train", "sample", "eval", "presets", "info", "plot", "bench"];

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

#[test]
fn every_listed_preset_prints_a_config_that_resolves() {
    let dir = folder();
    let list = flowmap(dir.path()).arg("presets").output().unwrap();
    let names: Vec<String> = String::from_utf8(list.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect();
    assert_eq!(names[0], "checkerboard");
    for name in &names {
        let printed = flowmap(dir.path()).args(["presets", name]).output().unwrap();
        std::fs::write(dir.path().join("printed.toml"), &printed.stdout).unwrap();
        let resolved =
            |args: &[&str]| flowmap(dir.path()).arg("train").args(args).arg("--dry-run").output().unwrap();
        let (of_file, of_preset) = (resolved(&["printed.toml"]), resolved(&["--preset", name]));
        assert!(of_file.status.success());
        assert_eq!(of_file.stdout, of_preset.stdout);
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
