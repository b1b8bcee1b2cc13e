//! Images and latents in arrays made here: what is read, and what is said about what is wrong.

use std::fs;
use std::path::Path;

use flowmap_core::{NoiseStream, Stream};
use flowmap_data::Warning;

use crate::support::{build, epoch, refusal, skips};

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
    assert!(refusal(dir.path(), IMAGES).contains(
        "array `y`, sample 1: expected a whole number from 0 to 1, found -1; the key `first_label`"
    ));
    write(floats([0.0, 0.5, 1.0]), &[0]);
    assert!(refusal(dir.path(), IMAGES).ends_with("expected 3 labels, one for each sample, found 1"));
    write(npy("<f4", "(3, 1)", &f32s(&[0.0, 0.5, 1.0])), &[0, 0, 0]);
    assert!(refusal(dir.path(), IMAGES).contains("expected shape (N, C, H, W)"));
}

/// What is warned of when a config is built, without the directory.
#[track_caller]
fn warnings(dir: &Path, config: &str) -> Vec<String> {
    let set = build(dir, config).unwrap();
    let strip = |warning: &Warning| warning.to_string().replace(&format!("{}/", dir.display()), "");
    set.warnings().iter().map(strip).collect()
}

/// Ten images of 6 x 5 pixels and three channels, pixel p of channel c of image i being 64 c + p + i.
fn channels_last(descr: &str, bytes_of: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
    let pixel = |i: u8, p: u8, c: u8| bytes_of(64 * c + p + i);
    let image = |i: u8| (0..30).flat_map(move |p| (0..3).map(move |c| (i, p, c)));
    let data: Vec<u8> = (0..10).flat_map(image).flat_map(|(i, p, c)| pixel(i, p, c)).collect();
    npy(descr, "(10, 6, 5, 3)", &data)
}

#[test]
fn images_of_public_programs_have_their_channels_last() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, array: Vec<u8>| {
        let labels = npy("<i8", "(10,)", &(0..10i64).flat_map(|i| (i % 3).to_le_bytes()).collect::<Vec<_>>());
        fs::write(dir.path().join("x.npz"), npz(&[(name, array), ("arr_1", labels)])).unwrap();
    };
    let bytes = || channels_last("|u1", |byte| vec![byte]);
    let planes: Vec<i32> = (0..3).flat_map(|c| (0..30).map(move |p| 64 * c + p)).collect();
    write("arr_0", bytes());
    for kind in ["images", "points"] {
        let set = build(dir.path(), &format!("kind = '{kind}'\npath = 'x.npz'")).unwrap();
        assert_eq!((set.shape(), set.n_classes(), set.warnings()), (&[3, 6, 5][..], 3, &[][..]), "{kind}");
        assert_eq!(epoch(set.as_ref())[0], (planes.clone(), Some(0)), "{kind}");
    }
    // The same numbers in wider types are the same pixels.
    for (descr, size) in [("<i8", 8), (">i2", 2), ("<u4", 4)] {
        let wide = |byte: u8| {
            let mut bytes = vec![0; size];
            bytes[if descr.starts_with('>') { size - 1 } else { 0 }] = byte;
            bytes
        };
        write("arr_0", channels_last(descr, wide));
        let set = build(dir.path(), "kind = 'images'\npath = 'x.npz'").unwrap();
        assert_eq!(epoch(set.as_ref())[0].0, planes, "{descr}");
    }
    write("images", bytes());
    let message = refusal(dir.path(), "kind = 'images'\npath = 'x.npz'");
    let expected = "x.npz, array `images`: expected shape (N, C, H, W), found [10, 6, 5, 3], which looks like (N, H, W, C); \
                    set `data.layout` to \"nchw\" or \"nhwc\"";
    assert_eq!(message, expected);
    let set = build(dir.path(), "kind = 'images'\npath = 'x.npz'\nlayout = 'nhwc'").unwrap();
    assert_eq!(epoch(set.as_ref())[0].0, planes);
    let as_points = warnings(dir.path(), "kind = 'points'\npath = 'x.npz'\narray = 'images'");
    assert!(as_points[0].contains("shape [10, 6, 5, 3] looks like (N, H, W, C); it is read as (N, C, H, W)"));
    assert!(refusal(dir.path(), "kind = 'points'\npath = 'x.npz'").ends_with("found `images`, `arr_1`"));
}

