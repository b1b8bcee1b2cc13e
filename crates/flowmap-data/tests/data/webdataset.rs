//! Shards of WebDatasets made here: what is read, and what is said about what is wrong.

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

/// A shard of these members, with the blocks that end it.
fn of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let members = members.iter().map(|(name, data)| member(name, b'0', data));
    members.chain([vec![0; 1024]]).flatten().collect()
}

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
        assert!(message.starts_with(&format!("0.tar, member `{name}`: expected a whole PNG")), "{message}");
    }
}

#[test]
fn wrong_samples_are_named_and_passed_over() {
    let text = shard(|n| if n == 1 { (b"hello".to_vec(), "1".into()) } else { good(n) });
    let message = "0.tar, member `a.b/001.png`: expected a PNG, JPEG or WebP image, found other bytes";
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

/// The set of one shard, and its warnings without the directory.
#[track_caller]
fn reading(name: &str, bytes: &[u8]) -> (Box<dyn DataSet>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("shards")).unwrap();
    fs::write(dir.path().join("shards").join(name), bytes).unwrap();
    let set = build(dir.path(), "").unwrap();
    let path = format!("{}/", dir.path().display());
    let warnings = set.warnings().iter().map(|warning| warning.to_string().replace(&path, "")).collect();
    (set, warnings)
}

#[test]
fn images_of_other_formats_are_named_and_counted() {
    for ending in ["gif", "bmp", "tiff", "avif", "jxl", "heic", "ppm"] {
        let name = format!("001.{ending}");
        let shard = of(&[("000.png", &picture(3, 1)), (&name, b"whatever"), ("002.PNG", &picture(3, 3))]);
        let message = format!(
            "0.tar, member `{name}`: expected a PNG, JPEG or WebP image, found one that ends in .{ending}"
        );
        assert_eq!(refusal(&shard, ""), (message, 1, 2));
    }
    let webp =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images/lossy.webp")).unwrap();
    let jpeg =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images/baseline.jpg")).unwrap();
    let (set, warnings) = reading("0.tar", &of(&[("a.webp", &webp), ("b.jpg", &jpeg), ("c.jpeg", &jpeg)]));
    assert_eq!((set.n_samples(), warnings.len()), (Some(3), 0));
    let cut = of(&[("a.webp", &webp), ("b.jpg", &jpeg[..jpeg.len() * 9 / 10])]);
    let (message, n, kept) = refusal(&cut, "");
    assert!(message.starts_with("0.tar, member `b.jpg`: expected a whole JPEG image, found "), "{message}");
    assert_eq!((n, kept), (1, 1));
}

#[test]
fn names_with_several_dots_are_named() {
    let shard = of(&[
        ("img.v2.000.png", &picture(3, 1)),
        ("img.v2.001.png", &picture(3, 2)),
        ("a.png", &picture(3, 3)),
    ]);
    let message = "0.tar, member `img.v2.000.png`: expected a name with one dot, found the ending `v2.000.png`, since a key ends at the first dot; pack the image again under another name";
    assert_eq!(refusal(&shard, ""), (message.into(), 1, 1));
    // A mask beside an image.
    let (set, warnings) =
        reading("0.tar", &of(&[("a.png", &picture(3, 1)), ("a.seg.png", b"?"), ("b.png", &picture(3, 2))]));
    assert_eq!(set.n_samples(), Some(2));
    assert_eq!(
        warnings,
        [
            "shards: the samples have further images, `seg.png`; the image whose name has one dot is read, and they are passed over; pack images that are samples under names with one dot"
        ]
    );
}

