//! Matrix products on slices: by the library (`gemm`), or with a right operand that is packed once (`panels`, `micro`).

pub(crate) mod gemm;
pub(crate) mod micro;
pub(crate) mod panels;
