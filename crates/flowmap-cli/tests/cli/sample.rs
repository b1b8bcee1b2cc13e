//! `flowmap sample`: what it writes, and that a sample depends on the seed and its own number alone.

use std::path::Path;

use flowmap_data::{FiniteSet, PointsConfig};

use crate::program::{
    checkpoint, digits_run, flowmap, folder, independent_run, refuses, tiny_run, train_tiny, unequal_run,
    velocity_run,
};

/// Rows of a network's output may differ in the last bits with the number of rows beside them.
const TOLERANCE: f32 = 1e-5;

/// Samples of `run` with `args`, written to `dir/out`.
fn sample(dir: &Path, run: &Path, out: &str, args: &[&str]) {
    flowmap(dir).arg("sample").arg(run).args(["--out", out]).args(args).assert().success().stderr("");
}

/// An array of an NPZ file.
fn array(dir: &Path, file: &str, name: &str) -> FiniteSet {
    PointsConfig { path: dir.join(file), array: Some(name.into()), ..PointsConfig::default() }
        .read(None)
        .unwrap()
}

#[track_caller]
fn assert_close(one: &[f32], other: &[f32]) {
    assert_eq!(one.len(), other.len());
    let farthest = one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(farthest <= TOLERANCE, "{farthest}");
}

#[test]
fn npz_has_samples_and_the_noise_they_started_from() {
    let dir = folder();
    sample(dir.path(), tiny_run(), "a.npz", &["--num", "100"]);
    let (samples, noise) = (array(dir.path(), "a.npz", "samples"), array(dir.path(), "a.npz", "noise"));
    assert_eq!((samples.shape_and_count(), noise.shape_and_count()), ((vec![2], 100), (vec![2], 100)));
    assert_ne!(samples.values(), noise.values());
    let sigma = noise.values().iter().map(|x| x * x).sum::<f32>() / 200.0;
    // The base has the variance of the checkerboard, 16/3 of its coordinates in [-4, 4] or 4/3 in [-2, 2].
    assert!(sigma > 0.1, "{sigma}");
}

#[test]
fn place_of_samples_may_have_dots_and_capitals() {
    let dir = folder();
    std::fs::create_dir(dir.path().join("old.v1")).unwrap();
    for out in ["old.v1", "new.v2/"] {
        sample(dir.path(), tiny_run(), out, &["--num", "4"]);
        assert!(dir.path().join(out).join("samples.npz").is_file(), "{out}");
    }
    sample(dir.path(), tiny_run(), "A.NPZ", &["--num", "4"]);
    assert_eq!(array(dir.path(), "A.NPZ", "samples").shape_and_count(), (vec![2], 4));
}

#[test]
fn samples_do_not_depend_on_how_many_are_drawn() {
    let dir = folder();
    sample(dir.path(), tiny_run(), "few.npz", &["--num", "7"]);
    sample(dir.path(), tiny_run(), "many.npz", &["--num", "5000"]);
    for name in ["samples", "noise"] {
        let (few, many) = (array(dir.path(), "few.npz", name), array(dir.path(), "many.npz", name));
        assert_close(few.values(), &many.values()[..14]);
    }
}

#[test]
fn consistency_samples_start_from_the_same_noise_and_depend_on_their_number_alone() {
    let dir = folder();
    let consistency = ["--sampler", "consistency", "--steps", "3", "--num"];
    sample(dir.path(), independent_run(), "few.npz", &[&consistency[..], &["7"]].concat());
    sample(dir.path(), independent_run(), "many.npz", &[&consistency[..], &["5000"]].concat());
    sample(dir.path(), independent_run(), "jumps.npz", &["--steps", "3", "--num", "7"]);
    let (few, many) = (array(dir.path(), "few.npz", "samples"), array(dir.path(), "many.npz", "samples"));
    assert_close(few.values(), &many.values()[..14]);
    let noise = |file| array(dir.path(), file, "noise").values().to_vec();
    assert_eq!(noise("few.npz"), noise("jumps.npz"));
    assert_ne!(few.values(), array(dir.path(), "jumps.npz", "samples").values());
    // One step is one jump, whatever the sampler is called.
    sample(dir.path(), tiny_run(), "one.npz", &["--sampler", "consistency", "--steps", "1"]);
    sample(dir.path(), tiny_run(), "jump.npz", &["--steps", "1"]);
    let bytes = |file| std::fs::read(dir.path().join(file)).unwrap();
    assert_eq!(bytes("one.npz"), bytes("jump.npz"));
}

