//! Tar files, as far as WebDataset needs them: names, sizes and data of regular files, one after the other.
//!
//! POSIX.1-2001 (ustar and pax) with GNU's long names: headers of 512 bytes, data filled up to a multiple of it.
//! Every header has a checksum, which is compared, so that no other file is taken for a tar file.

use std::io::Read;

use super::npy::fill_as_far_as_possible;
use crate::error::FormatFault;
use crate::{Error, Result};

/// Bytes of a header, and what data are filled up to.
const BLOCK: usize = 512;

/// The largest member that is read; an image of a training set is a thousandth of it.
const MAX_MEMBER: u64 = 1 << 30;

/// Where fields are in a header.
const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const PREFIX: std::ops::Range<usize> = 345..500;

/// A regular file in a tar file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub name: String,
    pub data: Vec<u8>,
}

/// The members of a tar file as they are read.
pub(crate) struct Members<R> {
    reader: R,
    place: String,
    n_read: u64,
}

impl<R: Read> Members<R> {
    /// Reads from the start of a tar file; `place` names it in messages.
    pub fn new(reader: R, place: String) -> Self {
        Self { reader, place, n_read: 0 }
    }

    /// The next regular file, `None` at the end.
    ///
    /// # Errors
    /// A header that is none, a member that is cut short, by its name or its number.
    pub fn next(&mut self) -> Result<Option<Member>> {
        let mut long_name = None;
        loop {
            let mut header = [0; BLOCK];
            let n = fill_as_far_as_possible(&mut self.reader, &mut header, &self.place)?;
            // Two blocks of zeros end the file; some writers leave them out.
            if n == 0 || (n == BLOCK && header.iter().all(|byte| *byte == 0)) {
                return Ok(None);
            }
            let number = self.n_read;
            if n < BLOCK {
                return Err(self.fault(FormatFault::CutHeader { member: number }));
            }
            let sum = header.iter().enumerate().map(|(at, byte)| {
                // The checksum itself counts as blanks.
                u64::from(if CHECKSUM.contains(&at) { b' ' } else { *byte })
            });
            if number_of(&header[CHECKSUM]) != Some(sum.sum()) {
                return Err(self.fault(FormatFault::TarHeader { member: number }));
            }
            self.n_read += 1;
            let name = long_name.clone().unwrap_or_else(|| name_of(&header));
            let size = number_of(&header[SIZE]).filter(|size| *size <= MAX_MEMBER);
            let size = size.ok_or_else(|| self.fault(FormatFault::TarHeader { member: number }))?;
            let data = self.data(size, &name)?;
            match header[KIND] {
                b'0' | 0 => return Ok(Some(Member { name, data })),
                b'L' => long_name = Some(text(&data)),
                b'x' => long_name = pax_path(&data).or(long_name),
                // Folders, links and the like hold no samples.
                _ => long_name = None,
            }
        }
    }

    /// The data of a member, and past what fills them up.
    fn data(&mut self, size: u64, name: &str) -> Result<Vec<u8>> {
        let mut data = Vec::new(); // grows as bytes come
        let padded = size.next_multiple_of(BLOCK as u64);
        let read = (&mut self.reader).take(padded).read_to_end(&mut data);
        read.map_err(|source| Error::Io { path: self.place.clone().into(), source })?;
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

/// The value of `path` in the records of pax, `LENGTH KEY=VALUE\n`.
fn pax_path(data: &[u8]) -> Option<String> {
    let records = String::from_utf8_lossy(data);
    let value = |line: &str| Some(line.split_once(' ')?.1.strip_prefix("path=")?.to_owned());
    records.lines().find_map(value)
}
