//! Files of data that may mean several things: read as they are meant, with a warning that stands in the reports too.

use std::fs;
use std::path::Path;

use flowmap_data::{NpyArray, NpyData, npz_bytes};
use serde_json::Value;

use crate::program::{TINY, checkpoint, flowmap, folder, refuses};

/// What a run of a few steps on points leaves.
struct Trained {
    stderr: String,
    config: Value,
}

impl Trained {
    fn sigma(&self) -> f64 {
        self.config["sigma_data"].as_f64().unwrap()
    }

    /// Checks that the only warning holds all of `words`.
    #[track_caller]
    fn warns(&self, words: &[&str]) {
        assert_eq!(self.stderr.matches("warning: ").count(), 1, "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "expected `{word}` in: {}", self.stderr);
        }
    }
}

/// Trains in `dir/run` on the file `name` with these bytes.
#[track_caller]
fn train(dir: &Path, kind: &str, name: &str, bytes: &[u8], more: &[&str]) -> Trained {
    fs::write(dir.join(name), bytes).unwrap();
    let (kind, path) = (format!("data.kind={kind}"), format!("data.path={name}"));
    let args = ["train", "--out", "run", "--set", &kind, "--set", &path, "--set", "eval.num=64"];
    let output = flowmap(dir).args(args).args(&TINY[..8]).args(["--steps", "1"]).args(more).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let config = fs::read(checkpoint(&dir.join("run")).join("config.json")).unwrap();
    Trained { stderr, config: serde_json::from_slice(&config).unwrap() }
}

/// Checks that report.html and evaluation.json of the run in `dir` have these words of a warning.
#[track_caller]
fn reports_have(dir: &Path, words: &str) {
    for file in ["report.html", "evaluation.json"] {
        let text = fs::read_to_string(dir.join("run").join(file)).unwrap();
        assert!(text.contains(words), "no `{words}` in {file}");
    }
}

/// Three samples about (100, 200); their standard deviation about one mean is 50.
const FAR: &str = "100.1,200.2\n100.3,200.1\n100.2,200.3\n";

#[test]
fn header_of_numbers_is_no_sample() {
    for header in ["0,1", "2019,2020", "\"10\",\"11\""] {
        let dir = folder();
        let table = format!("{header}\n{FAR}");
        let trained = train(dir.path(), "points", "h.csv", table.as_bytes(), &[]);
        assert!((trained.sigma() - 50.0).abs() < 0.1, "{header}: {}", trained.sigma());
        assert!(trained.stderr.contains("h.csv: the first line `"), "{}", trained.stderr);
        assert!(trained.stderr.contains("it is read as the names of the columns; set `data.header`"));
        reports_have(dir.path(), "data.header");
    }
}

#[test]
fn key_says_whether_there_is_a_header() {
    let table = "0,1\n7.5,5.5\n3.5,-3.5\n4.5,8.5\n";
    let of = |more: &[&str]| train(folder().path(), "points", "h.csv", table.as_bytes(), more);
    let (with, without) = (of(&["--set", "data.header=true"]), of(&["--set", "data.header=false"]));
    assert_eq!((with.stderr.matches("warning").count(), without.stderr.matches("warning").count()), (0, 0));
    assert!(with.sigma() != without.sigma());
    let named = of(&["--set", "data.columns=[\"0\",\"1\"]"]);
    assert_eq!((named.sigma(), named.stderr.matches("warning").count()), (with.sigma(), 0));
}

