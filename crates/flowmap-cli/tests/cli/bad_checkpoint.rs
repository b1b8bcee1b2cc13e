//! Checkpoints that are damaged: each is refused with the file, the tensor or the key, what was expected and what came.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor, safetensors};

use crate::program::{checkpoint, copied_run, folder, refuses};

const EMA: &str = "ema-0.999.safetensors";
const LIVE: &str = "model.safetensors";

/// Rewrites a file of tensors.
fn rewrite(file: &Path, change: impl Fn(&mut HashMap<String, Tensor>)) {
    let mut tensors = safetensors::load(file, &Device::Cpu).unwrap();
    change(&mut tensors);
    safetensors::save(&tensors, file).unwrap();
}

/// Checks that a run whose tensors are changed is refused by sample, eval, info and a resumed training.
#[track_caller]
fn refuses_tensors(change: impl Fn(&mut HashMap<String, Tensor>), words: &[&str]) {
    let dir = folder();
    let last = checkpoint(&copied_run(dir.path()));
    rewrite(&last.join(EMA), &change);
    refuses_run(dir.path(), &[&[EMA], words].concat());
    rewrite(&last.join(LIVE), &change);
    let resume = ["train", "--resume", "--out", "run", "--steps", "30"];
    refuses(dir.path(), &resume, 1, &[&["run/checkpoints/step-0000020"], words].concat());
}

/// Checks that sample, eval and info refuse `dir/run`.
#[track_caller]
fn refuses_run(dir: &Path, words: &[&str]) {
    refuses(dir, &["sample", "run", "--num", "4"], 1, words);
    refuses(dir, &["eval", "run", "--num", "50", "--json", "out.json"], 1, words);
    refuses(dir, &["info", "run"], 1, words);
}

/// Checks that a run in which `file` of the checkpoint has other bytes is refused.
#[track_caller]
fn refuses_bytes(file: &str, change: impl Fn(Vec<u8>) -> Vec<u8>, words: &[&str]) {
    let dir = folder();
    let path = checkpoint(&copied_run(dir.path())).join(file);
    fs::write(&path, change(fs::read(&path).unwrap())).unwrap();
    refuses_run(dir.path(), &[&[file], words].concat());
}

#[test]
fn missing_tensor_is_refused() {
    refuses_tensors(|t| drop(t.remove("layers.1.weight")), &["`layers.1.weight`", "[32, 32]", "missing"]);
}

#[test]
fn extra_tensor_is_refused() {
    let extra = |t: &mut HashMap<String, Tensor>| {
        t.insert("layers.9.weight".into(), Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap());
    };
    refuses_tensors(extra, &["unexpected tensor", "`layers.9.weight`", "[2, 3]"]);
}

#[test]
fn misshapen_tensor_is_refused() {
    let misshapen = |t: &mut HashMap<String, Tensor>| {
        t.insert("layers.1.bias".into(), Tensor::zeros(31, DType::F32, &Device::Cpu).unwrap());
    };
    refuses_tensors(misshapen, &["`layers.1.bias`", "[31]", "[32]"]);
}

#[test]
fn nan_in_a_tensor_is_refused() {
    let nan = |t: &mut HashMap<String, Tensor>| {
        let mut values = vec![0f32; 32];
        values[7] = f32::NAN;
        t.insert("layers.1.bias".into(), Tensor::from_vec(values, 32, &Device::Cpu).unwrap());
    };
    refuses_tensors(nan, &["`layers.1.bias`", "not finite"]);
}

#[test]
fn truncated_tensors_are_refused() {
    refuses_bytes(EMA, |b| b[..b.len() - 1].to_vec(), &["no valid safetensors file"]);
    refuses_bytes(EMA, |b| b[..20].to_vec(), &["no valid safetensors file"]);
    refuses_bytes(EMA, |_| Vec::new(), &["no valid safetensors file"]);
}

#[test]
fn tensors_with_a_header_of_absurd_length_are_refused() {
    let absurd = |b: Vec<u8>| [&u64::MAX.to_le_bytes(), &b[8..]].concat();
    refuses_bytes(EMA, absurd, &["no valid safetensors file"]);
}