#[test]
fn same_seed_repeats_and_another_seed_differs() {
    let dir = folder();
    for (out, seed) in [("a.npz", "1"), ("b.npz", "1"), ("c.npz", "2")] {
        sample(dir.path(), tiny_run(), out, &["--seed", seed]);
    }
    let bytes = |file| std::fs::read(dir.path().join(file)).unwrap();
    assert!(bytes("a.npz") == bytes("b.npz"));
    assert!(bytes("a.npz") != bytes("c.npz"));
}

#[test]
fn times_of_equal_steps_are_steps() {
    let dir = folder();
    for sampler in ["flow_map", "heun"] {
        sample(dir.path(), tiny_run(), "steps.npz", &["--steps", "4", "--sampler", sampler]);
        sample(dir.path(), tiny_run(), "times.npz", &["--times", "0,0.25,0.5,0.75,1", "--sampler", sampler]);
        let (steps, times) =
            (array(dir.path(), "steps.npz", "samples"), array(dir.path(), "times.npz", "samples"));
        assert_eq!(steps.values(), times.values());
    }
}

#[test]
fn number_of_steps_sampler_and_weights_change_the_samples() {
    let dir = folder();
    let ways: [&[&str]; 4] = [
        &["--steps", "1"],
        &["--steps", "2"],
        &["--steps", "2", "--sampler", "euler"],
        &["--steps", "2", "--ema", "none"],
    ];
    let all: Vec<Vec<f32>> = ways
        .iter()
        .map(|args| {
            sample(dir.path(), tiny_run(), "a.npz", args);
            array(dir.path(), "a.npz", "samples").values().to_vec()
        })
        .collect();
    for (i, one) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|other| one != other), "{:?}", ways[i]);
    }
}

#[test]
fn run_checkpoint_and_file_give_the_same_samples() {
    let dir = folder();
    let last = checkpoint(tiny_run());
    sample(dir.path(), tiny_run(), "run.npz", &["--ema", "0.999"]);
    sample(dir.path(), &last, "checkpoint.npz", &[]);
    sample(dir.path(), &last.join("ema-0.999.safetensors"), "file.npz", &[]);
    let bytes = |file| std::fs::read(dir.path().join(file)).unwrap();
    assert!(bytes("run.npz") == bytes("checkpoint.npz") && bytes("run.npz") == bytes("file.npz"));
}

#[test]
fn png_and_directory_hold_pictures() {
    let dir = folder();
    for (run, name) in [(tiny_run(), "points"), (digits_run(), "digits")] {
        sample(dir.path(), run, &format!("{name}.png"), &["--num", "20"]);
        sample(dir.path(), run, &format!("deep/{name}"), &["--num", "20"]);
        let picture = |path: String| image::open(dir.path().join(path)).unwrap();
        let (alone, inside) = (picture(format!("{name}.png")), picture(format!("deep/{name}/samples.png")));
        assert!(alone.width() > 50);
        assert!(alone == inside);
        assert!(array(dir.path(), &format!("deep/{name}/samples.npz"), "samples").values().len() >= 40);
    }
}

#[test]
fn classes_come_by_their_shares_in_the_data_or_as_asked() {
    let dir = folder();
    sample(dir.path(), unequal_run(), "unequal.npz", &["--num", "4000"]);
    let unequal = array(dir.path(), "unequal.npz", "samples");
    let ones = unequal.labels().unwrap().iter().filter(|label| **label == 1).count();
    // 400 of 4000 expected; six standard deviations are 114.
    assert!(ones.abs_diff(400) < 114, "{ones}");
    sample(dir.path(), unequal_run(), "few.npz", &["--num", "50"]);
    let few = array(dir.path(), "few.npz", "samples");
    assert_eq!(few.labels().unwrap(), &unequal.labels().unwrap()[..50]);
    sample(dir.path(), digits_run(), "all.npz", &["--num", "60"]);
    let all = array(dir.path(), "all.npz", "samples");
    assert_eq!(all.shape_and_count(), (vec![1, 8, 8], 60));
    let number = all.labels().unwrap().iter().position(|label| *label == 7).unwrap();
    sample(dir.path(), digits_run(), "sevens.npz", &["--num", "60", "--class", "7"]);
    let sevens = array(dir.path(), "sevens.npz", "samples");
    assert_eq!(sevens.labels(), Some(&[7; 60][..]));
    // That sample is a seven in both, from the same noise; the others are not.
    let image = |set: &FiniteSet, at: usize| set.values()[at * 64..(at + 1) * 64].to_vec();
    assert_close(&image(&sevens, number), &image(&all, number));
    let other = all.labels().unwrap().iter().position(|label| *label != 7).unwrap();
    assert_ne!(image(&sevens, other), image(&all, other));
}

