//! Folders of images: which of their folders are classes, in which order, and of which split.

use std::fs;

use flowmap_data::DataSet;
use image::{ImageFormat, Rgb, RgbImage};
use tempfile::TempDir;

use crate::support::{build, epoch, refusal};

fn picture(value: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = RgbImage::from_fn(2, 2, |x, _| Rgb([value, x as u8, 0]));
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A folder `pets` with these files, each a picture whose red is its number; what ends in a slash is an empty folder.
fn folder(files: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (file, number) in files.iter().zip(0..) {
        let path = dir.path().join("pets").join(file);
        fs::create_dir_all(if file.ends_with('/') { &path } else { path.parent().unwrap() }).unwrap();
        if !file.ends_with('/') {
            fs::write(path, picture(number)).unwrap();
        }
    }
    dir
}

const FOLDER: &str = "kind = 'image_folder'\npath = 'pets'";

/// The red of each image with its label.
fn reds(set: &dyn DataSet) -> Vec<(i32, Option<u32>)> {
    epoch(set).iter().map(|(x, label)| (x[0], *label)).collect()
}

fn warnings(set: &dyn DataSet, dir: &TempDir) -> Vec<String> {
    let path = format!("{}/", dir.path().display());
    set.warnings().iter().map(|warning| warning.to_string().replace(&path, "")).collect()
}

#[test]
fn what_systems_leave_is_no_class() {
    let dir = folder(&["cat/0.png", "dog/1.png", "dog/2.PNG"]);
    for left in [
        "__MACOSX/cat/._0.png",
        ".ipynb_checkpoints/0.png",
        "cat/Thumbs.db",
        "Desktop.ini",
        "dog/.DS_Store",
        "dog/._1.png",
    ] {
        let path = dir.path().join("pets").join(left);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "no image").unwrap();
    }
    let set = build(dir.path(), FOLDER).unwrap();
    assert_eq!((set.n_classes(), set.class_names()), (2, &["cat".to_owned(), "dog".into()][..]));
    assert_eq!(reds(set.as_ref()), [(0, Some(0)), (1, Some(1)), (2, Some(1))]);
    assert!(set.warnings().is_empty());
}

#[test]
fn folders_without_images_are_no_classes_and_named() {
    let dir = folder(&["ape/", "cat/0.png", "cow/.keep", "dog/1.png"]);
    let set = build(dir.path(), FOLDER).unwrap();
    assert_eq!((set.n_classes(), set.class_names().join(" ").as_str()), (2, "cat dog"));
    assert_eq!(reds(set.as_ref()), [(1, Some(0)), (3, Some(1))]);
    let expected = |name: &str| {
        format!(
            "pets: the folder `{name}` holds no image that can be read; it is no class and has no number; remove the folder, or put images into it"
        )
    };
    assert_eq!(warnings(set.as_ref(), &dir), [expected("ape"), expected("cow")]);
    // A folder whose images are all bad is not a class either.
    fs::write(dir.path().join("pets/ape/0.png"), "no image").unwrap();
    assert!(refusal(dir.path(), FOLDER).starts_with("pets/ape/0.png: "));
    let set = build(dir.path(), &format!("{FOLDER}\nskip_bad = true")).unwrap();
    assert_eq!((set.n_classes(), set.skipped().unwrap().n), (2, 1));
    assert_eq!(warnings(set.as_ref(), &dir), [expected("ape"), expected("cow")]);
}

