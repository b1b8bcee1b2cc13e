//! Claims about data sets and the readers of files.
#![allow(clippy::unwrap_used, missing_docs)]

mod arrays;
mod encoded;
mod files;
mod folders;
mod images;
#[cfg(feature = "parquet")]
mod parquet;
mod robustness;
#[cfg(feature = "webdataset")]
mod seeds;
mod support;
mod tasks;
#[cfg(feature = "webdataset")]
mod webdataset;
