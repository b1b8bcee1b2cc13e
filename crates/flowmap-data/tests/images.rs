//! Sets of images from files made here: what is read, and what is said about what is wrong.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use flowmap_core::{NoiseStream, Stream};
use flowmap_data::{DataConfig, DataSet, Declared, Error};
use image::{ImageFormat, Rgb, RgbImage};
use tempfile::TempDir;

/// Builds a config in a directory.
fn build(dir: &Path, config: &str) -> Result<Box<dyn DataSet>, Error> {
    toml::from_str::<DataConfig>(config).unwrap().build(Some(dir))
}

/// The message about a config, without the directory.
#[track_caller]
fn refusal(dir: &Path, config: &str) -> String {
    build(dir, config).unwrap_err().to_string().replace(&format!("{}/", dir.display()), "")
}

/// The number of records that `skip_bad` passes over, those left, and the first message.
#[track_caller]
fn skips(dir: &Path, config: &str) -> (u64, u64, String) {
    let set = build(dir, &format!("{config}\nskip_bad = true")).unwrap();
    let skipped = set.skipped().unwrap();
    let message = skipped.messages[0].replace(&format!("{}/", dir.display()), "");
    (skipped.n, set.n_samples().unwrap(), message)
}

/// All samples of the first epoch, sorted, with their labels.
fn epoch(set: &dyn DataSet) -> Vec<(Vec<i32>, Option<u32>)> {
    let (stream, dim) = (NoiseStream::new(0, Stream::Data), set.shape().iter().product());
    let mut all: Vec<_> = (0..set.n_samples().unwrap())
        .map(|index| {
            let mut x = vec![0.0; dim];
            let label = set.draw(&stream, index, &mut x);
            // Back to bytes.
            (x.iter().map(|x| ((x + 1.0) * 127.5).round() as i32).collect(), label)
        })
        .collect();
    all.sort();
    all
}

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
    let label = "train-labels-idx1-ubyte, sample 2: expected a whole number from 0 to 1, found 2";
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
fn missing_fashion_mnist_says_how_to_install_it() {
    let dir = tempfile::tempdir().unwrap();
    let message = refusal(dir.path(), "kind = 'fashion_mnist'\npath = 'nowhere'");
    assert!(message.contains("`apt-get install dataset-fashion-mnist`"), "{message}");
}