#[test]
fn index_columns_are_left_out_or_named() {
    let rows = ["0.5,-0.25", "-0.5,0.75", "0.125,-0.5", "-0.25,0.25"];
    let indexed = |header: &str, first: usize| {
        let rows = rows.iter().enumerate().map(|(i, row)| format!("{},{row}\n", i + first));
        header.to_owned() + &rows.collect::<String>()
    };
    let plain =
        train(folder().path(), "points", "x.csv", ("x,y\n".to_owned() + &rows.join("\n")).as_bytes(), &[]);
    assert_eq!(plain.stderr.matches("warning").count(), 0, "{}", plain.stderr);
    for header in [",x,y\n", "Unnamed: 0,x,y\n", "\"\",\"x\",\"y\"\n"] {
        let trained = train(folder().path(), "points", "x.csv", indexed(header, 0).as_bytes(), &[]);
        assert_eq!(trained.sigma(), plain.sigma());
        trained.warns(&["x.csv: column 0 (from 0) has no name", "left out", "`data.columns`"]);
    }
    for (header, first) in [("id,x,y\n", 1), ("n,x,y\n", 500), ("", 0)] {
        let trained = train(folder().path(), "points", "x.csv", indexed(header, first).as_bytes(), &[]);
        assert!(trained.stderr.contains("has a whole number of its own for each row"), "{}", trained.stderr);
        assert!(trained.stderr.contains("`data.columns`"));
    }
}

#[test]
fn labels_from_one_are_three_classes_by_the_key_and_warned_of_without() {
    let x: Vec<f32> = (0..60).map(|i| ((i * 37 % 41) as f32 - 20.0) / 10.0).collect();
    let labels: Vec<u32> = (0..30).map(|i| 1 + i % 3).collect();
    let file = npz_bytes(&[
        NpyArray { name: "samples", shape: &[30, 2], data: NpyData::F32(&x) },
        NpyArray { name: "labels", shape: &[30], data: NpyData::U32(&labels) },
    ]);
    let file = file.unwrap();
    let dir = folder();
    let of = |dir: &Path, more: &[&str]| {
        train(dir, "points", "from_one.npz", &file, &[&["--set", "conditional=true"], more].concat())
    };
    let trained = of(dir.path(), &[]);
    assert_eq!(trained.config["n_classes"], 4);
    trained.warns(&["from_one.npz, array `labels`: no sample of class 0,", "set `data.first_label` to 1"]);
    reports_have(dir.path(), "no sample of class 0");
    let shifted = of(folder().path(), &["--set", "data.first_label=1"]);
    assert_eq!(
        (shifted.config["n_classes"].clone(), shifted.stderr.matches("warning").count()),
        (3.into(), 0)
    );
    let args = ["train", "--set", "data.kind=points", "--set", "data.path=from_one.npz"];
    let far = [&args[..], &["--set", "data.first_label=2", "--out", "other"]].concat();
    refuses(dir.path(), &far, 1, &["array `labels`, sample 0", "from 2 to", "found 1", "`first_label`"]);
}

#[test]
fn words_are_classes_in_the_order_of_their_names() {
    let table = "x,y,kind\n0.5,1.5,dog\n-0.5,0.5,cat\n0.25,-1.0,emu\n";
    let labels = ["--set", "data.labels=kind", "--set", "conditional=true"];
    let trained = train(folder().path(), "points", "pets.csv", table.as_bytes(), &labels);
    assert_eq!(trained.config["n_classes"], 3);
    assert_eq!(trained.stderr.matches("warning").count(), 0, "{}", trained.stderr);
}

