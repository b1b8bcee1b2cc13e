//! Options that are wrong: each is refused with the option, what was expected and what came.

use crate::program::{checkpoint, flowmap, folder, refuses, tiny_run};

/// Checks that `flowmap COMMAND RUN ARGS` on the tiny run is refused.
#[track_caller]
fn refuses_on_run(command: &str, args: &[&str], code: i32, words: &[&str]) {
    let dir = folder();
    let all = [&[command, tiny_run().to_str().unwrap()], args].concat();
    refuses(dir.path(), &all, code, words);
}

#[test]
fn times_out_of_order_are_refused() {
    refuses_on_run("sample", &["--times", "0,0.7,0.4"], 2, &["--times", "0.7", "0.4"]);
    refuses_on_run("sample", &["--times", "0,0.5,0.5,1"], 2, &["--times", "0.5"]);
}

#[test]
fn times_outside_the_unit_interval_are_refused() {
    refuses_on_run("sample", &["--times", "0,1.5"], 2, &["--times", "1.5"]);
    refuses_on_run("sample", &["--times=-0.5,1"], 2, &["--times", "-0.5"]);
    refuses_on_run("sample", &["--times", "0,nan"], 2, &["--times", "NaN"]);
}

#[test]
fn times_that_are_no_numbers_are_refused() {
    refuses_on_run("sample", &["--times", "0,half,1"], 2, &["--times", "half"]);
    refuses_on_run("sample", &["--times", ""], 2, &["--times"]);
    refuses_on_run("sample", &["--times", "0.5"], 2, &["--times"]);
}

#[test]
fn times_and_steps_together_are_refused() {
    refuses_on_run("sample", &["--times", "0,1", "--steps", "2"], 2, &["--times", "--steps"]);
}

#[test]
fn zero_steps_are_refused() {
    refuses(
        folder().path(),
        &["train", "--steps", "0"],
        2,
        &["--steps", "'0'", "expected a whole number from 1 to 9223372036854775807"],
    );
    refuses_on_run("sample", &["--steps", "0"], 2, &["--steps", "'0'", "from 1 to 16777216"]);
    refuses_on_run("eval", &["--steps", "1,0"], 2, &["--steps", "'0'", "from 1 to 16777216"]);
}

#[test]
fn steps_beyond_what_times_or_a_config_can_hold_are_refused() {
    for steps in ["16777217", "4294967296", "18446744073709551616"] {
        refuses_on_run("sample", &["--steps", steps], 2, &["--steps", steps, "from 1 to 16777216"]);
        refuses_on_run("eval", &["--steps", steps], 2, &["--steps", steps, "from 1 to 16777216"]);
    }
    let steps = "9223372036854775808";
    for command in [&["train"][..], &["compare"], &["distill", "exact"]] {
        let args = [command, &["--steps", steps]].concat();
        refuses(folder().path(), &args, 2, &["--steps", steps, "from 1 to 9223372036854775807"]);
    }
}

#[test]
fn negative_numbers_are_values_of_their_option_and_refused_as_such() {
    let expected = "expected a whole number from 0 to 18446744073709551615";
    for command in [&["train"][..], &["compare"], &["distill", "exact"]] {
        let args = [command, &["--seed", "-3"]].concat();
        refuses(folder().path(), &args, 2, &["'-3'", "--seed", expected]);
        let args = [command, &["--steps", "-1"]].concat();
        refuses(folder().path(), &args, 2, &["'-1'", "--steps", "expected a whole number"]);
    }
    for command in ["sample", "eval"] {
        refuses_on_run(command, &["--seed", "-3"], 2, &["'-3'", "--seed", expected]);
        refuses_on_run(command, &["--seed", "0.5"], 2, &["'0.5'", "--seed", expected]);
        refuses_on_run(command, &["--num", "-3"], 2, &["'-3'", "--num", "at least 1"]);
        refuses_on_run(command, &["--steps", "-2"], 2, &["'-2'", "--steps", "from 1"]);
        refuses_on_run(command, &["--ema", "-0.5"], 1, &["-0.5", "expected one of 0.999"]);
        refuses_on_run(command, &["--guidance", "-1"], 1, &["guidance", "no classes"]);
    }
    refuses_on_run("sample", &["--class", "-1"], 1, &["class `-1`", "expected a number"]);
    refuses_on_run("sample", &["--times", "-0.5,1"], 2, &["--times", "-0.5"]);
}

#[test]
fn zero_samples_are_refused() {
    refuses_on_run("sample", &["--num", "0"], 2, &["--num", "'0'", "expected at least 1"]);
    refuses_on_run("sample", &["--num", "-3"], 2, &["-3"]);
    refuses_on_run("eval", &["--num", "0"], 2, &["--num", "'0'", "expected at least 1"]);
}

#[test]
fn device_that_is_not_there_is_refused() {
    for (device, code) in [("cuda:0", 1), ("cuda", 1), ("metal", 1), ("gpu", 2), ("cuda:x", 2)] {
        refuses(folder().path(), &["train", "--device", device], code, &["device", device, "cpu"]);
        refuses_on_run("sample", &["--device", device], code, &["device", device, "cpu"]);
        refuses_on_run("eval", &["--device", device], code, &["device", device, "cpu"]);
        refuses_on_run("plot", &["--device", device], code, &["device", device, "cpu"]);
    }
}

