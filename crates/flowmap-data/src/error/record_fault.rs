//! What can be wrong with one image of many.

use super::{JpegFault, PngFault};

/// A fault of one image of many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// A file that is not an image, or a damaged one.
    #[error("expected a PNG, JPEG or WebP image, found {message}")]
    NotAnImage {
        /// Message of the decoder.
        message: String,
    },
    /// A JPEG image that is cut or damaged.
    #[error("expected a whole JPEG image, found {0}")]
    Jpeg(#[from] JpegFault),
    /// A PNG image that is cut or damaged.
    #[error("expected a whole PNG image, found {0}")]
    Png(#[from] PngFault),
    /// An image whose header says that the file is longer.
    #[error("expected a whole WebP image of {expected} bytes, found {found}")]
    CutImage {
        /// The length of the file by its header.
        expected: u64,
        /// The length of the file.
        found: u64,
    },
    /// An image of another shape than those before it.
    #[error("expected an image of {} x {} pixels and {} channels, found {} x {} and {}",
            expected[1], expected[2], expected[0], found[1], found[2], found[0])]
    OtherShape {
        /// `[C, H, W]` of the others.
        expected: [usize; 3],
        /// `[C, H, W]` of this one.
        found: [usize; 3],
    },
    /// An image that is smaller than what is to be cut out of it.
    #[error(
        "expected an image of at least {side} x {side} pixels, found {height} x {width} (height x width)"
    )]
    TooSmall {
        /// Side of the square to cut out.
        side: u32,
        /// Height of the image.
        height: u32,
        /// Width of the image.
        width: u32,
    },
    /// A record that the reader of the file cannot make sense of.
    #[error("expected a record that can be read, found: {message}")]
    Unreadable {
        /// Message of the reader.
        message: String,
    },
    /// A sample without an image.
    #[error(
        "expected an image of the same key next to it (.png, .jpg, .jpeg or .webp), found none; members of a sample stand next to each other, as `tar --sort=name` packs them"
    )]
    NoImage,
    /// A sample with two images.
    #[error("expected one image of this key, found `{other}` in addition")]
    TwoImages {
        /// The other one.
        other: String,
    },
    /// A sample with two classes.
    #[error("expected one class of this key, found two")]
    TwoClasses,
    /// An image whose name has several dots.
    #[error(
        "expected a name with one dot, found the ending `{ending}`, since a key ends at the first dot; pack the image again under another name"
    )]
    DottedName {
        /// Part of the name after the first dot.
        ending: String,
    },
    /// A member of a tar file without data of its own.
    #[error("expected a regular file, found {kind}; pack it again with the data of its own")]
    NotAFile {
        /// Kind of the member.
        kind: &'static str,
    },
    /// An image without a class among images that have one.
    #[error("expected a class, as other images have, found none")]
    NoClass,
    /// A class that is not a number, or beyond the classes.
    #[error("expected a class, a whole number from {min} to {max}, found {found:?}")]
    Class {
        /// The label of class 0.
        min: i64,
        /// The largest label.
        max: i64,
        /// The text.
        found: String,
    },
}
