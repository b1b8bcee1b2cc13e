//! The numbers that kernels read and write: tensors as slices, rows of a value and its tangent, results and scratch.

pub(crate) mod pool;
pub(crate) mod rows;
pub(crate) mod slices;
pub(crate) mod uninit;
