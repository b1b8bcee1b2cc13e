//! Damaged and hostile files: never a panic, never room for what is not there.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use flowmap_data::{FiniteSet, PointsConfig, Result};
use proptest::prelude::*;

fn read(name: &str, bytes: &[u8]) -> Result<FiniteSet> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(name), bytes).unwrap();
    PointsConfig { path: name.into(), ..Default::default() }.read(Some(dir.path()))
}

/// The message about a file, from its name on.
fn refusal(name: &str, bytes: &[u8]) -> String {
    let message = read(name, bytes).unwrap_err().to_string();
    message.rsplit_once('/').map_or(message.clone(), |(_, rest)| rest.to_owned())
}

fn golden(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

/// An NPY file with this shape in its header and these values.
fn npy(shape: &str, values: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &data].concat()
}

/// What a zip file says about its only entry.
struct Zip<'a> {
    data: &'a [u8],
    checksum: u32,
    method: u16,
    unpacked: u64,
    flags: u16,
}

impl Zip<'_> {
    fn of(content: &[u8], data: &[u8], method: u16) -> Vec<u8> {
        Self::entry(content, data, method).write(false)
    }

    fn entry<'a>(content: &[u8], data: &'a [u8], method: u16) -> Zip<'a> {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        Zip { data, checksum: crc.sum(), method, unpacked: content.len() as u64, flags: 0 }
    }

    /// The file, with all sizes in 64-bit records or in the usual ones.
    fn write(&self, is_zip64: bool) -> Vec<u8> {
        let short = |value: u64| if is_zip64 { u32::MAX } else { value as u32 }.to_le_bytes();
        let packed = self.data.len() as u64;
        let mut extra = Vec::new();
        if is_zip64 {
            extra.extend([1, 0, 24, 0]);
            [self.unpacked, packed, 0].iter().for_each(|size| extra.extend(size.to_le_bytes()));
        }
        let name = b"samples.npy";
        let mut middle = Vec::new(); // common to both headers
        middle.extend([45, 0]);
        middle.extend(self.flags.to_le_bytes());
        middle.extend(self.method.to_le_bytes());
        middle.extend([0; 4]);
        middle.extend(self.checksum.to_le_bytes());
        middle.extend(short(packed));
        middle.extend(short(self.unpacked));
        middle.extend([name.len() as u8, 0]);
        let local = [b"PK\x03\x04", &middle[..], &[0, 0], name, self.data].concat();
        let extra_length = [extra.len() as u8, 0];
        let tail = [&extra_length[..], &[0; 10], &short(0), name, &extra].concat();
        let directory = [b"PK\x01\x02", &[45, 0][..], &middle, &tail].concat();
        let (size, offset) = (directory.len() as u64, local.len() as u64);
        let mut file = [local, directory].concat();
        if is_zip64 {
            let record = file.len() as u64;
            file.extend(b"PK\x06\x06");
            file.extend(44u64.to_le_bytes());
            file.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            [1, 1, size, offset].iter().for_each(|value: &u64| file.extend(value.to_le_bytes()));
            file.extend(b"PK\x06\x07");
            file.extend([0; 4]);
            file.extend(record.to_le_bytes());
            file.extend([1, 0, 0, 0]);
        }
        file.extend(b"PK\x05\x06");
        file.extend([0; 4]);
        file.extend(if is_zip64 { [0xff; 4] } else { [1, 0, 1, 0] });
        file.extend(short(size));
        file.extend(short(offset));
        file.extend([0, 0]);
        file
    }
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn sizes_in_64_bit_records_are_read() {
    let array = npy("(2, 2)", &[1.0, 2.0, 3.0, 4.0]);
    for is_zip64 in [false, true] {
        let stored = Zip::entry(&array, &array, 0).write(is_zip64);
        assert_eq!(read("x.npz", &stored).unwrap().values(), [1.0, 2.0, 3.0, 4.0]);
        let packed = deflate(&array);
        let packed = Zip::entry(&array, &packed, 8).write(is_zip64);
        assert_eq!(read("x.npz", &packed).unwrap().values(), [1.0, 2.0, 3.0, 4.0]);
    }
}

#[test]
fn damaged_zip_files_are_named() {
    let array = npy("(2,)", &[1.0, 2.0]);
    let packed = deflate(&array);
    let good = || Zip::entry(&array, &packed, 8);
    let place = "x.npz, array `samples`";
    let cases = [
        (b"hello".to_vec(), "x.npz: expected a zip file, found no zip directory".into()),
        (
            Zip { checksum: 1, ..good() }.write(false),
            format!("{place}: expected checksum 00000001, found {:08x}", good().checksum),
        ),
        (
            Zip { method: 12, ..good() }.write(false),
            format!("{place}: expected zip method 0 (stored) or 8 (deflate), found 12"),
        ),
        (
            Zip { flags: 1, ..good() }.write(false),
            format!("{place}: expected a zip file without a password, found encrypted data"),
        ),
        (
            Zip { data: &[0xff; 40], ..good() }.write(false),
            format!("{place}: the compressed data are damaged"),
        ),
        (
            Zip { unpacked: 1 << 31, data: &vec![0; 1 << 24], method: 0, ..good() }.write(false),
            format!("{place}: expected an NPY file, which starts with \\x93NUMPY, found other bytes"),
        ),
        (
            Zip { unpacked: 1 << 31, ..good() }.write(true),
            format!(
                "{place}: 2147483648 bytes packed into {}: expected at most 256-fold compression",
                packed.len()
            ),
        ),
    ];
    for (bytes, message) in cases {
        assert_eq!(refusal("x.npz", &bytes), message);
    }
}

