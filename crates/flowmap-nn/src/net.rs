//! Networks, written once for plain and dual tensors.

mod mlp;

pub use mlp::{Mlp, MlpConfig};
