//! What several tests need.

pub mod fixture;
pub mod gaussian_net;
pub mod image_nets;
pub mod image_steps;
pub mod measure;
pub mod mixture_net;
pub mod mlps;
pub mod path;
pub mod setting;
pub mod truths;
