//! Whether a PNG file is whole.
//!
//! W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", 5.2 to 5.6: chunks with checksums up to `IEND`.
//! A decoder stops at the last pixel, and so before the last checksum and the end.

use flate2::Crc;

use crate::error::PngFault;

/// First bytes of a PNG file.
const SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];

/// Checks the chunks of a PNG file up to its end.
///
/// # Errors
/// A file that ends before its last chunk, a chunk that differs from its checksum.
pub(crate) fn check(file: &[u8]) -> Result<(), PngFault> {
    let mut rest = file.get(SIGNATURE.len()..).unwrap_or_default();
    for number in 0.. {
        let cut = PngFault::Ends { chunk: number };
        let Some((length, behind)) = rest.split_first_chunk::<4>() else { return Err(cut) };
        let length = u32::from_be_bytes(*length) as usize;
        let Some((chunk, behind)) = behind.split_at_checked(length.saturating_add(4)) else {
            return Err(cut);
        };
        let Some((expected, behind)) = behind.split_first_chunk::<4>() else { return Err(cut) };
        let mut crc = Crc::new();
        crc.update(chunk);
        let (expected, found) = (u32::from_be_bytes(*expected), crc.sum());
        if expected != found {
            let kind = chunk.iter().take(4).map(|byte| char::from(*byte)).collect();
            return Err(PngFault::Checksum { kind, expected, found });
        }
        if chunk.starts_with(b"IEND") {
            break;
        }
        rest = behind;
    }
    Ok(())
}
