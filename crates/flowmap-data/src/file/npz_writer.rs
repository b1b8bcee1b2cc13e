//! The bytes of NPZ files: a zip of NPY arrays, as NumPy reads them.
//!
//! NEP 1, version 1.0 of the NPY format. Arrays are stored, not packed; nothing here touches a file.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Numbers of an array.
#[derive(Clone, Copy, Debug)]
pub enum NpyData<'a> {
    /// f32, little-endian.
    F32(&'a [f32]),
    /// u32, little-endian.
    U32(&'a [u32]),
}

/// An array by name.
#[derive(Clone, Copy, Debug)]
pub struct NpyArray<'a> {
    /// Name of the array in the file.
    pub name: &'a str,
    /// Shape of the array.
    pub shape: &'a [usize],
    /// Numbers of the array, row-major.
    pub data: NpyData<'a>,
}

/// The bytes of an NPZ file; the caller writes them.
///
/// # Errors
/// The zip writer refuses, for example a name that is given twice.
///
/// # Example
/// ```
/// use flowmap_data::{NpyArray, NpyData, npz_bytes};
///
/// let samples = NpyArray { name: "samples", shape: &[1, 2], data: NpyData::F32(&[0.5, -0.5]) };
/// let labels = NpyArray { name: "labels", shape: &[1], data: NpyData::U32(&[7]) };
/// let bytes = npz_bytes(&[samples, labels])?;
/// assert_eq!(&bytes[..2], b"PK");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn npz_bytes(arrays: &[NpyArray<'_>]) -> std::io::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    // Stored: random numbers do not compress, and readers may map them.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    for array in arrays {
        zip.start_file(format!("{}.npy", array.name), options)?;
        zip.write_all(&npy_header(array))?;
        match array.data {
            NpyData::F32(values) => zip.write_all(&bytes_of(values, f32::to_le_bytes))?,
            NpyData::U32(values) => zip.write_all(&bytes_of(values, u32::to_le_bytes))?,
        }
    }
    Ok(zip.finish()?.into_inner())
}

fn bytes_of<T: Copy>(values: &[T], to_bytes: fn(T) -> [u8; 4]) -> Vec<u8> {
    values.iter().flat_map(|v| to_bytes(*v)).collect()
}

/// Magic, version, length and dictionary, padded so that the numbers start at a multiple of 64.
fn npy_header(array: &NpyArray<'_>) -> Vec<u8> {
    let descr = match array.data {
        NpyData::F32(_) => "<f4",
        NpyData::U32(_) => "<u4",
    };
    let shape: String = array.shape.iter().map(|n| format!("{n},")).collect();
    let mut dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let unpadded = 10 + dict.len() + 1;
    dict.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    dict.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((dict.len() as u16).to_le_bytes());
    header.extend(dict.as_bytes());
    header
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::PointsConfig;

    #[test]
    fn own_reader_reads_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("samples.npz");
        let samples =
            NpyArray { name: "samples", shape: &[2, 3], data: NpyData::F32(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) };
        let labels = NpyArray { name: "labels", shape: &[2], data: NpyData::U32(&[7, 8]) };
        std::fs::write(&path, npz_bytes(&[samples, labels]).unwrap()).unwrap();
        let set = PointsConfig { path, ..PointsConfig::default() }.read(None).unwrap();
        assert_eq!(set.values(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(set.labels(), Some(&[7, 8][..]));
    }
}
