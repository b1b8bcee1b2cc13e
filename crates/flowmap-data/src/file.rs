//! Readers of data files; every one checks what a header promises before it makes room for it.

pub(crate) mod csv;
pub(crate) mod npy;
pub(crate) mod zip;