#[test]
fn samples_without_an_image_or_with_two_are_named() {
    let good = picture(3, 1);
    let without =
        of(&[("a.png", &good), ("a.cls", b"0"), ("b.cls", b"1"), ("c.png", &picture(3, 2)), ("c.cls", b"1")]);
    let message = "0.tar, member `b.cls`: expected an image of the same key next to it (.png, .jpg, .jpeg or .webp), found none; members of a sample stand next to each other, as `tar --sort=name` packs them";
    assert_eq!(refusal(&without, ""), (message.into(), 1, 2));
    let json = of(&[("a.png", &good), ("b.json", b"{}"), ("c.png", &picture(3, 2))]);
    assert_eq!(refusal(&json, "").0, message.replace("b.cls", "b.json"));
    let two = of(&[
        ("a.png", &good),
        ("a.jpg", b"?"),
        ("b.png", &good),
        ("b.png", &good),
        ("c.png", &picture(3, 2)),
    ]);
    let message = "0.tar, member `a.png`: expected one image of this key, found `a.jpg` in addition";
    assert_eq!(refusal(&two, ""), (message.into(), 2, 1));
    // Classes before all images are not beside them.
    let sorted = of(&[("a.cls", b"0"), ("b.cls", b"1"), ("a.png", &good), ("b.png", &picture(3, 2))]);
    assert!(
        refusal(&sorted, "")
            .0
            .starts_with("0.tar, member `a.cls`: expected an image of the same key next to it")
    );
}

#[test]
fn images_without_a_class_among_others_are_named() {
    let shard = of(&[
        ("a.png", &picture(3, 1)),
        ("b.png", &picture(3, 2)),
        ("b.cls", b"1"),
        ("c.png", &picture(3, 3)),
        ("c.cls", b"0"),
    ]);
    let message = "0.tar, member `a.png`: expected a class, as other images have, found none";
    assert_eq!(refusal(&shard, ""), (message.into(), 1, 2));
    let twice = of(&[
        ("a.png", &picture(3, 1)),
        ("a.cls", b"0"),
        ("a.cls", b"1"),
        ("b.png", &picture(3, 2)),
        ("b.cls", b"1"),
    ]);
    assert_eq!(refusal(&twice, "").0, "0.tar, member `a.cls`: expected one class of this key, found two");
    let (set, warnings) = reading(
        "0.tar",
        &of(&[
            ("a.png", &picture(3, 1)),
            ("a.json", b"{\"label\": 3}"),
            ("b.png", &picture(3, 2)),
            ("b.txt", b"1"),
        ]),
    );
    assert_eq!((set.n_samples(), set.n_classes()), (Some(2), 0));
    assert_eq!(
        warnings,
        [
            "shards: no sample has a member `cls`; the other members are `json`, `txt`; the samples have no classes; pack the class of each sample as a whole number into a member `cls`, unless none is meant"
        ]
    );
}

#[test]
fn what_systems_leave_is_no_sample() {
    let shard = of(&[
        ("__MACOSX/._a.png", b"?"),
        ("./a.png", &picture(3, 1)),
        ("._b.png", b"?"),
        ("b.png", &picture(3, 2)),
        (".DS_Store", b"?"),
        ("x/Thumbs.db", b"?"),
        ("__meta__/info.json", b"{}"),
    ]);
    let (set, warnings) = reading("0.tar", &shard);
    assert_eq!((set.n_samples(), warnings.len()), (Some(2), 0));
}

#[test]
fn packed_shards_are_read_and_cut_ones_named() {
    let pack = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, bytes).unwrap();
        packed.finish().unwrap()
    };
    let whole = pack(&shard(good));
    for name in ["0.tar.gz", "0.tgz", "0.tar"] {
        let (set, warnings) = reading(name, &whole);
        assert_eq!((set.n_samples(), set.n_classes(), warnings.len()), (Some(3), 3, 0), "{name}");
    }
    for length in [40, whole.len() / 2, whole.len() - 100] {
        let (message, ..) = refusal(&whole[..length], "");
        assert!(message.starts_with("0.tar"), "{message}");
    }
    for (magic, packing) in
        [(&b"\x28\xb5\x2f\xfd.."[..], "Zstandard"), (b"BZh9..", "bzip2"), (b"\xfd7zXZ\0", "xz")]
    {
        let message =
            format!("0.tar: expected a tar file, plain or packed by gzip, found one packed by {packing}");
        assert_eq!(refusal(magic, "").0, message);
    }
    // By its name it is a shard, so that it is not passed over.
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("shards")).unwrap();
    fs::write(dir.path().join("shards/0.tar"), shard(good)).unwrap();
    fs::write(dir.path().join("shards/1.tar.zst"), b"\x28\xb5\x2f\xfd..").unwrap();
    assert!(build(dir.path(), "").unwrap_err().to_string().contains("1.tar.zst: expected a tar file, plain"));
}

