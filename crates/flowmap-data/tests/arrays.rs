//! Images and latents in arrays made here: what is read, and what is said about what is wrong.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::fs;

use flowmap_core::{NoiseStream, Stream};
use support::{build, epoch, refusal, skips};

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
