//! Networks, objectives and optimizers for flow maps on Candle.
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
mod mixture_field;
pub mod net;
pub mod objective;
pub mod optim;
mod params;
mod teacher;
mod tiles;
mod times;
mod unread;

pub use batch::{Batch, Position};
pub use condition::{Condition, OwnedCondition};
pub use dropout::DropoutKeys;
pub use ema::{Ema, EmaRule, EmaStart};
pub use error::{Error, Result};
pub use exact_field::ExactField;
pub use flow_map::{AverageVelocity, FlowMap};
pub use guidance::{Autoguided, Guided, GuidedWithin};
pub use loss::PerSample;
pub use mixture_field::MixtureField;
pub use params::{Init, ParamBuilder, Params, is_finite};
pub use teacher::{Context, Teacher, VelocityField};
pub use tiles::{LossAndGradient, loss_and_gradient, tile_rows};
pub use times::{TimeColumn, Times};
pub use unread::{Losses, UnreadLosses};