#[test]
fn columns_of_unlike_scale_or_far_from_zero_are_named() {
    let moon = |i: u32| (f64::from(i).cos(), f64::from(i * i).sin());
    let table = |f: &dyn Fn(f64, f64) -> String| (0..50).map(moon).map(|(x, y)| f(x, y)).collect::<String>();
    let scaled = table(&|x, y| format!("{x:.5},{:.5}\n", 1000.0 * y));
    let dir = folder();
    let trained = train(dir.path(), "points", "s.csv", ("x,y\n".to_owned() + &scaled).as_bytes(), &[]);
    trained.warns(&["s.csv: columns of unlike scale: `x` (mean ", "against `y`", "bring the columns"]);
    reports_have(dir.path(), "columns of unlike scale");
    let offset = table(&|x, y| format!("{:.5},{y:.5}\n", x + 1e4));
    let trained = train(folder().path(), "points", "o.csv", ("x,y\n".to_owned() + &offset).as_bytes(), &[]);
    trained.warns(&["o.csv: columns far from 0: `x` (mean ", "subtract their means"]);
    let constant = table(&|x, _| format!("{x:.5},0.5\n"));
    let trained = train(folder().path(), "points", "c.csv", ("x,y\n".to_owned() + &constant).as_bytes(), &[]);
    trained.warns(&["c.csv: columns that do not vary: `y`", "`data.columns`"]);
    let fine = table(&|x, y| format!("{x:.5},{y:.5}\n"));
    let trained = train(folder().path(), "points", "f.csv", ("x,y\n".to_owned() + &fine).as_bytes(), &[]);
    assert_eq!(trained.stderr.matches("warning").count(), 0, "{}", trained.stderr);
}

#[test]
fn weights_of_zero_are_refused_by_key_and_index() {
    let mixture = ["train", "--set", "data.kind=gaussian_mixture", "--set", "data.means=[[1.0],[0.0],[2.0]]"];
    for (key, value, word) in [
        ("weights", "[1.0,0.0,1.0]", "`weights[1]`"),
        ("stds", "[1.0,1.0,0.0]", "`stds[2]`"),
        ("weights", "[1.0,1e6,5e-324]", "`weights[2]`"),
    ] {
        let set = format!("data.{key}={value}");
        refuses(folder().path(), &[&mixture[..], &["--set", &set]].concat(), 1, &[word, "expected"]);
    }
}

#[test]
fn samples_of_public_programs_are_judged() {
    // (N, H, W, C) in `arr_0`, as the programs that publish samples of images write; the digits are gray.
    let pixels: Vec<f32> = (0..40 * 64).map(|i| ((i * 31 % 17) as f32 - 8.0) / 8.0).collect();
    let labels: Vec<u32> = (0..40).map(|i| i % 10).collect();
    let dir = folder();
    let arrays = [
        NpyArray { name: "arr_0", shape: &[40, 8, 8, 1], data: NpyData::F32(&pixels) },
        NpyArray { name: "arr_1", shape: &[40], data: NpyData::U32(&labels) },
    ];
    fs::write(dir.path().join("adm.npz"), npz_bytes(&arrays).unwrap()).unwrap();
    let args = ["eval", "--samples", "adm.npz", "--reference", "digits", "--metrics", "sliced_w2"];
    flowmap(dir.path()).args(args).assert().success();
    let arrays = [NpyArray { name: "samples", ..arrays[0] }];
    fs::write(dir.path().join("nhwc.npz"), npz_bytes(&arrays).unwrap()).unwrap();
    let args = ["eval", "--samples", "nhwc.npz", "--reference", "digits"];
    refuses(dir.path(), &args, 1, &["[8, 8, 1]", "[1, 8, 8]"]);
}

#[test]
fn images_in_another_range_are_named_with_the_key() {
    let pixels: Vec<f32> = (0..20 * 64).map(|i| (i * 31 % 17) as f32 / 16.0).collect();
    let file = npz_bytes(&[NpyArray { name: "images", shape: &[20, 1, 8, 8], data: NpyData::F32(&pixels) }]);
    let (file, dir) = (file.unwrap(), folder());
    let trained = train(dir.path(), "images", "unit.npz", &file, &["--set", "network.kind=mlp"]);
    trained.warns(&["unit.npz, array `images`: values from 0 to 1;", "set `data.range` to [0, 1]"]);
    reports_have(dir.path(), "data.range");
    let ranged = train(folder().path(), "images", "unit.npz", &file, &["--set", "data.range=[0,1]"]);
    assert_eq!(ranged.stderr.matches("warning").count(), 0, "{}", ranged.stderr);
    assert!((ranged.sigma() - 2.0 * trained.sigma()).abs() < 1e-6);
}
