//! Shards of WebDatasets made here: what is read, and what is said about what is wrong.
#![cfg(feature = "webdataset")]
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use flowmap_data::{DataConfig, DataSet, Error};
use image::{ImageFormat, Rgb, RgbImage};

/// A member of a tar file with its header.
fn member(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
    header[148..156].copy_from_slice(b"        ");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut member = [&header[..], data].concat();
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

fn picture(width: u32, value: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = RgbImage::from_fn(width, 2, |x, _| Rgb([value, x as u8, 0]));
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Three samples of classes 0, 1 and 2; each `change` may replace the picture or the class.
fn shard(change: impl Fn(usize) -> (Vec<u8>, String)) -> Vec<u8> {
    let sample = |n| {
        let (image, class) = change(n);
        let key = format!("a.b/00{n}");
        [
            member(&format!("{key}.png"), b'0', &image),
            member(&format!("{key}.json"), b'0', b"{}"),
            member(&format!("{key}.cls"), b'0', class.as_bytes()),
        ]
        .concat()
    };
    [member("a.b/", b'5', &[]), sample(0), sample(1), sample(2), vec![0; 1024]].concat()
}

fn good(n: usize) -> (Vec<u8>, String) {
    (picture(3, 10 * n as u8), format!("{n}\n"))
}

const CONFIG: &str = "kind = 'webdataset'\npath = 'shards'";

fn build(dir: &Path, more: &str) -> Result<Box<dyn DataSet>, Error> {
    toml::from_str::<DataConfig>(&format!("{CONFIG}\n{more}")).unwrap().build(Some(dir))
}

/// The message about a shard, and how many samples `skip_bad` passes over and keeps.
#[track_caller]
fn refusal(bytes: &[u8], more: &str) -> (String, u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("shards")).unwrap();
    fs::write(dir.path().join("shards/0.tar"), bytes).unwrap();
    let message = build(dir.path(), more).unwrap_err().to_string();
    let skipped = build(dir.path(), &format!("skip_bad = true\n{more}"));
    let (n, kept) = skipped.map_or((0, 0), |set| (set.skipped().unwrap().n, set.n_samples().unwrap()));
    (message.replace(&format!("{}/shards/", dir.path().display()), ""), n, kept)
}

#[test]
fn members_of_one_key_are_one_sample() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("shards")).unwrap();
    for number in 0..2 {
        fs::write(dir.path().join(format!("shards/{number}.tar")), shard(good)).unwrap();
    }
    let set = build(dir.path(), "").unwrap();
    assert_eq!((set.shape(), set.n_samples(), set.n_classes()), (&[3, 2, 3][..], Some(6), 3));
    let one: DataConfig = toml::from_str("kind = 'webdataset'\npath = 'shards/1.tar'\nsize = 2").unwrap();
    let one = one.build(Some(dir.path())).unwrap();
    assert_eq!((one.shape(), one.n_samples()), (&[3, 2, 2][..], Some(3)));
}

#[test]
fn long_names_are_read() {
    let name = format!("{}/1.png", "x".repeat(150));
    let image = picture(3, 5);
    let pax = format!("{} path={name}\n", name.len() + 10);
    for long in [member("long", b'L', format!("{name}\0").as_bytes()), member("pax", b'x', pax.as_bytes())] {
        let tar = [long, member("cut.png", b'0', &image[..20])].concat();
        let (message, ..) = refusal(&tar, "");
        assert!(message.starts_with(&format!("0.tar, member `{name}`: expected a PNG")), "{message}");
    }
}

#[test]
fn wrong_samples_are_named_and_passed_over() {
    let text = shard(|n| if n == 1 { (b"hello".to_vec(), "1".into()) } else { good(n) });
    let message = "0.tar, member `a.b/001.png`: expected a PNG or JPEG image, found other bytes";
    assert_eq!(refusal(&text, ""), (message.into(), 1, 2));
    let size = shard(|n| if n == 1 { (picture(4, 1), "1".into()) } else { good(n) });
    let message =
        "0.tar, member `a.b/001.png`: expected an image of 2 x 3 pixels and 3 channels, found 2 x 4 and 3";
    assert_eq!(refusal(&size, ""), (message.into(), 1, 2));
    let class = shard(|n| if n == 1 { (picture(3, 1), "cat".into()) } else { good(n) });
    let message =
        "0.tar, member `a.b/001.cls`: expected a class, a whole number from 0 to 65535, found \"cat\"";
    assert_eq!(refusal(&class, ""), (message.into(), 1, 2));
    let (message, n, kept) = refusal(&shard(good), "classes = 2");
    assert!(message.ends_with("a whole number from 0 to 1, found \"2\\n\""), "{message}");
    assert_eq!((n, kept), (1, 2));
}

#[test]
fn cut_and_foreign_shards_are_named() {
    let whole = shard(good);
    // The folder, then three members of two blocks each a sample: the cut is within the picture of sample 2.
    let cut = &whole[..512 + 6 * 1024 + 512 + 30];
    let message = "0.tar, member `a.b/002.png`: the file ends within this member";
    assert_eq!(refusal(cut, ""), (message.into(), 1, 2));
    let (message, ..) = refusal(&whole[..512 + 6 * 1024 + 100], "");
    assert_eq!(message, "0.tar: the file ends within the header of a member, after 7 members");
    let (message, ..) = refusal(&[b'x'; 2048], "");
    assert_eq!(message, "0.tar: expected the header of a tar file, found other bytes, after 0 members");
}
