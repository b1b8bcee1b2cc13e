//! NPY, the array files of NumPy, versions 1 to 3.
//!
//! The layout: `\x93NUMPY`, version (2 bytes), length of the header (u16, from version 2 on u32, little endian),
//! the header, a dictionary in the notation of Python with the keys descr, fortran_order and shape; then the values.
//! What the header says is compared with the number of bytes there are before it is believed.

mod dictionary;
mod stored;
mod value;

use std::io::{ErrorKind, Read};

use dictionary::Dictionary;
pub(crate) use stored::{Source, Stored};
pub(crate) use value::{Value, decoded};

use super::zip;
use crate::error::FormatFault;
use crate::{Error, Result};

/// The longest header that is read; NumPy itself stops at 10 000.
const MAX_HEADER: u64 = 65_536;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 16;

/// Header of an NPY file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub dtype: Dtype,
    pub is_fortran_order: bool,
    pub shape: Vec<u64>,
    /// Bytes before the values.
    pub length: u64,
}

/// Type of the values: kind and size in bytes as in `<f4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dtype {
    /// The descriptor as it is written.
    pub descr: String,
    /// `f`, `i`, `u` and `b` are read, and `V` of two bytes where their order is written.
    pub kind: char,
    /// Bytes of a value.
    pub size: u64,
    pub is_big_endian: bool,
}

impl Dtype {
    /// Whether the values are whole numbers or truth values.
    pub fn is_whole(&self) -> bool {
        matches!(self.kind, 'i' | 'u' | 'b')
    }

    /// The descriptor, with a word for types that are not read.
    fn in_words(&self) -> String {
        let word = match self.kind {
            'c' => "complex numbers",
            'O' => "objects of Python",
            'U' | 'S' | 'a' | 'T' => "text",
            'M' | 'm' => "dates or durations",
            'V' if self.size == 0 => "records",
            'V' => "bytes of unknown meaning",
            _ => return self.descr.clone(),
        };
        format!("{} ({word})", self.descr)
    }
}

impl Header {
    /// Bytes that the values take; u128, for a header may say anything.
    fn data_length(&self) -> u128 {
        let n_values = self.shape.iter().fold(1u128, |n, extent| n.saturating_mul(u128::from(*extent)));
        n_values.saturating_mul(u128::from(self.dtype.size))
    }
}

/// Reads the header; `place` names the array in messages.
fn read_header(reader: &mut impl Read, place: &str) -> Result<Header> {
    let fault = |fault| Error::Format { place: place.into(), fault };
    let mut start = [0; 8];
    fill(reader, &mut start, place, "the start of an NPY file")?;
    let [magic @ .., version, _] = start;
    if magic != *b"\x93NUMPY" {
        return Err(fault(FormatFault::NpyMagic));
    }
    let n_bytes_of_length: usize = match version {
        1 => 2,
        2 | 3 => 4,
        found => return Err(fault(FormatFault::NpyVersion { found })),
    };
    let mut length = [0; 4];
    fill(reader, &mut length[..n_bytes_of_length], place, "the length of the NPY header")?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > MAX_HEADER {
        return Err(fault(FormatFault::NpyHeaderLength { max: MAX_HEADER, found: length }));
    }
    let mut header = vec![0; length as usize];
    fill(reader, &mut header, place, "the NPY header")?;
    let (dtype, is_fortran_order, shape) =
        Dictionary { rest: &String::from_utf8_lossy(&header) }.read().map_err(fault)?;
    Ok(Header { dtype, is_fortran_order, shape, length: 8 + n_bytes_of_length as u64 + length })
}

/// How many bytes the values take, by what surrounds them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings {
    /// Length of the file, or what the directory of a zip file promises, less the header.
    pub promised: u64,
    /// Bytes in the file: room is made for these at once, and for more only as they come.
    pub there: u64,
}

