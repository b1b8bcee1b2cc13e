//! Convolution of images, and changing their size by a whole factor.

pub(crate) mod columns;
pub(crate) mod correlate;
pub(crate) mod operation;
pub(crate) mod passes;
pub(crate) mod resize;
pub(crate) mod winograd;
