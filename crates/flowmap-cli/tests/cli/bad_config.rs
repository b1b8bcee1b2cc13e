//! Configs that are wrong: each is refused with the key, what was expected and what came.

use std::fs;

use crate::program::{folder, refuses};

/// Checks that training with `--set SET` is refused with all of `words`.
#[track_caller]
fn refuses_set(set: &str, words: &[&str]) {
    let dir = folder();
    refuses(dir.path(), &["train", "--set", set], 1, words);
}

/// Checks that training from a file with this text is refused with all of `words`.
#[track_caller]
fn refuses_file(text: &str, words: &[&str]) {
    let dir = folder();
    fs::write(dir.path().join("my.toml"), text).unwrap();
    refuses(dir.path(), &["train", "my.toml"], 1, words);
}

#[test]
fn unknown_key_is_refused_with_the_nearest_key() {
    refuses_set(
        "train.btach=64",
        &["--set train.btach=64", "`train.btach`", "unknown key", "did you mean `batch`?"],
    );
    refuses_set("network.widht=64", &["`network.widht`", "did you mean `width`?"]);
}

#[test]
fn unknown_key_in_a_file_is_refused_with_the_file() {
    let text = "name = \"a\"\nsede = 3\n[data]\nkind = \"checkerboard\"\n[network]\nkind = \"mlp\"\n\n[[objective]]\nkind = \"lsd\"\n";
    refuses_file(text, &["my.toml", "`sede`", "did you mean `seed`?"]);
}

#[test]
fn wrong_type_is_refused() {
    refuses_set("train.batch=many", &["`train.batch`", "expected usize", "\"many\""]);
    refuses_set("eval.steps=3", &["`eval.steps`", "expected a sequence", "integer `3`"]);
    refuses_set("network.width=[1]", &["`network.width`", "sequence"]);
}

#[test]
fn value_out_of_range_is_refused() {
    refuses_set("train.lr=-1", &["`train.lr`", "expected a positive number", "found -1"]);
    refuses_set("train.lr=nan", &["`train.lr`", "expected a positive number", "found NaN"]);
    refuses_set("train.batch=0", &["`train.batch`", "expected at least 1", "found 0"]);
    refuses_set("train.ema=[1.0]", &["`train.ema`", "found [1.0]"]);
    refuses_set("network.width=0", &["`network.width`", "expected at least 1", "found 0"]);
    refuses_set("eval.steps=[4,0]", &["`eval.steps`", "found [4, 0]"]);
    refuses_set("name=\"../up\"", &["`name`", "a name for a directory", "../up"]);
}

#[test]
fn value_out_of_range_in_any_objective_names_that_objective() {
    refuses_set("objective.1.share=-0.25", &["`objective.1.share`", "found -0.25"]);
    refuses_set("objective.1.weight=-1.0", &["`objective.1.weight`", "found -1"]);
}

#[test]
fn shares_that_do_not_sum_to_one_are_refused() {
    // One term alone, so that the claim does not depend on the preset.
    let alone = "objective=[{kind='lsd',share=0.5}]";
    refuses_set(alone, &["`objective`", "sum to 0.5", "expected 1"]);
}

#[test]
fn file_that_is_not_toml_is_refused_with_line_and_column() {
    refuses_file("name = \"a\"\nseed = = 3\n", &["my.toml", "not valid TOML", "line 2", "column 8"]);
}

#[test]
fn empty_config_file_is_refused_with_what_is_missing() {
    refuses_file("", &["my.toml", "missing"]);
}

#[test]
fn missing_config_file_is_refused() {
    let dir = folder();
    refuses(dir.path(), &["train", "absent.toml"], 1, &["absent.toml", "No such file"]);
}

#[test]
fn unknown_preset_is_refused_with_the_nearest_one() {
    let words = ["`checkerbord`", "did you mean `checkerboard`?", "`digits`"];
    let dir = folder();
    refuses(dir.path(), &["train", "--preset", "checkerbord"], 1, &words);
    refuses(dir.path(), &["presets", "checkerbord"], 1, &words);
}

#[test]
fn unknown_objective_is_refused_with_the_nearest_one() {
    refuses_set(
        "objective.1.kind=lds",
        &["`objective.1.kind`", "`lds`", "did you mean `lsd`?", "flow_matching"],
    );
}

#[test]
fn unknown_interpolant_and_data_are_refused_with_the_nearest_one() {
    refuses_set("interpolant=lineer", &["`interpolant`", "`lineer`", "did you mean `linear`?"]);
    refuses_set("data.kind=checkerbord", &["`data.kind`", "`checkerbord`", "did you mean `checkerboard`?"]);
}

#[test]
fn conditional_model_of_data_without_labels_is_refused() {
    refuses_set("conditional=true", &["conditional", "checkerboard", "no labels"]);
}

#[test]
fn metric_that_does_not_suit_the_data_is_refused_before_the_training() {
    refuses_set("eval.metrics=[\"map_error\"]", &["`map_error`", "gaussian_mixture"]);
    refuses_set("eval.metrics=[\"kl_exakt\"]", &["`eval.metrics`", "`kl_exakt`", "did you mean `kl_exact`?"]);
}

#[test]
fn set_without_equals_sign_is_refused() {
    refuses_set("train.batch", &["KEY=VALUE", "`train.batch`"]);
    refuses_set("=3", &["KEY=VALUE", "`=3`"]);
    refuses_set("train..batch=3", &["KEY=VALUE", "`train..batch=3`"]);
}

#[test]
fn index_beyond_the_list_is_refused() {
    refuses_set("objective.7.weight=2.0", &["objective.7"]);
}