#[test]
fn automatic_device_is_the_processor_where_there_is_no_other() {
    let dir = folder();
    let sample = ["sample", tiny_run().to_str().unwrap(), "--num", "4", "--device", "auto"];
    let output = flowmap(dir.path()).args(sample).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("device: cpu"), "{said}");
}

#[test]
fn class_of_an_unconditional_model_is_refused() {
    refuses_on_run("sample", &["--class", "3"], 1, &["class 3", "0 classes"]);
}

#[test]
fn guidance_of_an_unconditional_model_is_refused() {
    refuses_on_run("sample", &["--guidance", "2"], 1, &["guidance", "no classes"]);
    refuses_on_run("sample", &["--guidance", "inf"], 2, &["--guidance", "finite", "inf"]);
}

#[test]
fn unknown_metric_is_refused_with_the_nearest_one() {
    refuses_on_run(
        "eval",
        &["--metrics", "sliced_w3"],
        2,
        &["--metrics", "`sliced_w3`", "did you mean `sliced_w2`?"],
    );
}

#[test]
fn metric_that_does_not_suit_the_data_is_refused() {
    refuses_on_run(
        "eval",
        &["--metrics", "map_error", "--num", "50"],
        1,
        &["`map_error`", "gaussian_mixture"],
    );
    let moons = ["--metrics", "kl_paper", "--reference", "moons", "--num", "50"];
    refuses_on_run("eval", &moons, 1, &["`kl_paper`", "checkerboard"]);
}

#[test]
fn unknown_sampler_is_refused() {
    refuses_on_run("sample", &["--sampler", "huen"], 2, &["--sampler", "huen", "heun"]);
}

#[test]
fn unknown_moving_average_is_refused() {
    refuses_on_run("sample", &["--ema", "0.5"], 1, &["0.5", "expected one of 0.999"]);
    refuses_on_run("sample", &["--ema", "big"], 2, &["--ema", "'big'", "0.999", "`none`"]);
}

#[test]
fn moving_average_of_a_single_file_is_refused() {
    let file = checkpoint(tiny_run()).join("model.safetensors");
    let args = ["sample", file.to_str().unwrap(), "--ema", "0.5"];
    refuses(folder().path(), &args, 1, &["model.safetensors", "0.5"]);
}

#[test]
fn sampling_into_an_unknown_format_is_refused() {
    refuses_on_run("sample", &["--out", "samples.jpg"], 2, &["samples.jpg", ".npz", ".png", "found .jpg"]);
    refuses_on_run("sample", &["--out", "run.v1"], 2, &["run.v1", "`/` at its end", "found .v1"]);
}

#[test]
fn samples_without_a_reference_are_refused() {
    refuses(folder().path(), &["eval", "--samples", "a.npz"], 2, &["--reference"]);
}

#[test]
fn samples_and_a_model_together_are_refused() {
    refuses_on_run("eval", &["--samples", "a.npz", "--reference", "moons"], 2, &["--samples"]);
}

#[test]
fn unknown_reference_is_refused() {
    refuses_on_run(
        "eval",
        &["--reference", "absent.npz"],
        2,
        &["--reference", "`absent.npz`", "`checkerboard`"],
    );
}

#[test]
fn reference_of_another_shape_is_refused() {
    let words = ["[2]", "[1, 8, 8]"];
    refuses_on_run("eval", &["--reference", "digits", "--num", "50"], 1, &words);
}

#[test]
fn resuming_without_a_run_is_refused() {
    let dir = folder();
    refuses(dir.path(), &["train", "--resume"], 2, &["--resume", "--out"]);
    refuses(dir.path(), &["train", "--resume", "--out", "absent"], 1, &["absent"]);
    refuses(
        dir.path(),
        &["train", "--resume", "--out", "a", "--preset", "digits"],
        2,
        &["--resume", "--set"],
    );
    refuses(dir.path(), &["train", "my.toml", "--resume", "--out", "a"], 2, &["--resume", "--set"]);
}

#[test]
fn seed_that_toml_cannot_hold_is_refused() {
    refuses(folder().path(), &["train", "--seed", "18446744073709551615"], 2, &["--seed", "2^63"]);
    refuses(folder().path(), &["train", "--seed", "-1"], 2, &["-1"]);
}

#[test]
fn model_that_is_not_there_is_refused() {
    let dir = folder();
    for command in ["sample", "eval", "info"] {
        refuses(dir.path(), &[command, "absent"], 1, &["absent", "no such file", "run directory"]);
        refuses(dir.path(), &[command, "."], 1, &["no checkpoint", "run directory"]);
    }
    refuses(dir.path(), &["plot", "absent"], 1, &["absent", "no run directory"]);
}

#[test]
fn unknown_command_is_refused() {
    refuses(folder().path(), &["trian"], 2, &["trian", "train"]);
}
