//! Networks, written once for plain and dual tensors.

mod activation_memory;
mod conditioning;
mod config;
mod conv;
mod cost;
mod ddpmpp_unet;
mod dit;
mod edm2_unet;
mod linear;
mod mlp;
mod patches;
mod precision;
mod reversed;
mod time_embedding;
mod unet;

pub use activation_memory::ActivationMemory;
pub use conditioning::Conditioning;
pub use config::{DataSpec, NetConfig, NetworkConfig, Outline, OwnNetwork};
pub use cost::Cost;
pub use ddpmpp_unet::{DdpmPpSize, DdpmPpUNet, DdpmPpUNetConfig};
pub use dit::{AttentionScale, Dit, DitConfig, DitInit, DitSize, JumpInput, Positions, QkNorm};
pub use edm2_unet::{Edm2Size, Edm2UNet, Edm2UNetConfig};
pub use mlp::{Mlp, MlpConfig};
pub use precision::Precision;
pub use reversed::{ReversedTime, TimeDirection};
pub use unet::{SecondTime, UNet, UNetConfig};

/// Layers that networks are made of, for networks of other crates as well; [`flowmap_dual::Dual`] has the operations
/// without parameters, such as attention and normalization.
pub mod layer {
    pub use super::conditioning::{check_shape, image_sizes};
    pub use super::conv::Conv;
    pub use super::linear::Linear;
    pub use super::time_embedding::{Sinusoids, TimeEmbedder};
}
