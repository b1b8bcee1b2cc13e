//! Zip files, as far as NPZ needs them: stored and deflated entries, 64-bit sizes, checksums.
//!
//! Read from the end: the end record, (with 64-bit sizes) its locator and the larger end record, the directory,
//! then the entries. Layout after PKWARE's APPNOTE 6.3.
//! No size in the directory is believed: room is made for what was read.

use std::io::{Error as IoError, ErrorKind, Read, Seek, SeekFrom};

use flate2::CrcReader;
use flate2::read::DeflateDecoder;

use super::npy::Source;
use crate::error::FormatFault;
use crate::{Error, Result};

/// The end record without its comment, and the longest comment.
const END: u64 = 22;
const MAX_COMMENT: u64 = 65_535;

/// Length of the fixed part of an entry of the directory, and of the header before the data.
const ENTRY: usize = 46;
const LOCAL: usize = 30;

/// The largest directory that is read, about 100 000 arrays.
const MAX_DIRECTORY: u64 = 1 << 24;

/// Fields of 32 and 16 bits with this value are to be found in the 64-bit records.
const IN_ZIP64: u64 = 0xffff_ffff;
const IN_ZIP64_SHORT: u64 = 0xffff;

/// A file inside the zip file, as the directory describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub name: String,
    /// Bytes that the data take in the zip file.
    pub packed: u64,
    /// Bytes of the data.
    pub unpacked: u64,
    method: u16,
    is_encrypted: bool,
    checksum: u32,
    /// Position of the header before the data.
    offset: u64,
}

/// All entries of the directory; `place` names the file in messages.
pub(crate) fn entries(file: &mut (impl Read + Seek), place: &str) -> Result<Vec<Entry>> {
    let fault = |fault| Error::Format { place: place.into(), fault };
    let damaged = |expected| fault(FormatFault::ZipDirectory { expected });
    let length = file.seek(SeekFrom::End(0)).map_err(|error| read_error(error, place))?;
    let tail_start = length.saturating_sub(END + MAX_COMMENT);
    let tail = read_at(file, tail_start, length - tail_start, place)?;
    let end = tail.windows(4).rposition(|window| window == b"PK\x05\x06");
    let end = end.filter(|end| tail.len() - end >= END as usize);
    let end = end.ok_or_else(|| fault(FormatFault::NotZip))?;
    let record = &tail[end..];
    // The number of this part, and of the part with the directory.
    if [4, 6].iter().any(|at| !matches!(number(record, *at, 2), 0 | IN_ZIP64_SHORT)) {
        return Err(fault(FormatFault::ZipParts));
    }
    let (mut n_entries, mut size, mut offset) =
        (number(record, 10, 2), number(record, 12, 4), number(record, 16, 4));
    let end = tail_start + end as u64;
    if n_entries == IN_ZIP64_SHORT || size == IN_ZIP64 || offset == IN_ZIP64 {
        let locator_start = end.checked_sub(20).ok_or_else(|| damaged("a 64-bit locator"))?;
        let locator = read_at(file, locator_start, 20, place)?;
        if !locator.starts_with(b"PK\x06\x07") {
            return Err(damaged("a 64-bit locator"));
        }
        let record = read_at(file, number(&locator, 8, 8), 56, place)?;
        if !record.starts_with(b"PK\x06\x06") {
            return Err(damaged("a 64-bit end record"));
        }
        (n_entries, size, offset) = (number(&record, 32, 8), number(&record, 40, 8), number(&record, 48, 8));
    }
    if size > MAX_DIRECTORY || offset.checked_add(size).is_none_or(|directory_end| directory_end > end) {
        return Err(damaged("a directory of at most 16 MiB before its end record"));
    }
    let directory = read_at(file, offset, size, place)?;
    let mut rest = directory.as_slice();
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (entry, after) = entry(rest).ok_or_else(|| damaged("a whole entry of the directory"))?;
        entries.push(entry);
        rest = after;
    }
    let is_complete = entries.len() as u64 == n_entries;
    if is_complete { Ok(entries) } else { Err(damaged("as many entries as the end record says")) }
}

/// The first entry of a directory and what comes after it; `None` if it is cut or malformed.
fn entry(directory: &[u8]) -> Option<(Entry, &[u8])> {
    let fixed = directory.get(..ENTRY).filter(|fixed| fixed.starts_with(b"PK\x01\x02"))?;
    let [name, extra, comment] = [28, 30, 32].map(|at| number(fixed, at, 2) as usize);
    let name = directory.get(ENTRY..ENTRY + name)?;
    let extra = directory.get(ENTRY + name.len()..ENTRY + name.len() + extra)?;
    let rest = directory.get(ENTRY + name.len() + extra.len() + comment..)?;
    // Sizes that do not fit stand in the extra field, in this order.
    let mut sizes = [number(fixed, 24, 4), number(fixed, 20, 4), number(fixed, 42, 4)];
    let mut wide = zip64_field(extra);
    for size in sizes.iter_mut().filter(|size| **size == IN_ZIP64) {
        // Without the field it is a size of 4 GiB less one byte.
        if let Some((value, after)) = wide.split_at_checked(8) {
            *size = number(value, 0, 8);
            wide = after;
        }
    }
    let [unpacked, packed, offset] = sizes;
    let entry = Entry {
        name: String::from_utf8_lossy(name).into_owned(),
        packed,
        unpacked,
        method: number(fixed, 10, 2) as u16,
        is_encrypted: number(fixed, 8, 2) & 1 == 1,
        checksum: number(fixed, 16, 4) as u32,
        offset,
    };
    Some((entry, rest))
}

