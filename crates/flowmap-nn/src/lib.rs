//! Networks, methods, losses and optimizers for flow maps on Candle.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod batch;
mod condition;
mod dropout;
mod ema;
mod error;
mod exact_field;
mod flow_map;
mod guidance;
pub mod loss;
pub mod method;
mod mixture_field;
pub mod net;
pub mod optim;
mod params;
mod teacher;
mod times;

pub use batch::{Batch, OwnedBatch, StepKey, as_column};
pub use condition::{Condition, OwnedCondition};
pub use dropout::DropoutKeys;
pub use ema::{Ema, EmaRule, EmaStart};
pub use error::{Error, Result};
pub use exact_field::ExactField;
pub use flow_map::{AverageVelocity, Derivative, FlowMap};
pub use guidance::{Autoguided, Guided, GuidedWithin};
pub use loss::{DeferredLosses, LossAndGradient, Losses, PerSample, loss_and_gradient, tile_rows};
pub use mixture_field::MixtureField;
pub use params::{Init, ParamBuilder, Params, is_finite};
pub use teacher::{Teacher, VelocityField};
pub use times::{At, Column, JumpFunction, TimeColumn, TimeFunction, Times};
