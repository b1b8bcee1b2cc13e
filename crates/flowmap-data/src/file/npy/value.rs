//! The types of numbers that arrays are read as.

use super::Dtype;

/// A type of values that arrays are read as.
pub(crate) trait Value: Copy + Default {
    /// The types of NumPy that can be read as this one.
    const EXPECTED: &'static str;

    /// The function from the bytes of a value, little endian and filled up with zeros.
    fn decoder(dtype: &Dtype) -> Option<fn([u8; 8]) -> Self>;
}

/// Numbers, rounded to the nearest f32: whole numbers above 2²⁴ lose their last digits, and what f32 cannot hold becomes
/// infinite.
///
/// The bfloat16 of the package ml_dtypes has no letter of its own: NumPy writes `<V2`, which differs from `|V2`, the two
/// bytes of anything, in that the order of bytes matters.
impl Value for f32 {
    const EXPECTED: &'static str = "f2, f4, f8, bfloat16, whole numbers or b1";

    fn decoder(dtype: &Dtype) -> Option<fn([u8; 8]) -> Self> {
        match (dtype.kind, dtype.size) {
            ('f', 2) => Some(|[a, b, ..]| half::f16::from_le_bytes([a, b]).to_f32()),
            ('f', 4) => Some(|[a, b, c, d, ..]| f32::from_le_bytes([a, b, c, d])),
            ('f', 8) => Some(|wide| f64::from_le_bytes(wide) as f32),
            ('V', 2) if dtype.descr.starts_with(['<', '>']) => {
                Some(|[a, b, ..]| half::bf16::from_le_bytes([a, b]).to_f32())
            }
            ('u', 8) => Some(|wide| u64::from_le_bytes(wide) as f32),
            ('i', 1) => Some(|[a, ..]| i8::from_le_bytes([a]).into()),
            ('i', 2) => Some(|[a, b, ..]| i16::from_le_bytes([a, b]).into()),
            ('i', 4) => Some(|[a, b, c, d, ..]| i32::from_le_bytes([a, b, c, d]) as f32),
            ('i', 8) => Some(|wide| i64::from_le_bytes(wide) as f32),
            ('b', 1) | ('u', 1 | 2 | 4) => Some(|wide| u64::from_le_bytes(wide) as f32),
            _ => None,
        }
    }
}

/// Bytes, such as pixels from 0 to 255.
impl Value for u8 {
    const EXPECTED: &'static str = "u1 or b1";

    fn decoder(dtype: &Dtype) -> Option<fn([u8; 8]) -> Self> {
        matches!((dtype.kind, dtype.size), ('u' | 'b', 1)).then_some(|[a, ..]| a)
    }
}

/// Whole numbers, widened; unsigned ones above the range of i64 become its largest.
impl Value for i64 {
    const EXPECTED: &'static str = "i1, i2, i4, i8, u1, u2, u4, u8 or b1";

    fn decoder(dtype: &Dtype) -> Option<fn([u8; 8]) -> Self> {
        match (dtype.kind, dtype.size) {
            ('i', 1) => Some(|[a, ..]| i8::from_le_bytes([a]).into()),
            ('i', 2) => Some(|[a, b, ..]| i16::from_le_bytes([a, b]).into()),
            ('i', 4) => Some(|[a, b, c, d, ..]| i32::from_le_bytes([a, b, c, d]).into()),
            ('i', 8) => Some(i64::from_le_bytes),
            ('b', 1) | ('u', 1 | 2 | 4 | 8) => {
                Some(|wide| i64::try_from(u64::from_le_bytes(wide)).unwrap_or(i64::MAX))
            }
            _ => None,
        }
    }
}

/// The values that are stored in bytes.
pub(crate) fn decoded<T>(bytes: &[u8], dtype: &Dtype, decode: fn([u8; 8]) -> T) -> impl Iterator<Item = T> {
    let size = dtype.size as usize;
    bytes.chunks_exact(size).map(move |bytes| {
        let mut wide = [0; 8];
        // All to little endian, so that one decoder is enough.
        for (to, byte) in bytes.iter().enumerate() {
            wide[if dtype.is_big_endian { size - 1 - to } else { to }] = *byte;
        }
        decode(wide)
    })
}
