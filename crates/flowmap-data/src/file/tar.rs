//! Tar files, as far as WebDataset needs them: names, sizes and data of regular files, one after the other.
//!
//! POSIX.1-2001 (ustar and pax) with GNU's long names: headers of 512 bytes, data filled up to a multiple of it.
//! Every header has a checksum, which is compared, so that no other file is taken for a tar file.
//! Two blocks of zeros end a file; what follows them in files that were put together is read as well.
//! Links and sparse files have no data of their own, or in another form, and are given by their names alone.

use std::io::Read;

use super::npy::fill_as_far_as_possible;
use super::zip::read_error;
use crate::error::FormatFault;
use crate::{Error, Result};

/// Bytes of a header, and what data are filled up to.
const BLOCK: usize = 512;

/// The largest member that is read; an image of a training set is a thousandth of it.
const MAX_MEMBER: u64 = 1 << 30;

/// Places of the fields in a header.
const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const PREFIX: std::ops::Range<usize> = 345..500;

/// A file in a tar file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub name: String,
    pub content: Content,
}

/// Kind of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// A regular file with its data.
    File(Vec<u8>),
    /// Another kind, such as a link, in words.
    Other(&'static str),
}

/// The members of a tar file as they are read.
pub(crate) struct Members<R> {
    reader: R,
    place: String,
    n_read: u64,
    /// Blocks of zeros before where the file is read.
    n_zeros: u64,
}

impl<R: Read> Members<R> {
    /// Reads from the start of a tar file; `place` names it in messages.
    pub fn new(reader: R, place: String) -> Self {
        Self { reader, place, n_read: 0, n_zeros: 0 }
    }

    /// Whether the file, read to its end, ends with two blocks of zeros; some writers leave them out.
    pub fn has_end(&self) -> bool {
        self.n_zeros >= 2
    }

    /// The next file, `None` at the end.
    ///
    /// # Errors
    /// A malformed header, or a member that is cut short or too large, with its name or number.
    pub fn next(&mut self) -> Result<Option<Member>> {
        let mut pax = Pax::default();
        loop {
            let mut header = [0; BLOCK];
            let n = fill_as_far_as_possible(&mut self.reader, &mut header, &self.place)?;
            if n == 0 {
                return Ok(None);
            }
            let number = self.n_read;
            if n < BLOCK && self.n_zeros > 0 && header.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            if n < BLOCK {
                return Err(self.fault(FormatFault::CutHeader { member: number }));
            }
            if header.iter().all(|byte| *byte == 0) {
                self.n_zeros += 1;
                continue;
            }
            self.n_zeros = 0;
            let sum = header.iter().enumerate().map(|(at, byte)| {
                // The checksum itself counts as blanks.
                u64::from(if CHECKSUM.contains(&at) { b' ' } else { *byte })
            });
            if number_of(&header[CHECKSUM]) != Some(sum.sum()) {
                return Err(self.fault(FormatFault::TarHeader { member: number }));
            }
            self.n_read += 1;
            let name = pax.path.clone().unwrap_or_else(|| name_of(&header));
            let size = pax.size.or_else(|| number_of(&header[SIZE]));
            let size = size.ok_or_else(|| self.fault(FormatFault::TarHeader { member: number }))?;
            if size > MAX_MEMBER {
                return Err(self.fault(FormatFault::TarMember { max: MAX_MEMBER, name, size }));
            }
            let kind = header[KIND];
            // Links have the size of what they lead to in some files, and no data.
            let data = if matches!(kind, b'1'..=b'6') { Vec::new() } else { self.data(size, &name)? };
            let content = match kind {
                b'L' => {
                    pax.path = Some(text(&data));
                    continue;
                }
                b'x' => {
                    pax.add(&data);
                    continue;
                }
                // What holds for all members, and the long name of what a link leads to.
                b'g' | b'K' => continue,
                _ if name.ends_with('/') => None,
                b'0' | b'7' | 0 if pax.is_sparse => Some(Content::Other("a sparse file")),
                b'0' | b'7' | 0 => Some(Content::File(data)),
                b'1' => Some(Content::Other("a hard link")),
                b'2' => Some(Content::Other("a symbolic link")),
                b'3' | b'4' | b'6' => Some(Content::Other("a device")),
                b'S' => return Err(self.fault(FormatFault::TarSparse { name })),
                b'M' => return Err(self.fault(FormatFault::TarVolume { name })),
                // Folders and what only some programs know.
                _ => None,
            };
            match content {
                Some(content) => return Ok(Some(Member { name, content })),
                None => pax = Pax::default(),
            }
        }
    }

    /// The data of a member, and past what fills them up.
    fn data(&mut self, size: u64, name: &str) -> Result<Vec<u8>> {
        let mut data = Vec::new(); // grows as bytes come
        let padded = size.next_multiple_of(BLOCK as u64);
        let read = (&mut self.reader).take(padded).read_to_end(&mut data);
        read.map_err(|error| read_error(error, &self.place))?;
        if (data.len() as u64) < size {
            let place = format!("{}, member `{name}`", self.place);
            let fault = FormatFault::Truncated { within: "this member" };
            return Err(Error::Format { place, fault });
        }
        data.truncate(size as usize);
        Ok(data)
    }

    fn fault(&self, fault: FormatFault) -> Error {
        Error::Format { place: self.place.clone(), fault }
    }
}

/// Text up to the first zero.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// An octal number, or with the first bit set a binary one.
fn number_of(field: &[u8]) -> Option<u64> {
    if let Some((first, rest)) = field.split_first().filter(|(first, _)| **first & 0x80 != 0) {
        let small = rest.len().checked_sub(7).map(|n| rest[..n].iter().all(|byte| *byte == 0));
        let bits = rest.iter().rev().take(7).rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
        return Some(bits).filter(|_| *first == 0x80 && small != Some(false));
    }
    let digits = text(field);
    let digits = digits.trim();
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

fn name_of(header: &[u8; BLOCK]) -> String {
    let (name, prefix) = (text(&header[NAME]), text(&header[PREFIX]));
    let is_ustar = header[257..].starts_with(b"ustar\0");
    if is_ustar && !prefix.is_empty() { format!("{prefix}/{name}") } else { name }
}

/// Extensions of a header by the members before it.
#[derive(Default)]
struct Pax {
    path: Option<String>,
    size: Option<u64>,
    is_sparse: bool,
}

impl Pax {
    /// Takes the records of pax, `LENGTH KEY=VALUE\n`, the length with everything.
    fn add(&mut self, mut records: &[u8]) {
        while let Some((key, value, rest)) = record(records) {
            match key {
                b"path" => self.path = Some(String::from_utf8_lossy(value).into_owned()),
                b"size" => self.size = String::from_utf8_lossy(value).parse().ok(),
                _ if key.starts_with(b"GNU.sparse.") => self.is_sparse = true,
                _ => {}
            }
            records = rest;
        }
    }
}

/// The first record of pax with what follows it.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
    let line = records.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = line.iter().position(|byte| *byte == b'=')?;
    Some((&line[..equals], &line[equals + 1..], &records[length..]))
}
