//! What can be wrong with the chunks of a PNG file.

/// How a PNG file is cut or damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PngFault {
    /// The file ends before the chunk `IEND` does.
    #[error("the end of the file within chunk {chunk} (counted from 0), before the end of the image")]
    Ends {
        /// The chunk that is cut or missing.
        chunk: u64,
    },
    /// A chunk that differs from its checksum.
    #[error("chunk {kind:?} with checksum {found:08x}, where the file says {expected:08x}")]
    Checksum {
        /// The kind of the chunk.
        kind: String,
        /// The sum in the file.
        expected: u32,
        /// The sum of the chunk.
        found: u32,
    },
}
