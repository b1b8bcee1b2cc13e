//! Sets of images from files made here: what is read, and what is said about what is wrong.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use flowmap_data::{DataConfig, Declared, Error, FolderFault};
use image::{ImageFormat, Rgb, RgbImage};
use tempfile::TempDir;

use crate::support::{build, epoch, refusal, skips};

fn idx(shape: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|extent| file.extend(extent.to_be_bytes()));
    file.extend(bytes);
    file
}

/// Three images of 1 x 2 pixels with labels 0 to 2, as the two files of a split.
fn idx_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let images = idx(&[3, 1, 2], &[0, 1, 10, 11, 20, 21]);
    fs::write(dir.path().join("train-images-idx3-ubyte"), images).unwrap();
    fs::write(dir.path().join("train-labels-idx1-ubyte"), idx(&[3], &[0, 1, 2])).unwrap();
    dir
}

const IDX: &str = "kind = 'idx'\npath = '.'";

#[test]
fn idx_files_are_read_plain_or_packed() {
    let dir = idx_dir();
    let plain = build(dir.path(), IDX).unwrap();
    assert_eq!((plain.shape(), plain.n_classes()), (&[1, 1, 2][..], 3));
    let expected: Vec<_> = (0..3).map(|i| (vec![10 * i, 10 * i + 1], Some(i as u32))).collect();
    assert_eq!(epoch(plain.as_ref()), expected);
    fs::write(dir.path().join("._train-images-idx3-ubyte"), "left by a system").unwrap();
    for name in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"] {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&fs::read(dir.path().join(name)).unwrap()).unwrap();
        fs::write(dir.path().join(format!("{name}.gz")), packed.finish().unwrap()).unwrap();
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    assert_eq!(epoch(build(dir.path(), IDX).unwrap().as_ref()), expected);
}

#[test]
fn wrong_idx_files_are_named_with_their_record() {
    let dir = idx_dir();
    let images = dir.path().join("train-images-idx3-ubyte");
    let whole = fs::read(&images).unwrap();
    let cut = "train-images-idx3-ubyte: the file ends within record 1 (counted from 0) of 3";
    fs::write(&images, &whole[..whole.len() - 3]).unwrap();
    assert_eq!(refusal(dir.path(), IDX).trim_start_matches("./"), cut);
    let (n, left, message) = skips(dir.path(), IDX);
    assert_eq!((n, left, message.trim_start_matches("./")), (1, 1, cut));

    fs::write(&images, [&whole[..], &[0]].concat()).unwrap();
    assert!(refusal(dir.path(), IDX).ends_with("promises 6 bytes of data, found at least 7"));
    fs::write(&images, b"<html>").unwrap();
    let message = refusal(dir.path(), IDX);
    let expected = "expected an IDX file of bytes, which starts with 00 00 08, found [3c, 68, 74, 6d]";
    assert!(message.ends_with(expected), "{message}");
    fs::write(&images, idx(&[6], &[0; 6])).unwrap();
    assert!(refusal(dir.path(), IDX).ends_with("expected shape (N, H, W), found [6]"));
    fs::write(&images, idx(&[2, 1, 2], &[0, 1, 2, 3])).unwrap();
    assert!(refusal(dir.path(), IDX).ends_with("expected 2 labels, one for each sample, found 3"));
    fs::write(&images, idx(&[u32::MAX; 3], &[0, 1, 2, 3])).unwrap();
    assert!(refusal(dir.path(), IDX).contains("record 0"));

    fs::write(&images, &whole).unwrap();
    let two = format!("{IDX}\nclasses = 2");
    let label = "train-labels-idx1-ubyte, sample 2: expected a whole number from 0 to 1, found 2; \
                 the key `first_label` says which label is the first class";
    assert_eq!(refusal(dir.path(), &two).trim_start_matches("./"), label);
    assert_eq!(skips(dir.path(), &two).0, 1);
    let test = refusal(dir.path(), &format!("{IDX}\nsplit = 'test'"));
    assert!(test.contains("with `t10k` or `test` and `images` in its name, found `train-images"), "{test}");
}

#[test]
fn cut_gzip_is_named_with_its_record() {
    let dir = idx_dir();
    fs::remove_file(dir.path().join("train-images-idx3-ubyte")).unwrap();
    let bytes: Vec<u8> = (0..6000u32).map(|i| ((i * 7919) >> 3) as u8).collect();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&idx(&[3, 1, 2000], &bytes)).unwrap();
    let packed = packed.finish().unwrap();
    fs::write(dir.path().join("train-images-idx3-ubyte.gz"), &packed[..packed.len() / 2]).unwrap();
    let message = refusal(dir.path(), IDX);
    assert!(message.contains("ubyte.gz: the file ends within record"), "{message}");
}

