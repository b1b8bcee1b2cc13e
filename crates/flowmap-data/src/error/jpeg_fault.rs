//! What can be wrong with the picture of a JPEG file.

/// How a JPEG file breaks its format, or where it is cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JpegFault {
    /// The file ends before the picture does.
    #[error("the end of the file within {within}")]
    Ends {
        /// The part that is cut.
        within: &'static str,
    },
    /// A scan ends before all of its blocks came.
    #[error("the end of a scan after {block} of its {of} blocks")]
    MissingBlocks {
        /// Whole blocks before the end.
        block: u64,
        /// Blocks that the scan should have.
        of: u64,
    },
    /// Bits that are no Huffman code, or codes for more coefficients than a block has.
    #[error("damaged data in block {block} of the {of} of a scan")]
    Damaged {
        /// Whole blocks before.
        block: u64,
        /// Blocks that the scan should have.
        of: u64,
    },
    /// A restart marker that is missing, or another one.
    #[error("marker {found:02x} in place of the restart marker {expected:02x}, after {block} of {of} blocks")]
    Restart {
        /// The marker that should have been there.
        expected: u8,
        /// The marker that is there.
        found: u8,
        /// Blocks before.
        block: u64,
        /// Blocks that the scan should have.
        of: u64,
    },
    /// Data that no block needs.
    #[error("data behind the last of the {of} blocks of a scan")]
    Excess {
        /// Blocks of the scan, or those up to a restart marker.
        of: u64,
    },
    /// A picture whose scans leave out some coefficients.
    #[error("the end of the image before all scans of component {component} came")]
    MissingScan {
        /// The component, counted from 0.
        component: usize,
    },
    /// A segment of a header that cannot be understood.
    #[error("a damaged {segment}")]
    Segment {
        /// Which segment.
        segment: &'static str,
    },
    /// A scan that needs a table of codes which did not come, as in frames that were taken out of a film.
    #[error("a scan without its Huffman table")]
    MissingTable,
    /// A process that is not decoded, such as arithmetic coding.
    #[error("the process of marker {marker:02x}, where sequential or progressive Huffman coding is read")]
    Process {
        /// The second byte of the marker of the frame.
        marker: u8,
    },
}
