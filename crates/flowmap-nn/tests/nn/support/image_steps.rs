//! Loss and gradients of the image networks, by each way that gradients take.
#![allow(clippy::unwrap_used, clippy::panic, reason = "not every test needs all of it")]

use candle_core::{DType, Device};
use flowmap_dual::{GradientSums, gradient_of};
use flowmap_nn::net::ActivationMemory;
use flowmap_nn::{AverageVelocity, ParamBuilder, Params};

use super::image_nets::{ImageCase, host, loss};

pub fn trainable(
    case: &ImageCase,
    activations: ActivationMemory,
    dtype: DType,
) -> (Box<dyn AverageVelocity>, Params) {
    let builder = ParamBuilder::trainable(case.tensors(), dtype, &Device::Cpu);
    case.build(builder.with_activations(activations))
}

/// Where fused layers leave the gradients of weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// In Candle's store.
    Stored,
    /// In sums, in place.
    Summed,
    /// In sums, in place, with a backward pass of our own through fused operations, as in a training step.
    Walked,
}

/// Loss and gradients.
pub fn step(
    case: &ImageCase,
    activations: ActivationMemory,
    dtype: DType,
    way: Way,
) -> (f64, Vec<(String, Vec<f64>)>) {
    let (model, params) = trainable(case, activations, dtype);
    let weights = params.vars().values().map(|v| v.as_tensor()).filter(|_| way != Way::Stored);
    let mut sums = GradientSums::new(weights);
    let (loss, gradients) = sums.collect(|| {
        let loss = || loss(case, &*model, dtype);
        if way == Way::Walked {
            let loss = || {
                let loss = loss();
                Ok::<_, flowmap_dual::Error>((loss.clone(), host(&loss)[0]))
            };
            let (gradients, loss) = gradient_of(loss).unwrap();
            return (loss, gradients);
        }
        let loss = loss();
        (host(&loss)[0], loss.backward().unwrap())
    });
    let of = |(name, var): (&String, &candle_core::Var)| {
        let summed = sums.take(var).unwrap();
        let gradient = match (summed, gradients.get(var)) {
            (Some(a), Some(b)) => (a + b).unwrap(),
            (Some(one), None) => one,
            (None, Some(one)) => one.clone(),
            (None, None) => panic!("{}: `{name}` has no gradient", case.name),
        };
        (name.clone(), host(&gradient))
    };
    (loss, params.vars().iter().map(of).collect())
}
