//! What can be wrong inside a file.

/// How a file breaks its format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatFault {
    /// A file that is not an NPY file.
    #[error("expected an NPY file, which starts with \\x93NUMPY, found other bytes")]
    NpyMagic,
    /// A version of NPY that is not known.
    #[error("expected NPY version 1, 2 or 3, found {found}")]
    NpyVersion {
        /// The major version in the file.
        found: u8,
    },
    /// A header of NPY that cannot be understood.
    #[error("expected {expected} in the NPY header, found {found:?}")]
    NpyHeader {
        /// Length that the header needs.
        expected: &'static str,
        /// The header from where it goes wrong, cut after some letters.
        found: String,
    },
    /// A header of NPY that is longer than any real one.
    #[error("expected an NPY header of at most {max} bytes, found {found}")]
    NpyHeaderLength {
        /// The longest header that is read.
        max: u64,
        /// The length in the file.
        found: u64,
    },
    /// A file that is not a zip file.
    #[error("expected a zip file, found no zip directory")]
    NotZip,
    /// A zip file with an inconsistent directory.
    #[error("the zip directory is damaged: expected {expected}")]
    ZipDirectory {
        /// Expected content.
        expected: &'static str,
    },
    /// A zip file packed by a method that is not read.
    #[error("expected zip method 0 (stored) or 8 (deflate), found {found}")]
    ZipMethod {
        /// The method in the file.
        found: u16,
    },
    /// A zip file with a password.
    #[error("expected a zip file without a password, found encrypted data")]
    ZipEncrypted,
    /// One of several zip files that belong together.
    #[error("expected a zip file in one part, found one part of several")]
    ZipParts,
    /// Data that differ from what was packed.
    #[error("expected checksum {expected:08x}, found {found:08x}")]
    Checksum {
        /// The sum in the directory.
        expected: u32,
        /// The sum of the data.
        found: u32,
    },
    /// The file ends too early.
    #[error("the file ends within {within}")]
    Truncated {
        /// The part that is cut.
        within: &'static str,
    },
    /// A packed array that cannot be unpacked.
    #[error("the compressed data are damaged")]
    Deflate,
    /// A file that is not an IDX file of bytes.
    #[error("expected an IDX file of bytes, which starts with 00 00 08, found {found:02x?}")]
    IdxMagic {
        /// First bytes of the file.
        found: Vec<u8>,
    },
    /// A file of records of one length that ends within one.
    #[error("the file ends within record {record} (counted from 0) of {of}")]
    CutRecord {
        /// The record that is cut or missing.
        record: u64,
        /// Number of records that there should be.
        of: u64,
    },
    /// A file that is not a tar file, or a damaged one.
    #[error("expected the header of a tar file, found other bytes, after {member} members")]
    TarHeader {
        /// Number of members before.
        member: u64,
    },
    /// A tar file that ends within a header.
    #[error("the file ends within the header of a member, after {member} members")]
    CutHeader {
        /// Number of members before.
        member: u64,
    },
    /// A tar file that is packed by a method that is not read.
    #[error("expected a tar file, plain or packed by gzip, found one packed by {packing}")]
    TarPacking {
        /// The method.
        packing: &'static str,
    },
    /// A member of a tar file that is larger than any image.
    #[error("expected members of at most {max} bytes, found `{name}` of {size}")]
    TarMember {
        /// The largest member that is read.
        max: u64,
        /// The name of the member.
        name: String,
        /// Size in bytes.
        size: u64,
    },
    /// A sparse member of a tar file.
    #[error("expected regular files, found the sparse file `{name}`; pack it without `--sparse`")]
    TarSparse {
        /// The name of the member.
        name: String,
    },
    /// A tar file of several volumes.
    #[error("expected a whole tar file, found a volume that goes on with `{name}`")]
    TarVolume {
        /// The name of the member.
        name: String,
    },
    /// A file that is not a Parquet file, or a damaged one.
    #[error("expected a whole Parquet file, found: {message}")]
    Parquet {
        /// Message of the reader.
        message: String,
    },
    /// A text file that is not UTF-8.
    #[error("line {line}: expected text in UTF-8, found other bytes")]
    NotText {
        /// The line, counted from 1.
        line: u64,
    },
}