#[test]
fn images_are_transposed_as_the_config_says() {
    let dir = tempfile::tempdir().unwrap();
    let write = |prefix: &str| {
        let images = idx(&[2, 2, 3], &[0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]);
        fs::write(dir.path().join(format!("{prefix}train-images-idx3-ubyte")), images).unwrap();
        fs::write(dir.path().join(format!("{prefix}train-labels-idx1-ubyte")), idx(&[2], &[0, 1])).unwrap();
    };
    write("emnist-letters-");
    let set = build(dir.path(), &format!("{IDX}\ntranspose = true")).unwrap();
    assert_eq!((set.shape(), set.warnings().len()), (&[1, 3, 2][..], 0));
    let expected = [(vec![0, 3, 1, 4, 2, 5], Some(0)), (vec![10, 13, 11, 14, 12, 15], Some(1))];
    assert_eq!(epoch(set.as_ref()), expected);
    // Of EMNIST one has to say.
    let set = build(dir.path(), IDX).unwrap();
    let warning = set.warnings()[0].to_string();
    assert!(warning.contains(
        "emnist-letters-train-images-idx3-ubyte: images of EMNIST have rows and columns exchanged"
    ));
    assert!(
        warning.ends_with("set `data.transpose` to true to turn them, or to false if they stand upright")
    );
    assert_eq!(build(dir.path(), &format!("{IDX}\ntranspose = false")).unwrap().warnings().len(), 0);
    assert!(build(idx_dir().path(), IDX).unwrap().warnings().is_empty());
}

#[test]
fn packed_files_that_differ_from_their_checksum_are_named() {
    let dir = idx_dir();
    let plain = dir.path().join("train-images-idx3-ubyte");
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&fs::read(&plain).unwrap()).unwrap();
    let packed = packed.finish().unwrap();
    fs::remove_file(plain).unwrap();
    let path = dir.path().join("train-images-idx3-ubyte.gz");
    let mut damaged = packed.clone();
    let checksum = packed.len() - 8;
    damaged[checksum] ^= 1;
    for bytes in [&damaged[..], &packed[..packed.len() - 3]] {
        fs::write(&path, bytes).unwrap();
        let message = refusal(dir.path(), IDX);
        assert!(message.contains("train-images-idx3-ubyte.gz: "), "{message}");
    }
}

#[test]
fn missing_fashion_mnist_says_how_to_install_it() {
    let dir = tempfile::tempdir().unwrap();
    let message = refusal(dir.path(), "kind = 'fashion_mnist'\npath = 'nowhere'");
    assert!(message.contains("`apt-get install dataset-fashion-mnist`"), "{message}");
}

#[test]
fn fashion_mnist_of_debian_is_read() {
    let config: DataConfig = toml::from_str("kind = 'fashion_mnist'").unwrap();
    let set = match config.build(None) {
        Err(Error::Folder(FolderFault::NotInstalled { path, .. })) => {
            eprintln!("skipped: {} is not there", path.display());
            return;
        }
        set => set.unwrap(),
    };
    assert_eq!((set.shape(), set.n_samples(), set.n_classes()), (&[1, 28, 28][..], Some(60_000), 10));
    assert_eq!(config.declared(), Some(Declared { shape: vec![1, 28, 28], n_classes: 10 }));
    // NumPy: (x / 127.5 - 1).std() of the training images is 0.7060.
    assert!((set.sigma() - 0.7060).abs() < 1e-4, "{}", set.sigma());
    let held_out = config.held_out().unwrap();
    assert_eq!(held_out.build(None).unwrap().n_samples(), Some(10_000));
    assert_eq!(held_out.held_out(), None);
}

fn cifar(labels: &[&[u8]]) -> Vec<u8> {
    let record = |(at, labels): (usize, &&[u8])| {
        let pixels = (0..3072).map(move |i| (i / 1024) as u8 * 50 + at as u8);
        labels.iter().copied().chain(pixels).collect::<Vec<_>>()
    };
    labels.iter().enumerate().flat_map(record).collect()
}

