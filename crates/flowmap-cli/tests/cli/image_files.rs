//! Files of images as people have them: what is refused by name, what is said, and which class is which.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;

use crate::program::{flowmap, folder, refuses};

/// Settings of a run of one step on images of a file.
const IMAGES: [&str; 17] = [
    "--preset",
    "digits",
    "--set",
    "network.width=16",
    "--set",
    "train.batch=8",
    "--set",
    "eval.num=16",
    "--set",
    "eval.steps=[1]",
    "--set",
    "eval.metrics=[\"sliced_w2\"]",
    "--steps",
    "1",
    "--set",
    "data.kind=image_folder",
    "--set",
];

/// `train` on the folder `path` with what a run of one step needs.
fn train<'a>(path: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train"][..], &IMAGES, &[path], more].concat()
}

/// Writes a picture of one brightness with some structure.
fn picture(path: &Path, brightness: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_fn(8, 8, |x, y| Rgb([brightness, (8 * x) as u8, (8 * y) as u8])).save(path).unwrap();
}

/// The bytes of a shipped JPEG image.
fn jpeg() -> Vec<u8> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../flowmap-data/tests/golden/images");
    fs::read(golden.join("baseline.jpg")).unwrap()
}

#[test]
fn cut_jpeg_is_refused_by_name_or_counted() {
    let dir = folder();
    let jpeg = jpeg();
    fs::create_dir(dir.path().join("jpg")).unwrap();
    fs::write(dir.path().join("jpg/0.jpg"), &jpeg).unwrap();
    let args =
        train("data.path=jpg", &["--set", "conditional=false", "--set", "data.size=8", "--out", "run"]);
    for percent in [10, 50, 90, 99] {
        fs::write(dir.path().join("jpg/1.jpg"), &jpeg[..jpeg.len() * percent / 100]).unwrap();
        refuses(dir.path(), &args, 1, &["jpg/1.jpg", "expected a whole JPEG image", "found the end of"]);
    }
    let run = flowmap(dir.path()).args(args).arg("--skip-bad").assert().success();
    run.stderr(contains("data: 1 samples of shape [3, 8, 8]").and(contains("1 bad records (")));
}

#[test]
fn folders_name_their_classes_everywhere() {
    let dir = folder();
    for (class, brightness) in [("cat", 40), ("dog", 90)] {
        for n in 0..2 {
            picture(&dir.path().join(format!("pets/{class}/{n}.png")), brightness + n);
        }
    }
    fs::create_dir_all(dir.path().join("pets/bird")).unwrap();
    fs::create_dir_all(dir.path().join("pets/__MACOSX")).unwrap();
    fs::write(dir.path().join("pets/__MACOSX/._0.png"), "x").unwrap();
    let run = flowmap(dir.path()).args(train("data.path=pets", &["--out", "run"])).assert().success();
    run.stderr(
        contains("data: 4 samples of shape [3, 8, 8], 2 classes, from ")
            .and(contains("pets: the folder `bird` holds no image"))
            .and(contains("__MACOSX").not()),
    );
    let info = flowmap(dir.path()).args(["info", "run"]).assert().success();
    info.stdout(
        contains("classes       2\n").and(contains("cat").and(contains("dog"))).and(contains("4 samples")),
    );
    let info = flowmap(dir.path()).args(["info", "run", "--format", "json"]).output().unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(info["config"]["class_names"], serde_json::json!(["cat", "dog"]));
    let report = fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert!(report.contains("<td>dog</td>") || report.contains(">dog<"), "{report}");
    assert!(report.contains("the folder `bird` holds no image"));

    let sample = |class: &str, out: &str| {
        let args = ["sample", "run", "--num", "3", "--class", class, "--out", out];
        flowmap(dir.path()).args(args).assert().success().stderr("");
        fs::read(dir.path().join(out)).unwrap()
    };
    assert!(sample("dog", "name.npz") == sample("1", "number.npz"));
    assert!(sample("dog", "name.npz") != sample("cat", "other.npz"));
    let unknown = ["sample", "run", "--class", "dgo", "--out", "x.npz"];
    refuses(dir.path(), &unknown, 1, &["class `dgo`", "`cat`, `dog`", "did you mean `dog`?"]);
}

#[test]
fn folder_whose_name_is_another_number_is_told_from_the_number() {
    let dir = folder();
    for number in 1..4 {
        picture(&dir.path().join(format!("n/{number}/0.png")), 50 * number);
    }
    flowmap(dir.path()).args(train("data.path=n", &["--out", "run"])).assert().success();
    let args = ["sample", "run", "--num", "2", "--class", "2", "--out", "x.npz"];
    let words = "class 2 is sampled, which is `3`; ask for --class 1 if the class of that name is meant";
    flowmap(dir.path()).args(args).assert().success().stderr(contains(words));
}

#[test]
fn splits_are_read_one_at_a_time_and_named() {
    let dir = folder();
    for (split, n) in [("train", 3), ("test", 2)] {
        for n in 0..n {
            picture(&dir.path().join(format!("pets/{split}/cat/{n}.png")), 30 * n);
            picture(&dir.path().join(format!("pets/{split}/dog/{n}.png")), 100 + 30 * n);
        }
    }
    let run = flowmap(dir.path()).args(train("data.path=pets", &["--out", "run"])).assert().success();
    run.stderr(
        contains("data: 6 samples of shape [3, 8, 8], 2 classes, from ").and(contains("(split train)")),
    );
    let test = train("data.path=pets", &["--set", "data.split=test", "--out", "other"]);
    flowmap(dir.path()).args(test).assert().success().stderr(contains("data: 4 samples"));
}
