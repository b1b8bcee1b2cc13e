//! Readers of data files, and the bytes of NPZ files.
//!
//! Every reader checks what a header promises before it makes room for it.

pub(crate) mod csv;
pub(crate) mod idx;
pub(crate) mod npy;
pub(crate) mod npz;
pub(crate) mod npz_writer;
#[cfg(feature = "webdataset")]
pub(crate) mod tar;
pub(crate) mod zip;