#[test]
fn cifar_records_are_label_and_planes() {
    let dir = tempfile::tempdir().unwrap();
    for batch in 1..=5 {
        fs::write(dir.path().join(format!("data_batch_{batch}.bin")), cifar(&[&[3], &[9]])).unwrap();
    }
    fs::write(dir.path().join("train.bin"), cifar(&[&[19, 99], &[0, 7]])).unwrap();
    let ten = build(dir.path(), "kind = 'cifar10'\npath = '.'").unwrap();
    assert_eq!((ten.shape(), ten.n_samples(), ten.n_classes()), (&[3, 32, 32][..], Some(10), 10));
    let first = &epoch(ten.as_ref())[0];
    assert_eq!((first.0[0], first.0[1024], first.0[3071], first.1), (0, 50, 100, Some(3)));
    assert_eq!((ten.class_names().len(), ten.class_names()[3].as_str()), (10, "cat"));
    let fine = build(dir.path(), "kind = 'cifar100'\npath = '.'").unwrap();
    assert_eq!((fine.n_classes(), epoch(fine.as_ref())[1].1), (100, Some(7)));
    assert_eq!((fine.class_names().len(), fine.class_names()[99].as_str()), (100, "worm"));
    let coarse = build(dir.path(), "kind = 'cifar100'\npath = '.'\nlabels = 'coarse'").unwrap();
    assert_eq!((coarse.class_names().len(), coarse.class_names()[19].as_str()), (20, "vehicles_2"));
    assert_eq!((coarse.n_classes(), epoch(coarse.as_ref())[0].1), (20, Some(19)));
}

#[test]
fn wrong_cifar_files_are_named_with_their_record() {
    let dir = tempfile::tempdir().unwrap();
    const CIFAR: &str = "kind = 'cifar100'\npath = '.'";
    assert!(refusal(dir.path(), CIFAR).starts_with("reading"), "a missing file is named");
    let whole = cifar(&[&[0, 1], &[0, 100], &[0, 2]]);
    fs::write(dir.path().join("train.bin"), &whole).unwrap();
    let label = "train.bin, sample 1: expected a whole number from 0 to 99, found 100";
    assert_eq!(refusal(dir.path(), CIFAR).trim_start_matches("./"), label);
    fs::write(dir.path().join("train.bin"), &whole[..whole.len() - 1]).unwrap();
    let (n, left, message) = skips(dir.path(), CIFAR);
    assert_eq!((n, left, message.trim_start_matches("./")), (2, 1, label));
    fs::write(dir.path().join("train.bin"), &whole[..4000]).unwrap();
    assert!(refusal(dir.path(), CIFAR).ends_with("the file ends within record 1 (counted from 0) of 2"));
}

fn picture(width: u32, height: u32, value: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = RgbImage::from_fn(width, height, |x, y| Rgb([value, x as u8, y as u8]));
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (class, value) in [("cats", 40), ("dogs", 80)] {
        fs::create_dir_all(dir.path().join("pets").join(class)).unwrap();
        for n in 0..2u8 {
            let path = dir.path().join("pets").join(class).join(format!("{n}.png"));
            fs::write(path, picture(4, 3, value + n)).unwrap();
        }
    }
    fs::write(dir.path().join("pets/.DS_Store"), "hidden").unwrap();
    dir
}

const FOLDER: &str = "kind = 'image_folder'\npath = 'pets'";

#[test]
fn subfolders_are_classes_in_the_order_of_their_names() {
    let dir = folder();
    let set = build(dir.path(), FOLDER).unwrap();
    assert_eq!((set.shape(), set.n_samples(), set.n_classes()), (&[3, 3, 4][..], Some(4), 2));
    let all = epoch(set.as_ref());
    let found: Vec<_> = all.iter().map(|(x, label)| (x[0], label.unwrap())).collect();
    assert_eq!(found, [(40, 0), (41, 0), (80, 1), (81, 1)]);
    let resized = build(dir.path(), &format!("{FOLDER}\nsize = 2\nchannels = 'gray'")).unwrap();
    assert_eq!(resized.shape(), [1, 2, 2]);
    let flat = build(dir.path(), "kind = 'image_folder'\npath = 'pets/cats'").unwrap();
    assert_eq!((flat.n_samples(), flat.n_classes()), (Some(2), 0));
}

#[test]
fn wrong_files_among_images_are_named() {
    let dir = folder();
    let cats = dir.path().join("pets/cats");
    fs::write(cats.join("notes.txt"), "meow").unwrap();
    let text = "pets/cats/notes.txt: expected a PNG, JPEG or WebP image, found other bytes";
    assert_eq!(refusal(dir.path(), FOLDER), text);
    assert_eq!(skips(dir.path(), FOLDER), (1, 4, text.into()));
    fs::write(cats.join("notes.txt"), picture(5, 3, 0)).unwrap();
    let size = "pets/cats/notes.txt: expected an image of 3 x 4 pixels and 3 channels, found 3 x 5 and 3";
    assert_eq!(refusal(dir.path(), FOLDER), size);
    fs::write(cats.join("notes.txt"), &picture(4, 3, 0)[..40]).unwrap();
    assert!(refusal(dir.path(), FOLDER).starts_with("pets/cats/notes.txt: expected a whole PNG image"));
    fs::write(dir.path().join("pets/readme"), "x").unwrap();
    assert!(refusal(dir.path(), FOLDER).starts_with("pets/readme: expected a subfolder"));
    assert!(refusal(dir.path(), "kind = 'image_folder'\npath = 'none'").starts_with("reading none"));
}