/// Reads all values in C order; `T` is what each becomes.
fn read_values<T: Value>(
    reader: &mut impl Read,
    header: &Header,
    Surroundings { promised, there }: Surroundings,
    place: &str,
) -> Result<Vec<T>> {
    let expected = header.data_length();
    let wrong_length =
        |found, is_at_least| Error::WrongLength { place: place.into(), expected, found, is_at_least };
    let Some(decode) = T::decoder(&header.dtype) else {
        let found = header.dtype.in_words();
        return Err(Error::WrongDtype { place: place.into(), expected: T::EXPECTED, found });
    };
    if u128::from(promised) != expected {
        return Err(wrong_length(promised, false));
    }
    let size = header.dtype.size as usize; // 1 to 8, or there would be no decoder
    let mut values = Vec::with_capacity(promised.min(there) as usize / size);
    let mut chunk = vec![0; CHUNK];
    let mut n_read = 0u64;
    while u128::from(n_read) < expected {
        let wanted = (expected - u128::from(n_read)).min(CHUNK as u128) as usize;
        let n = fill_as_far_as_possible(reader, &mut chunk[..wanted], place)?;
        n_read += n as u64;
        if n < wanted {
            return Err(wrong_length(n_read, false));
        }
        values.extend(decoded(&chunk[..n], &header.dtype, decode));
    }
    if fill_as_far_as_possible(reader, &mut chunk[..1], place)? > 0 {
        return Err(wrong_length(n_read + 1, true));
    }
    Ok(if header.is_fortran_order { to_c_order(values, &header.shape) } else { values })
}

/// Column-major values brought to row-major order.
fn to_c_order<T: Value>(values: Vec<T>, shape: &[u64]) -> Vec<T> {
    let mut out = vec![T::default(); values.len()];
    let mut index = vec![0u64; shape.len()];
    for value in values {
        // The product of the extents is the number of values, so the sum stays below it.
        let at = index.iter().zip(shape).fold(0, |at, (i, extent)| at * extent + i);
        out[at as usize] = value;
        for (i, extent) in index.iter_mut().zip(shape) {
            *i += 1;
            if *i < *extent {
                break;
            }
            *i = 0;
        }
    }
    out
}

/// Fills the buffer or says within what the file ends.
fn fill(reader: &mut impl Read, buffer: &mut [u8], place: &str, within: &'static str) -> Result<()> {
    let n = fill_as_far_as_possible(reader, buffer, place)?;
    let fault = FormatFault::Truncated { within };
    if n == buffer.len() { Ok(()) } else { Err(Error::Format { place: place.into(), fault }) }
}

