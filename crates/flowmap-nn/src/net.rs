//! Networks, written once for plain and dual tensors.

mod conditioning;
mod mlp;

pub use conditioning::Conditioning;
pub use mlp::{Mlp, MlpConfig};