#[test]
fn class_without_samples_is_neither_drawn_nor_given() {
    let dir = folder();
    // Labels 1, 2 and 4: there is no 0 and no 3.
    let rows: String = (0..300)
        .map(|i| (f64::from(i), [1, 2, 4][i as usize % 3]))
        .map(|(i, label)| format!("{},{},{label}\n", i.cos() + f64::from(label), i.sin()))
        .collect();
    std::fs::write(dir.path().join("points.csv"), format!("x,y,kind\n{rows}")).unwrap();
    let data = "data={kind=\"points\", path=\"points.csv\", labels=\"kind\"}";
    train_tiny(dir.path(), "run", &["--set", data, "--set", "conditional=true"]);
    sample(dir.path(), &dir.path().join("run"), "a.npz", &["--num", "300"]);
    let samples = array(dir.path(), "a.npz", "samples");
    assert!(samples.labels().unwrap().iter().all(|label| [1, 2, 4].contains(label)));
    for class in ["0", "3"] {
        let words = [&format!("class {class} has no sample in the training data")[..]];
        refuses(dir.path(), &["sample", "run", "--class", class], 1, &words);
    }
}

#[test]
fn sampler_is_the_one_for_what_the_model_learned_unless_another_is_asked_for() {
    let dir = folder();
    let says = |run: &Path, more: &[&str]| {
        let output = flowmap(dir.path()).arg("sample").arg(run).args(more).assert().success();
        let output = output.get_output().clone();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (stdout, stderr) = says(velocity_run(), &[]);
    assert_eq!((&stdout[..], &stderr[..]), ("samples.npz: 64 samples by euler, 4 evaluations each\n", ""));
    assert!(says(tiny_run(), &[]).0.contains("64 samples by flow_map,"));
    for (sampler, is_doubted) in [("flow_map", true), ("consistency", true), ("heun", false), ("rk4", false)]
    {
        let (stdout, stderr) = says(velocity_run(), &["--sampler", sampler]);
        assert!(stdout.contains(&format!("by {sampler},")), "{stdout}");
        assert_eq!(stderr.starts_with("warning: sampler `"), is_doubted, "{sampler}: {stderr}");
        assert!(!is_doubted || stderr.contains("the velocity alone (flow_matching)"), "{stderr}");
    }
}

#[test]
fn fresh_noise_is_refused_for_a_model_of_other_pairs_before_the_work() {
    let run = tiny_run().to_str().unwrap();
    let words = ["`consistency`", "`coupling.kind` = `independent`", "`optimal_transport`"];
    for more in [&["--steps", "2"][..], &["--times", "0,0.5,1"], &[]] {
        let args = [&["sample", run, "--sampler", "consistency"], more].concat();
        refuses(folder().path(), &args, 1, &words);
    }
    refuses(folder().path(), &["eval", run, "--sampler", "consistency", "--num", "50"], 1, &words);
}

#[test]
fn guidance_of_one_is_none_and_more_is_different() {
    let dir = folder();
    let args = ["--num", "4", "--class", "3", "--guidance"];
    sample(dir.path(), digits_run(), "none.npz", &args[..4]);
    sample(dir.path(), digits_run(), "one.npz", &[&args[..], &["1"]].concat());
    sample(dir.path(), digits_run(), "two.npz", &[&args[..], &["2"]].concat());
    let samples = |file| array(dir.path(), file, "samples").values().to_vec();
    assert_close(&samples("none.npz"), &samples("one.npz"));
    assert_ne!(samples("one.npz"), samples("two.npz"));
}

#[test]
fn class_out_of_range_is_refused() {
    let run = digits_run().to_str().unwrap();
    refuses(folder().path(), &["sample", run, "--class", "10"], 1, &["class 10", "10 classes"]);
}

/// What the claims above look at.
trait ShapeAndCount {
    fn shape_and_count(&self) -> (Vec<usize>, u64);
}

impl ShapeAndCount for FiniteSet {
    fn shape_and_count(&self) -> (Vec<usize>, u64) {
        use flowmap_data::DataSet;
        (self.shape().to_vec(), self.n_samples().unwrap())
    }
}