/// Fills as much of the buffer as there is; the number of bytes.
pub(crate) fn fill_as_far_as_possible(
    reader: &mut impl Read,
    buffer: &mut [u8],
    place: &str,
) -> Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match reader.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(zip::read_error(error, place)),
        }
    }
    Ok(n)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
    }

    fn read<T: Value>(bytes: &[u8]) -> Result<(Vec<u64>, Vec<T>)> {
        let mut rest = bytes;
        let header = read_header(&mut rest, "x.npy")?;
        let there = rest.len() as u64;
        let values = read_values(&mut rest, &header, Surroundings { promised: there, there }, "x.npy")?;
        Ok((header.shape, values))
    }

    fn message(bytes: &[u8]) -> String {
        read::<f32>(bytes).unwrap_err().to_string()
    }

    #[test]
    fn orders_of_bytes_and_of_dimensions_do_not_matter() {
        let c = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
        let data: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let values = vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(read::<f32>(&file(c, &data)).unwrap(), (vec![2, 3], values.clone()));

        let fortran = r#"{"shape": (2, 3), "fortran_order": True, "descr": ">f8"}"#;
        let data: Vec<u8> =
            [0.0, 3.0, 1.0, 4.0, 2.0, 5.0].iter().flat_map(|v: &f64| v.to_be_bytes()).collect();
        assert_eq!(read::<f32>(&file(fortran, &data)).unwrap(), (vec![2, 3], values));

        let bytes = "{'descr': '|i1', 'fortran_order': False, 'shape': (2,)}";
        assert_eq!(read::<i64>(&file(bytes, &[0xff, 3])).unwrap(), (vec![2], vec![-1, 3]));
        let scalar = "{'descr': '<u8', 'fortran_order': True, 'shape': ()}";
        assert_eq!(read::<i64>(&file(scalar, &[0xff; 8])).unwrap(), (vec![], vec![i64::MAX]));
    }

    #[test]
    fn every_type_of_numbers_is_read_exactly() {
        fn values(descr: &str, data: &[u8], n: usize) -> Vec<f32> {
            let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({n},)}}");
            read::<f32>(&file(&header, data)).unwrap().1
        }
        // 1.5 and -2 in half precision, and in bfloat16.
        assert_eq!(values("<f2", &[0x00, 0x3e, 0x00, 0xc0], 2), [1.5, -2.0]);
        assert_eq!(values(">f2", &[0x3e, 0x00, 0xc0, 0x00], 2), [1.5, -2.0]);
        assert_eq!(values("<V2", &[0xc0, 0x3f, 0x00, 0xc0], 2), [1.5, -2.0]);
        // The smallest subnormal number of half precision.
        assert_eq!(values("<f2", &[1, 0], 1), [2.0f32.powi(-24)]);
        assert_eq!(values("|i1", &[0x80, 3], 2), [-128.0, 3.0]);
        assert_eq!(values("|u1", &[0x80, 3], 2), [128.0, 3.0]);
        assert_eq!(values("|b1", &[0, 1], 2), [0.0, 1.0]);
        assert_eq!(values(">i2", &(-300i16).to_be_bytes(), 1), [-300.0]);
        assert_eq!(values("<u2", &60_000u16.to_le_bytes(), 1), [60_000.0]);
        assert_eq!(values("<i4", &(-70_000i32).to_le_bytes(), 1), [-70_000.0]);
        assert_eq!(values("<u4", &4_000_000_000u32.to_le_bytes(), 1), [4e9]);
        assert_eq!(values("<i8", &(-5i64).to_le_bytes(), 1), [-5.0]);
        // The nearest f32, not that of a nearest f64.
        assert_eq!(values("<i8", &((1i64 << 60) + (1 << 36) + 1).to_le_bytes(), 1), [1.152_921_6e18]);
        assert_eq!(values(">u8", &u64::MAX.to_be_bytes(), 1), [18_446_744_073_709_551_615.0]);
        let refused = |descr: &str| {
            let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (1,)}}");
            message(&file(&header, &[0; 16]))
        };
        for (descr, words) in [
            ("|O", "|O (objects of Python)"),
            ("<U5", "<U5 (text)"),
            ("<M8[D]", "<M8[D] (dates or durations)"),
            ("|V2", "|V2 (bytes of unknown meaning)"),
            ("<f16", "<f16"),
        ] {
            assert!(refused(descr).ends_with(&format!("whole numbers or b1, found {words}")), "{descr}");
        }
    }

    #[test]
    fn headers_that_lie_are_refused_before_room_is_made() {
        let header = |shape: &str| format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}");
        assert_eq!(
            message(&file(&header("(4611686018427387904, 1000000)"), &[0; 8])),
            "x.npy: the header promises 36893488147419103232000000 bytes of data, found 8"
        );
        assert_eq!(
            message(&file(&header("(2, 1)"), &[0; 15])),
            "x.npy: the header promises 16 bytes of data, found 15"
        );
        assert_eq!(
            message(&file(&header("(1,)"), &[0; 9])),
            "x.npy: the header promises 8 bytes of data, found 9"
        );
        assert!(message(&file(&header("(99999999999999999999,)"), &[])).contains("a length below 2^64"));
        assert!(message(&file(&header("(-1,)"), &[])).contains("a length below 2^64"));
        let long = b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}";
        assert_eq!(message(long), "x.npy: expected an NPY header of at most 65536 bytes, found 4294967295");
    }

    #[test]
    fn promises_of_the_directory_are_not_believed_either() {
        let bytes = file("{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,)}", &[0; 80]);
        let mut rest = bytes.as_slice();
        let header = read_header(&mut rest, "x").unwrap();
        let surroundings = Surroundings { promised: 800_000_000_000, there: 80 };
        let error = read_values::<f32>(&mut rest, &header, surroundings, "x").unwrap_err();
        assert_eq!(error.to_string(), "x: the header promises 800000000000 bytes of data, found 80");
    }

    #[test]
    fn other_files_and_damaged_headers_are_named() {
        let cases = [
            (message(b""), "x.npy: the file ends within the start of an NPY file"),
            (
                message(b"PK\x03\x04 something else"),
                "x.npy: expected an NPY file, which starts with \\x93NUMPY, found other bytes",
            ),
            (message(b"\x93NUMPY\x07\x00\x00\x00"), "x.npy: expected NPY version 1, 2 or 3, found 7"),
            (message(b"\x93NUMPY\x01\x00\x40\x00{"), "x.npy: the file ends within the NPY header"),
            (
                message(&file("{'shape': (1,), 'shape': (2,)", &[])),
                "x.npy: expected each key once in the NPY header, found \"'shape': (2,)\"",
            ),
            (message(&file("descr", &[])), "x.npy: expected { in the NPY header, found \"descr\""),
            (
                message(&file("{'descr': '<f8', 'shape': ()}", &[])),
                "x.npy: expected the keys descr, fortran_order and shape in the NPY header, found \"\"",
            ),
            (
                message(&file("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", &[0; 8])),
                "x.npy: expected values of type f2, f4, f8, bfloat16, whole numbers or b1, found <c8 (complex numbers)",
            ),
            (
                message(&file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", &[0; 4])),
                "x.npy: expected values of type f2, f4, f8, bfloat16, whole numbers or b1, found [('a', '<f4')] (records)",
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }
}
