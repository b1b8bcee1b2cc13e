//! What is timed: training steps, sampling and layers, each made once and then called again and again.
//!
//! The criterion benches of this crate and the comparison in `benches/peers` time the same things from here.
#![forbid(unsafe_code)]

pub mod case;
pub mod dit_block;
pub mod image_layers;
pub mod layer;
pub mod networks;
pub mod random;
pub mod sampling;
pub mod token_layers;
pub mod training;
