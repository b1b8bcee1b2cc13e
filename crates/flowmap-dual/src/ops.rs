//! Differentiable operations that carry a tangent.
//!
//! Every rule here is built from Candle operations whose backward pass is right (see clippy.toml for those that are not),
//! and so is the oracle that fused kernels are tested against.
//! What has a fused kernel takes it in f32 and is composed elsewhere; [`crate::fused_operations`] lists them by device.
//! Layers take x in a half type with weights in f32 (`mixed.rs`).

mod arithmetic;
mod attention;
mod conv;
mod elementwise;
mod gate;
mod linear;
mod mixed;
mod modulate;
mod norm;
mod reduce;
mod resize;
mod shape;
mod softmax;

pub use linear::DenseLayer;
pub use modulate::Modulation;