#[test]
fn truncated_config_is_refused_with_line_and_column() {
    refuses_bytes("config.json", |b| b[..b.len() / 2].to_vec(), &["line", "column"]);
    refuses_bytes("config.json", |_| Vec::new(), &["line 1"]);
}

#[test]
fn config_with_a_key_too_many_or_too_few_is_refused() {
    let other = |from: &'static str, to: &'static str| {
        move |b: Vec<u8>| String::from_utf8(b).unwrap().replacen(from, to, 1).into_bytes()
    };
    refuses_bytes("config.json", other("\"name\"", "\"nome\""), &["`nome`", "`name`"]);
    refuses_bytes("config.json", other("\"n_classes\": 0,", ""), &["missing field `n_classes`"]);
}

#[test]
fn other_format_version_is_refused() {
    let newer = |b: Vec<u8>| {
        String::from_utf8(b)
            .unwrap()
            .replacen("\"format_version\": 1", "\"format_version\": 2", 1)
            .into_bytes()
    };
    refuses_bytes("config.json", newer, &["format version 2", "reads version 1"]);
}

#[test]
fn conventions_that_this_program_does_not_follow_are_refused() {
    let other = |from: &'static str, to: &'static str| {
        move |b: Vec<u8>| String::from_utf8(b).unwrap().replacen(from, to, 1).into_bytes()
    };
    let words = ["`time_direction`", "\"noise at 0, data at 1\"", "\"data at 0, noise at 1\""];
    refuses_bytes("config.json", other("noise at 0, data at 1", "data at 0, noise at 1"), &words);
    refuses_bytes(
        "config.json",
        other("\"second_time\": \"t\"", "\"second_time\": \"t - s\""),
        &["`second_time`", "\"t - s\""],
    );
}

#[test]
fn pointer_to_a_missing_checkpoint_is_refused() {
    let dir = folder();
    let run = copied_run(dir.path());
    fs::write(run.join("checkpoints/latest"), "step-0009999").unwrap();
    refuses_run(dir.path(), &["step-0009999", "`latest`"]);
    refuses(dir.path(), &["train", "--resume", "--out", "run"], 1, &["step-0009999", "`latest`"]);
}

#[test]
fn tensors_without_config_are_refused() {
    let dir = folder();
    fs::copy(checkpoint(&copied_run(dir.path())).join(LIVE), dir.path().join("alone.safetensors")).unwrap();
    refuses(dir.path(), &["sample", "alone.safetensors"], 1, &["alone.safetensors", "no config.json"]);
}

#[test]
fn resuming_without_the_state_or_the_optimizer_is_refused() {
    let missing = [
        ("state.json", "No such file"),
        ("optimizer.safetensors", "No such file"),
        (EMA, "key `train.ema`: a resumed run goes on with what its checkpoint has"),
    ];
    for (file, word) in missing {
        let dir = folder();
        fs::remove_file(checkpoint(&copied_run(dir.path())).join(file)).unwrap();
        refuses(dir.path(), &["train", "--resume", "--out", "run", "--steps", "30"], 1, &[file, word]);
    }
}

#[test]
fn resuming_with_the_state_of_another_optimizer_is_refused() {
    let dir = folder();
    let file = checkpoint(&copied_run(dir.path())).join("optimizer.safetensors");
    rewrite(&file, |tensors| {
        let name = tensors.keys().min().unwrap().clone();
        tensors.remove(&name);
    });
    refuses(
        dir.path(),
        &["train", "--resume", "--out", "run", "--steps", "30"],
        1,
        &["step-0000020", "missing"],
    );
}

#[test]
fn resuming_with_another_network_is_refused() {
    let dir = folder();
    copied_run(dir.path());
    let args = ["train", "--resume", "--out", "run", "--set", "network.width=48"];
    refuses(dir.path(), &args, 1, &["step-0000020", "key `network.width`", "expected 32", "found 48"]);
}