#[test]
fn shards_without_an_end_are_read_and_named() {
    let whole = shard(good);
    let open = &whole[..whole.len() - 1024];
    let warning = "shards/0.tar: the file ends without the two blocks of zeros that end a tar file; samples are missing if it was cut; compare its size with the size of its source, and pack it again";
    for (bytes, n) in [(open, 3), (&open[..open.len() - 3072], 2)] {
        let (set, warnings) = reading("0.tar", bytes);
        assert_eq!((set.n_samples(), &warnings[..]), (Some(n), &[warning.to_owned()][..]));
    }
    // Files that were put together.
    let (set, warnings) =
        reading("0.tar", &[whole.clone(), of(&[("z.png", &picture(3, 9)), ("z.cls", b"0")])].concat());
    assert_eq!((set.n_samples(), warnings.len()), (Some(4), 0));
    let (message, ..) = refusal(&[&whole, &[b'x'; 512][..]].concat(), "");
    assert_eq!(message, "0.tar: expected the header of a tar file, found other bytes, after 10 members");
}

#[test]
fn members_without_data_of_their_own_are_named() {
    for (kind, words) in [(b'1', "a hard link"), (b'2', "a symbolic link")] {
        let tar = [
            member("a.png", b'0', &picture(3, 1)),
            member("b.png", kind, b""),
            member("c.png", b'0', &picture(3, 2)),
            vec![0; 1024],
        ];
        let message = format!(
            "0.tar, member `b.png`: expected a regular file, found {words}; pack it again with the data of its own"
        );
        assert_eq!(refusal(&tar.concat(), ""), (message, 1, 2));
    }
    let sparse = [member("a.png", b'0', &picture(3, 1)), member("b.png", b'S', b"?"), vec![0; 1024]].concat();
    assert_eq!(
        refusal(&sparse, "").0,
        "0.tar: expected regular files, found the sparse file `b.png`; pack it without `--sparse`"
    );
    let pax = "22 GNU.sparse.major=1\n";
    let sparse = [
        member("a.png", b'0', &picture(3, 1)),
        member("x", b'x', pax.as_bytes()),
        member("b.png", b'0', b"?"),
        vec![0; 1024],
    ]
    .concat();
    assert!(refusal(&sparse, "").0.contains("member `b.png`: expected a regular file, found a sparse file"));
}

#[test]
fn splits_of_shards_are_never_mixed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("shards/deep")).unwrap();
    for (name, number) in
        [("deep/set-train-000.tar", 0), ("deep/set-train-001.tar", 1), ("deep/set-val-000.tar", 2)]
    {
        let shard = of(&[("a.png", &picture(3, number)), ("b.png", &picture(3, 10 + number))]);
        fs::write(dir.path().join("shards").join(name), shard).unwrap();
    }
    let set = build(dir.path(), "").unwrap();
    assert_eq!(set.n_samples(), Some(4));
    assert!(set.source().unwrap().ends_with("shards (split train, 2 of 3 files)"), "{:?}", set.source());
    assert_eq!(build(dir.path(), "split = 'validation'").unwrap().n_samples(), Some(2));
    assert_eq!(build(dir.path(), "split = 'all'").unwrap().n_samples(), Some(6));
    fs::rename(dir.path().join("shards/deep/set-val-000.tar"), dir.path().join("shards/deep/0.tar")).unwrap();
    let message = build(dir.path(), "").unwrap_err().to_string();
    assert!(message.ends_with("shards: expected all names of files to tell a split, or none, found deep/set-train-000.tar with a split and deep/0.tar without; set `path` to one file, or `split` to \"all\""), "{message}");
}