#[test]
fn pixels_of_another_range_are_warned_of_and_brought_to_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let write = |descr: &str, data: Vec<u8>| {
        fs::write(dir.path().join("x.npy"), npy(descr, "(4, 1, 2, 2)", &data)).unwrap();
    };
    const IMAGES: &str = "kind = 'images'\npath = 'x.npy'";
    let bits = |n: usize| (0..n).map(|i| u8::from(i % 3 == 0)).collect::<Vec<u8>>();
    write("|u1", bits(16));
    let warned = warnings(dir.path(), IMAGES);
    assert_eq!(
        warned,
        [
            "x.npy: whole numbers from 0 to 1; 0 is read as black and 255 as white, so that all images are dark; \
          set `data.range` to [0, 1], or to [0, 255] if they are meant so"
        ]
    );
    let black_and_white = build(dir.path(), &format!("{IMAGES}\nrange = [0, 1]")).unwrap();
    assert_eq!(black_and_white.warnings(), []);
    let seen = epoch(black_and_white.as_ref());
    assert!(seen.iter().flat_map(|(x, _)| x).all(|x| [0, 255].contains(x)), "{seen:?}");
    // Truth values can mean nothing else.
    write("|b1", bits(16));
    let truth = build(dir.path(), IMAGES).unwrap();
    assert_eq!((epoch(truth.as_ref()), truth.warnings()), (seen, &[][..]));
    write("<f2", bits(16).into_iter().flat_map(|bit| [0, 0x3c * bit]).collect());
    assert!(warnings(dir.path(), IMAGES)[0].contains("values from 0 to 1"));
    write("<i2", [0, 1].repeat(16));
    let message = refusal(dir.path(), IMAGES);
    assert_eq!(message, "x.npy, sample 0, coordinate 0: expected a whole number from 0 to 255, found 256");
    let message = refusal(dir.path(), &format!("{IMAGES}\nrange = [1, 0]"));
    assert_eq!(message, "`range`: expected two numbers, black below white, found [1.0, 0.0]");
}

#[test]
fn labels_from_another_number_are_classes_by_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let images = || npy("|u1", "(4, 1, 1, 2)", &[0, 255, 1, 2, 3, 4, 5, 6]);
    let latents =
        || npy("<f2", "(4, 1, 1, 2)", &[0, 0x3c].repeat(7).into_iter().chain([0, 0]).collect::<Vec<_>>());
    for (kind, array) in [("images", images()), ("latents", latents())] {
        let labels = |labels: [f32; 4]| {
            let labels = npy("<f4", "(4, 1)", &f32s(&labels));
            fs::write(dir.path().join("z.npz"), npz(&[(kind, array.clone()), ("labels", labels)])).unwrap();
        };
        let config = format!("kind = '{kind}'\npath = 'z.npz'");
        labels([1.0, 3.0, 2.0, 1.0]);
        let plain = build(dir.path(), &config).unwrap();
        assert_eq!(plain.n_classes(), 4);
        let warned = warnings(dir.path(), &config);
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert!(
            warned[0].contains("no sample of class 0, of 4 classes")
                && warned[0].contains("`data.first_label` to 1")
        );
        let shifted = build(dir.path(), &format!("{config}\nfirst_label = 1\nclasses = 3")).unwrap();
        assert_eq!((shifted.n_classes(), shifted.warnings()), (3, &[][..]));
        assert!(warnings(dir.path(), &format!("{config}\nclasses = 6"))[0].contains("classes 0, 4, 5, of 6"));
        labels([-1.0, 0.0, -1.0, 0.0]);
        assert!(
            refusal(dir.path(), &config)
                .contains("sample 0: expected a whole number from 0 to 65535, found -1")
        );
        assert_eq!(build(dir.path(), &format!("{config}\nfirst_label = -1")).unwrap().n_classes(), 2);
        labels([0.0, 0.5, 1.0, 1.0]);
        assert!(refusal(dir.path(), &config).contains("sample 1: expected a whole number"));
    }
    let idx = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    idx("train-images-idx3-ubyte", b"\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02\x00\xff\xff\x00");
    idx("train-labels-idx1-ubyte", b"\0\0\x08\x01\0\0\0\x02\x02\x01");
    assert!(warnings(dir.path(), "kind = 'idx'\npath = '.'")[0].contains("no sample of class 0"));
    let shifted = build(dir.path(), "kind = 'idx'\npath = '.'\nfirst_label = 1\nclasses = 2").unwrap();
    assert_eq!((shifted.n_classes(), shifted.warnings()), (2, &[][..]));
    assert_eq!(epoch(shifted.as_ref()), [(vec![0, 255], Some(1)), (vec![255, 0], Some(0))]);
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
    let last = npy("<f4", "(2, 6, 5, 1)", &f32s(&[0.5; 60]));
    fs::write(dir.path().join("last.npz"), npz(&[("latents", last)])).unwrap();
    let last = refusal(dir.path(), "kind = 'latents'\npath = 'last.npz'");
    assert!(last.contains("looks like (N, H, W, C)") && last.contains("`data.shape`"), "{last}");
    let shape = refusal(dir.path(), &format!("{LATENTS}\nshape = [4, 32, 32]"));
    assert!(shape.contains("H and W of the key `shape`, found [3, 1, 1, 1]"), "{shape}");
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