#[test]
fn fashion_mnist_of_debian_is_read() {
    let config: DataConfig = toml::from_str("kind = 'fashion_mnist'").unwrap();
    let set = match config.build(None) {
        Err(Error::NotInstalled { path, .. }) => {
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
    let fine = build(dir.path(), "kind = 'cifar100'\npath = '.'").unwrap();
    assert_eq!((fine.n_classes(), epoch(fine.as_ref())[1].1), (100, Some(7)));
    let coarse = build(dir.path(), "kind = 'cifar100'\npath = '.'\nlabels = 'coarse'").unwrap();
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
    let text = "pets/cats/notes.txt: expected a PNG or JPEG image, found other bytes";
    assert_eq!(refusal(dir.path(), FOLDER), text);
    assert_eq!(skips(dir.path(), FOLDER), (1, 4, text.into()));
    fs::write(cats.join("notes.txt"), picture(5, 3, 0)).unwrap();
    let size = "pets/cats/notes.txt: expected an image of 3 x 4 pixels and 3 channels, found 3 x 5 and 3";
    assert_eq!(refusal(dir.path(), FOLDER), size);
    fs::write(cats.join("notes.txt"), &picture(4, 3, 0)[..40]).unwrap();
    assert!(refusal(dir.path(), FOLDER).starts_with("pets/cats/notes.txt: expected a PNG or JPEG image"));
    fs::write(dir.path().join("pets/readme"), "x").unwrap();
    assert!(refusal(dir.path(), FOLDER).starts_with("pets/readme: expected a subfolder"));
    assert!(refusal(dir.path(), "kind = 'image_folder'\npath = 'none'").starts_with("reading none"));
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in arrays {
        let name = format!("{name}.npy");
        let mut crc = flate2::Crc::new();
        crc.update(data);
        let mut middle = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        middle.extend(crc.sum().to_le_bytes());
        middle.extend((data.len() as u32).to_le_bytes());
        middle.extend((data.len() as u32).to_le_bytes());
        middle.extend([name.len() as u8, 0, 0, 0]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&middle);
        directory.extend([0; 10]);
        directory.extend((file.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        file.extend([b"PK\x03\x04", &middle[..], name.as_bytes(), data].concat());
    }
    let (n, offset) = ([arrays.len() as u8, 0], file.len() as u32);
    file.extend(&directory);
    file.extend([b"PK\x05\x06\0\0\0\0", &n[..], &n[..]].concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(offset.to_le_bytes());
    file.extend([0, 0]);
    file
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn arrays_of_images_are_read_in_both_layouts() {
    let dir = tempfile::tempdir().unwrap();
    let labels = npy("|u1", "(2,)", &[1, 0]);
    let images = npy("|u1", "(2, 1, 2, 3)", &(0..12).collect::<Vec<u8>>());
    fs::write(dir.path().join("x.npz"), npz(&[("images", images.clone()), ("labels", labels)])).unwrap();
    fs::write(dir.path().join("x.npy"), images).unwrap();
    let rows = build(dir.path(), "kind = 'images'\npath = 'x.npz'\nlayout = 'nhwc'").unwrap();
    assert_eq!((rows.shape(), rows.n_classes()), (&[3, 1, 2][..], 2));
    assert_eq!(epoch(rows.as_ref())[0], (vec![0, 3, 1, 4, 2, 5], Some(1)));
    let planes = build(dir.path(), "kind = 'images'\npath = 'x.npy'").unwrap();
    assert_eq!((planes.shape(), planes.n_classes()), (&[1, 2, 3][..], 0));
    assert_eq!(epoch(planes.as_ref())[0].0, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn wrong_arrays_of_images_are_named_with_their_sample() {
    let dir = tempfile::tempdir().unwrap();
    const IMAGES: &str = "kind = 'images'\npath = 'x.npz'\nclasses = 2";
    let write = |images: Vec<u8>, labels: &[u8]| {
        let labels = npy("|i1", &format!("({},)", labels.len()), labels);
        fs::write(dir.path().join("x.npz"), npz(&[("samples", images), ("y", labels)])).unwrap();
    };
    let floats = |values: [f32; 3]| npy("<f4", "(3, 1, 1, 1)", &f32s(&values));
    write(floats([0.0, f32::NAN, 1.0]), &[0, 1, 1]);
    let nan = "x.npz, array `samples`, sample 1, coordinate 0: expected a finite number (f32), found NaN";
    assert_eq!(refusal(dir.path(), IMAGES), nan);
    assert_eq!(skips(dir.path(), IMAGES), (1, 2, nan.into()));
    write(floats([0.0, 255.0, 1.0]), &[0, 1, 1]);
    let (n, left, message) = skips(dir.path(), IMAGES);
    assert_eq!((n, left), (1, 2));
    assert!(message.ends_with("sample 1, coordinate 0: expected a number from -1 to 1, found 255"));
    write(floats([0.0, 0.5, 1.0]), &[0, 255, 1]);
    assert!(
        refusal(dir.path(), IMAGES)
            .ends_with("array `y`, sample 1: expected a whole number from 0 to 1, found -1")
    );
    write(floats([0.0, 0.5, 1.0]), &[0]);
    assert!(refusal(dir.path(), IMAGES).ends_with("expected 3 labels, one for each sample, found 1"));
    write(npy("<f4", "(3, 1)", &f32s(&[0.0, 0.5, 1.0])), &[0, 0, 0]);
    assert!(refusal(dir.path(), IMAGES).contains("expected shape (N, C, H, W)"));
}

const LATENTS: &str = "kind = 'latents'\npath = 'z.npz'";

#[test]
fn latents_are_brought_to_their_scale_by_channel() {
    let dir = tempfile::tempdir().unwrap();
    let latents = npy("<f4", "(2, 2, 1, 1)", &f32s(&[1.0, 10.0, 3.0, 30.0]));
    let (mean, std) = (npy("<f4", "(2,)", &f32s(&[1.0, 10.0])), npy("<f4", "(2,)", &f32s(&[2.0, 20.0])));
    let labels = npy("<i8", "(2,)", &[[0i64.to_le_bytes(), 4i64.to_le_bytes()].concat()].concat());
    let file = npz(&[("latents", latents), ("mean", mean), ("std", std), ("labels", labels)]);
    fs::write(dir.path().join("z.npz"), file).unwrap();
    let set = build(dir.path(), &format!("{LATENTS}\nscale = 0.5")).unwrap();
    assert_eq!((set.shape(), set.n_classes()), (&[2, 1, 1][..], 5));
    let mut all = Vec::new();
    for index in 0..2 {
        let mut x = [0.0; 2];
        set.draw(&NoiseStream::new(0, Stream::Data), index, &mut x);
        all.push(x);
    }
    all.sort_by(|a, b| a[0].total_cmp(&b[0]));
    assert_eq!(all, [[0.0, 0.0], [0.5, 0.5]]);
}

#[test]
fn posteriors_are_drawn_anew_for_each_sample() {
    let dir = tempfile::tempdir().unwrap();
    let mean = npy("<f4", "(1, 1, 1, 2)", &f32s(&[1.0, -1.0]));
    let std = npy("<f4", "(1, 1, 1, 2)", &f32s(&[0.5, 0.0]));
    fs::write(dir.path().join("z.npz"), npz(&[("mean", mean), ("std", std)])).unwrap();
    let set = build(dir.path(), LATENTS).unwrap();
    let stream = NoiseStream::new(0, Stream::Data);
    let draw = |index| {
        let mut x = [0.0; 2];
        set.draw(&stream, index, &mut x);
        x
    };
    let n = 4000;
    let mean = (0..n).map(|index| f64::from(draw(index)[0])).sum::<f64>() / n as f64;
    let variance = (0..n).map(|index| (f64::from(draw(index)[0]) - mean).powi(2)).sum::<f64>() / n as f64;
    // Five standard errors of mean and variance.
    assert!((mean - 1.0).abs() < 0.04 && (variance - 0.25).abs() < 0.03, "{mean} {variance}");
    assert!((0..n).all(|index| draw(index)[1] == -1.0) && draw(3) == draw(3));
}

#[test]
fn wrong_latents_are_named_with_their_sample() {
    let dir = tempfile::tempdir().unwrap();
    let write = |values: [f32; 3]| {
        let latents = npy("<f4", "(3, 1, 1, 1)", &f32s(&values));
        fs::write(dir.path().join("z.npz"), npz(&[("latents", latents)])).unwrap();
    };
    write([0.0, 1.0, f32::INFINITY]);
    let infinite =
        "z.npz, array `latents`, sample 2, coordinate 0: expected a finite number (f32), found inf";
    assert_eq!(refusal(dir.path(), LATENTS), infinite);
    assert_eq!(skips(dir.path(), LATENTS), (1, 2, infinite.into()));
    write([0.0, 1.0, 2.0]);
    let shape = refusal(dir.path(), &format!("{LATENTS}\nshape = [4, 32, 32]"));
    assert!(shape.contains("those of the key `shape`, found [3, 1, 1, 1]"), "{shape}");
    let tensors = "kind = 'latents'\npath = 'z.safetensors'";
    fs::write(dir.path().join("z.safetensors"), b"not tensors").unwrap();
    assert!(refusal(dir.path(), tensors).starts_with("z.safetensors: expected a whole safetensors file"));
}

#[test]
fn latents_come_from_safetensors_too() {
    let dir = tempfile::tempdir().unwrap();
    let header = r#"{"latents":{"dtype":"F16","shape":[2,1,1,1],"data_offsets":[0,4]},"labels":{"dtype":"I64","shape":[2],"data_offsets":[4,20]}}"#;
    // 1.0 and 2.0 in half precision.
    let data = [&[0x00u8, 0x3c, 0x00, 0x40][..], &1i64.to_le_bytes(), &0i64.to_le_bytes()].concat();
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    fs::write(dir.path().join("z.safetensors"), file).unwrap();
    let set = build(dir.path(), "kind = 'latents'\npath = 'z.safetensors'").unwrap();
    assert_eq!((set.n_samples(), set.n_classes(), set.sigma()), (Some(2), 2, 0.5));
}
