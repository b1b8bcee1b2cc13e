//! Readers of data files; every one checks what a header promises before it makes room for it.

pub(crate) mod csv;
pub(crate) mod idx;
pub(crate) mod npy;
pub(crate) mod npz;
#[cfg(feature = "webdataset")]
pub(crate) mod tar;
pub(crate) mod zip;