#[test]
fn parts_of_zip_files_and_names_that_come_twice_are_named() {
    let array = npy("(2,)", &[1.0, 2.0]);
    let whole = Zip::entry(&array, &array, 0).write(false);
    let mut part = whole.clone();
    let end = part.len() - 22;
    part[end + 4] = 1;
    assert_eq!(refusal("x.npz", &part), "x.npz: expected a zip file in one part, found one part of several");
    // The directory once more, and twice the entries in the end record.
    let directory = whole.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let mut twice = [&whole[..end], &whole[directory..]].concat();
    let (end, size) = (twice.len() - 22, 2 * (end - directory));
    twice[end + 8..end + 12].copy_from_slice(&[2, 0, 2, 0]);
    twice[end + 12..end + 16].copy_from_slice(&(size as u32).to_le_bytes());
    assert_eq!(
        refusal("x.npz", &twice),
        "x.npz: expected arrays of different names, found two arrays `samples`"
    );
}

#[test]
fn arrays_that_unpack_to_more_than_promised_are_refused() {
    let array = npy("(2,)", &[0.0; 1 << 20]);
    let header = array.len() as u64 - (4 << 20);
    let packed = deflate(&array);
    let lying = Zip { unpacked: header + 8, ..Zip::entry(&array, &packed, 8) };
    assert_eq!(
        refusal("x.npz", &lying.write(false)),
        "x.npz, array `samples`: the header promises 8 bytes of data, found at least 9"
    );
}

#[test]
fn every_cut_of_a_good_file_is_refused() {
    for name in ["flowmap.npz", "stored.npz", "fortran-big-f8.npy"] {
        let whole = golden(name);
        assert!(read(name, &whole).is_ok());
        for length in 0..whole.len() {
            assert!(read(name, &whole[..length]).is_err(), "{name} cut at {length}");
        }
    }
}

#[test]
fn headers_nested_deeply_do_not_exhaust_the_stack() {
    for nest in ["(", "[", "{'descr':", "{'shape':("] {
        let header = nest.repeat(65_535 / nest.len());
        let length = (header.len() as u16).to_le_bytes();
        assert!(read("x.npy", &[b"\x93NUMPY\x01\x00", &length[..], header.as_bytes()].concat()).is_err());
    }
}

fn is_file_named(name: &'static str) -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    prop::collection::vec(any::<u8>(), 0..400).prop_map(move |bytes| (name, bytes))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_are_no_panic(
        (name, bytes) in prop_oneof![is_file_named("x.npy"), is_file_named("x.npz"), is_file_named("x.csv")],
    ) {
        let _ = read(name, &bytes);
    }

    #[test]
    fn arbitrary_text_is_no_panic(text in "[0-9a-z.,;\\-\"#eE \t\r\n\u{e9}]{0,200}") {
        let _ = read("x.csv", text.as_bytes());
    }

    #[test]
    fn arbitrary_headers_are_no_panic(header in "[{}()\\[\\]'\",: <>|=f8i4a-zTrueFals0-9]{0,120}") {
        let length = (header.len() as u16).to_le_bytes();
        let _ = read("x.npy", &[b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &[0; 64]].concat());
    }

    #[test]
    fn arbitrary_shapes_make_no_room(extents in prop::collection::vec(any::<u64>(), 0..5)) {
        let extents: Vec<String> = extents.iter().map(u64::to_string).collect();
        let array = npy(&format!("({},)", extents.join(",")), &[1.0, 2.0]);
        prop_assert!(read("x.npy", &array).is_err());
        prop_assert!(read("x.npz", &Zip::of(&array, &array, 0)).is_err());
    }

    #[test]
    fn flipped_bytes_are_no_panic(
        name in prop_oneof![Just("flowmap.npz"), Just("stored.npz"), Just("fortran-big-f8.npy")],
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
    ) {
        let mut bytes = golden(name);
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        let _ = read(name, &bytes);
    }

    #[test]
    fn tables_come_back_as_written(
        (n_columns, values) in (1usize..5).prop_flat_map(|n| {
            (Just(n), prop::collection::vec(-1e17f32..1e17, 2 * n..=2 * n))
        }),
        separator in prop_oneof![Just(","), Just(";"), Just("\t"), Just(" "), Just(" , ")],
    ) {
        let line = |row: &[f32]| row.iter().map(f32::to_string).collect::<Vec<_>>().join(separator);
        let lines: Vec<String> = values.chunks(n_columns).map(line).collect();
        let set = read("x.csv", lines.join("\n").as_bytes()).unwrap();
        prop_assert_eq!(set.values(), values);
    }
}
