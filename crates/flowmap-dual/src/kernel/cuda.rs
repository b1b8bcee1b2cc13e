//! Kernels on CUDA devices: how they are compiled and launched, and the operations that they make up.

mod launcher;
mod launches;
pub(super) mod layer;
pub(super) mod norm;
mod streams;
mod update;

pub(crate) use launcher::trust_one_stream;
pub(crate) use launches::{AdamConstants, Draws};
pub(crate) use streams::{normals, uniforms};
pub(crate) use update::{measure, step};
