//! Differentiable operations that carry a tangent, composed from Candle's own.
//!
//! Every rule here is built from Candle operations whose backward pass is right (see clippy.toml for those that are not),
//! and so is the oracle that fused kernels are tested against.

mod arithmetic;
mod attention;
mod conv;
mod elementwise;
mod gate;
mod linear;
mod modulate;
mod norm;
mod reduce;
mod resize;
mod shape;
mod softmax;

pub use modulate::Modulation;