#[test]
fn folders_that_are_numbers_are_in_the_order_of_their_numbers() {
    let names: Vec<String> = (0..12).map(|n| format!("{n}/0.png")).collect();
    let dir = folder(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let set = build(dir.path(), FOLDER).unwrap();
    assert_eq!(set.class_names(), (0..12).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(reds(set.as_ref()), (0..12).map(|n| (n, Some(n as u32))).collect::<Vec<_>>());
    // Other names are in the order of their letters.
    let dir = folder(&["10/0.png", "9/1.png", "a/2.png"]);
    assert_eq!(build(dir.path(), FOLDER).unwrap().class_names().join(" "), "10 9 a");
    let dir = folder(&["010/0.png", "9/1.png", "0011/2.png"]);
    assert_eq!(build(dir.path(), FOLDER).unwrap().class_names().join(" "), "9 010 0011");
}

#[test]
fn splits_are_never_mixed() {
    let dir =
        folder(&["train/cat/0.png", "train/dog/1.png", "val/cat/2.png", "Test/cat/3.png", "Test/dog/4.png"]);
    let set = build(dir.path(), FOLDER).unwrap();
    assert_eq!(reds(set.as_ref()), [(0, Some(0)), (1, Some(1))]);
    assert!(set.source().unwrap().ends_with("pets (split train)"));
    let of = |split: &str| build(dir.path(), &format!("{FOLDER}\nsplit = '{split}'")).unwrap();
    assert_eq!(reds(of("test").as_ref()), [(3, Some(0)), (4, Some(1))]);
    assert_eq!(
        (reds(of("validation").as_ref()), of("validation").class_names().len()),
        (vec![(2, Some(0))], 1)
    );
    assert_eq!(reds(of("all").as_ref()).len(), 5);
    assert_eq!(of("all").class_names().join(" "), "cat dog");
    // Without classes.
    let dir = folder(&["train/0.png", "train/1.png", "test/2.png"]);
    assert_eq!(reds(build(dir.path(), FOLDER).unwrap().as_ref()), [(0, None), (1, None)]);
    let message = refusal(dir.path(), &format!("{FOLDER}\nsplit = 'validation'"));
    assert_eq!(
        message,
        "pets: expected files of the split `validation`, found files of `train`, `test`; set `split`"
    );
    // A class may have the name of a split.
    let dir = folder(&["car/0.png", "train/1.png"]);
    assert_eq!(build(dir.path(), FOLDER).unwrap().class_names().join(" "), "car train");
    let message = refusal(dir.path(), &format!("{FOLDER}\nsplit = 'test'"));
    assert_eq!(message, "pets: expected files of the split `test`, found files whose names tell no split");
    // Images whose names tell several splits.
    let dir = folder(&["train_0.png", "train_1.png", "test_0.png"]);
    let set = build(dir.path(), FOLDER).unwrap();
    assert_eq!(set.n_samples(), Some(3));
    let warning = "pets: the names of the images tell the splits train, test; the images of all splits are read; move the images into folders of these names, of which `data.split` chooses one";
    assert_eq!(warnings(set.as_ref(), &dir), [warning]);
}

#[test]
fn folders_among_images_are_named() {
    let dir = folder(&["train/cat/0.png", "test/cat/1.png", "annotations/2.png"]);
    let message = "pets/test/cat: expected an image, as its neighbors are, found a folder; set `path` to the folder whose subfolders are the classes";
    assert_eq!(refusal(dir.path(), FOLDER), message);
    let dir = folder(&["cat/0.png", "cat/more/1.png"]);
    assert!(refusal(dir.path(), FOLDER).starts_with("pets/cat/more: expected an image"));
    let dir = folder(&["cat/0.png", "1.png"]);
    assert!(refusal(dir.path(), FOLDER).starts_with("pets/1.png: expected a subfolder, a class"));
    let dir = folder(&["cat/"]);
    assert!(refusal(dir.path(), FOLDER).ends_with("pets: expected at least one sample, found none"));
}

#[test]
fn two_spellings_of_a_class_are_named() {
    let dir = folder(&["Cat/0.png", "cat/1.png"]);
    let set = build(dir.path(), FOLDER).unwrap();
    assert_eq!(set.n_classes(), 2);
    let warning = "pets: the folders `Cat` and `cat` differ in their spelling alone; they are two classes; put their images into one folder if they are one class";
    assert_eq!(warnings(set.as_ref(), &dir), [warning]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_broken_ones_named() {
    let dir = folder(&["cat/0.png", "more/1.png"]);
    let pets = dir.path().join("pets");
    fs::rename(pets.join("more"), dir.path().join("more")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("more"), pets.join("dog")).unwrap();
    let set = build(dir.path(), FOLDER).unwrap();
    assert_eq!(reds(set.as_ref()), [(0, Some(0)), (1, Some(1))]);
    std::os::unix::fs::symlink("nowhere", pets.join("cat/1.png")).unwrap();
    assert!(refusal(dir.path(), FOLDER).starts_with("reading pets/cat/1.png: "));
}