/// The extra field of number 1, empty if there is none.
fn zip64_field(mut extra: &[u8]) -> &[u8] {
    while let Some((head, rest)) = extra.split_at_checked(4) {
        let Some((field, rest)) = rest.split_at_checked(number(head, 2, 2) as usize) else { break };
        if number(head, 0, 2) == 1 {
            return field;
        }
        extra = rest;
    }
    &[]
}

/// The data of an entry, unpacked as they are read.
pub(crate) fn open<'a, F: Read + Seek>(
    file: &'a mut F,
    entry: &Entry,
    place: &str,
) -> Result<Unpacker<'a, F>> {
    let fault = |fault| Error::Format { place: place.into(), fault };
    if entry.is_encrypted {
        return Err(fault(FormatFault::ZipEncrypted));
    }
    let local = read_at(file, entry.offset, LOCAL as u64, place)?;
    if !local.starts_with(b"PK\x03\x04") {
        return Err(fault(FormatFault::ZipDirectory { expected: "a header before the data" }));
    }
    let skipped = LOCAL as u64 + number(&local, 26, 2) + number(&local, 28, 2);
    let start = entry.offset.saturating_add(skipped);
    seek(file, start, place)?;
    let packed = file.take(entry.packed);
    let reader = match entry.method {
        0 => Method::Stored(packed),
        8 => Method::Deflated(DeflateDecoder::new(packed)),
        found => return Err(fault(FormatFault::ZipMethod { found })),
    };
    Ok(Unpacker { reader: CrcReader::new(reader), checksum: entry.checksum })
}

/// Reads the data of one entry.
pub(crate) struct Unpacker<'a, F: Read> {
    reader: CrcReader<Method<'a, F>>,
    checksum: u32,
}

enum Method<'a, F: Read> {
    Stored(std::io::Take<&'a mut F>),
    Deflated(DeflateDecoder<std::io::Take<&'a mut F>>),
}

impl<F: Read> Source for Unpacker<'_, F> {
    /// Compares the checksum of what was read, which must have been everything.
    fn finish(self, place: &str) -> Result<()> {
        let (expected, found) = (self.checksum, self.reader.crc().sum());
        let fault = FormatFault::Checksum { expected, found };
        if expected == found { Ok(()) } else { Err(Error::Format { place: place.into(), fault }) }
    }
}

impl<F: Read> Read for Unpacker<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl<F: Read> Read for Method<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Stored(reader) => reader.read(buffer),
            Self::Deflated(reader) => reader.read(buffer),
        }
    }
}

/// A failure of the reader or the unpacker as an error of this crate.
pub(crate) fn read_error(source: IoError, place: &str) -> Error {
    let fault = match source.kind() {
        ErrorKind::InvalidInput | ErrorKind::InvalidData => FormatFault::Deflate,
        ErrorKind::UnexpectedEof => FormatFault::Truncated { within: "the data" },
        _ => return Error::Io { path: place.into(), source },
    };
    Error::Format { place: place.into(), fault }
}

/// Reads `n` bytes, which the caller has bounded; fewer are an error.
fn read_at(file: &mut (impl Read + Seek), start: u64, n: u64, place: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    seek(file, start, place)?;
    file.take(n).read_to_end(&mut bytes).map_err(|error| read_error(error, place))?;
    if (bytes.len() as u64) < n {
        let fault = FormatFault::Truncated { within: "the zip directory" };
        return Err(Error::Format { place: place.into(), fault });
    }
    Ok(bytes)
}

fn seek(file: &mut impl Seek, start: u64, place: &str) -> Result<()> {
    let fault = FormatFault::ZipDirectory { expected: "positions inside of the file" };
    let is_position = i64::try_from(start).is_ok();
    let error = || Error::Format { place: place.into(), fault };
    is_position.then_some(()).ok_or_else(error)?;
    file.seek(SeekFrom::Start(start)).map(drop).map_err(|error| read_error(error, place))
}

/// A number of `n` bytes, little endian; missing bytes count as 0.
fn number(bytes: &[u8], at: usize, n: usize) -> u64 {
    let bytes = bytes.iter().skip(at).take(n);
    bytes.rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
