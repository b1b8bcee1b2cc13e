//! Networks, written once for plain and dual tensors.

mod activation_memory;
mod conditioning;
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
pub use cost::Cost;
pub use ddpmpp_unet::{DdpmPpSize, DdpmPpUNet, DdpmPpUNetConfig};
pub use dit::{AttentionScale, Dit, DitConfig, DitInit, DitSize, JumpInput, Positions, QkNorm};
pub use edm2_unet::{Edm2Size, Edm2UNet, Edm2UNetConfig};
pub use mlp::{Mlp, MlpConfig};
pub use precision::Precision;
pub use reversed::{ReversedTime, TimeDirection};
pub(crate) use time_embedding::Sinusoids;
pub use unet::{SecondTime, UNet, UNetConfig};
