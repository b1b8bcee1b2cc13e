//! IDX, the array files of MNIST, plain or packed by gzip.
//!
//! The layout: two zero bytes, the type (08 for unsigned bytes, the only one read), the number of dimensions, one u32
//! for each of them, big endian; then the values, the last index fastest.
//! LeCun, Cortes, Burges, "The MNIST database of handwritten digits", 1998, section on the file formats.

use std::io::{BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::npy::fill_as_far_as_possible;
use super::npz::open;
use crate::error::FormatFault;
use crate::{Error, Result};

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 16;

/// First bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An array of bytes; the first dimension counts the records.
#[derive(Debug)]
pub(crate) struct Idx {
    /// Extents of all dimensions, from the header.
    pub shape: Vec<u64>,
    /// The values of whole records.
    pub bytes: Vec<u8>,
    /// Why the last records are missing, or the packed data cannot be trusted; `None` if the file is whole.
    pub cut: Option<Error>,
}

/// Reads a file of `N` dimensions; `expected` is the shape for messages, such as `(N, H, W)`.
///
/// # Errors
/// No IDX file, another type or number of dimensions, an extent of 0, more bytes than the header promises.
/// A file that is too short is not an error here: [`Idx::cut`] says where it ends.
pub(crate) fn read<const N: usize>(path: &Path, expected: &'static str) -> Result<Idx> {
    let place = path.display().to_string();
    let io = |source| Error::Io { path: path.into(), source };
    let mut file = BufReader::new(open(path)?.0);
    let start = std::io::BufRead::fill_buf(&mut file).map_err(io)?;
    if start.starts_with(&GZIP) {
        read_from::<N>(&mut MultiGzDecoder::new(file), &place, expected)
    } else {
        read_from::<N>(&mut file, &place, expected)
    }
}

fn read_from<const N: usize>(reader: &mut impl Read, place: &str, expected: &'static str) -> Result<Idx> {
    let fault = |fault| Error::Format { place: place.into(), fault };
    let mut magic = [0; 4];
    let n = fill_as_far_as_possible(reader, &mut magic, place)?;
    let [0, 0, 8, n_dims] = magic else {
        return Err(fault(FormatFault::IdxMagic { found: magic[..n].to_vec() }));
    };
    let mut shape = Vec::new();
    for _ in 0..n_dims {
        let mut extent = [0; 4];
        if fill_as_far_as_possible(reader, &mut extent, place)? < extent.len() {
            return Err(fault(FormatFault::Truncated { within: "the IDX header" }));
        }
        shape.push(u64::from(u32::from_be_bytes(extent)));
    }
    if shape.len() != N {
        return Err(Error::WrongShape { place: place.into(), expected, found: shape });
    }
    let record = shape.iter().skip(1).fold(1u128, |n, extent| n.saturating_mul(u128::from(*extent)));
    let promised = record.saturating_mul(shape.first().map_or(0, |n| u128::from(*n)));
    if promised == 0 {
        return Err(Error::Empty { place: place.into() });
    }
    // Room is made as the bytes come.
    let mut bytes = Vec::new();
    let mut chunk = vec![0; CHUNK];
    while (bytes.len() as u128) < promised {
        let wanted = (promised - bytes.len() as u128).min(CHUNK as u128) as usize;
        let n = match fill_as_far_as_possible(reader, &mut chunk[..wanted], place) {
            // A packed file that is cut or damaged ends here.
            Ok(n) => n,
            Err(Error::Format { .. }) => 0,
            Err(error) => return Err(error),
        };
        bytes.extend(&chunk[..n]);
        if n < wanted {
            let (found, of) = ((bytes.len() as u128 / record) as u64, shape[0]);
            bytes.truncate((u128::from(found) * record) as usize);
            let cut = Some(fault(FormatFault::CutRecord { record: found, of }));
            return Ok(Idx { shape, bytes, cut });
        }
    }
    match fill_as_far_as_possible(reader, &mut chunk[..1], place) {
        Ok(0) => Ok(Idx { shape, bytes, cut: None }),
        Ok(_) => {
            let found = promised.saturating_add(1).try_into().unwrap_or(u64::MAX);
            Err(Error::WrongLength { place: place.into(), expected: promised, found, is_at_least: true })
        }
        // A packed file whose checksum is missing, or is not that of the data.
        Err(error) => Ok(Idx { shape, bytes, cut: Some(error) }),
    }
}
