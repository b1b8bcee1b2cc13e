//! Dropout of the EDM2 U-Net: where it is on, and that nothing but seed, step, row and layer decides its masks.
#![allow(clippy::unwrap_used)]

#[path = "support/image_nets.rs"]
mod image_nets;

use std::num::NonZeroUsize;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{Linear, NoiseStream, Stream};
use flowmap_nn::net::{ActivationMemory, Edm2UNetConfig};
use flowmap_nn::objective::{Combination, LsdStop, Objective, Term};
use flowmap_nn::{AverageVelocity, Batch, ParamBuilder, Params, loss_and_gradient};
use image_nets::{ImageCase, Kind, cases, images};

/// Samples of a batch.
const N: usize = 8;
/// Number of the first of them in the run.
const FIRST: u64 = 24;
/// Half of all activations dropped change a gradient by more than this, relative to the largest.
const VISIBLE: f64 = 1e-2;
/// Sums in f64 in another order.
const ROUNDING: f64 = 1e-11;

/// The U-Net without labels, with this much dropout.
fn edm2(dropout: f64) -> ImageCase {
    let case = cases().into_iter().find(|case| case.name == "edm2, no labels").unwrap();
    let Kind::Edm2(config) = case.kind else { unreachable!() };
    ImageCase { kind: Kind::Edm2(Edm2UNetConfig { dropout, ..config }), ..case }
}

fn build(dropout: f64, activations: ActivationMemory) -> (Box<dyn AverageVelocity>, Params) {
    let case = edm2(dropout);
    let builder = ParamBuilder::trainable(case.tensors(), DType::F64, &Device::Cpu);
    case.build(builder.with_activations(activations))
}

/// The loss of a batch and the gradients of all parameters.
fn step(
    objective: &Combination,
    (model, params): &(Box<dyn AverageVelocity>, Params),
) -> (f64, Vec<Vec<f64>>) {
    let (x0, x1) = (images(N, Stream::Base, DType::F64), images(N, Stream::Data, DType::F64));
    let batch = Batch { x0: &x0, x1: &x1, condition: Default::default(), interpolant: &Linear };
    let times = NoiseStream::new(1, Stream::Times);
    let found = loss_and_gradient(objective, model, model, params, &batch, &times, FIRST).unwrap();
    let host = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let gradients = params.vars().values().map(|var| host(found.gradients.get(var).unwrap())).collect();
    (found.losses.read().unwrap().loss, gradients)
}

fn combination(objective: Objective) -> Combination {
    Combination::new(vec![Term::new(objective, 1.0)]).unwrap()
}

#[test]
fn dropout_is_on_in_the_diagonal_pass_alone() {
    let (with, without) = (build(0.5, ActivationMemory::Keep), build(0.0, ActivationMemory::Keep));
    let both = |objective| {
        let objective = combination(objective);
        (step(&objective, &with), step(&objective, &without))
    };
    let (dropped, whole) = both(Objective::FlowMatching {});
    let largest = |x: &mut dyn Iterator<Item = f64>| x.fold(0.0f64, |max, x| max.max(x.abs()));
    let (found, expected) = (dropped.1.iter().flatten(), whole.1.iter().flatten());
    let difference = largest(&mut found.zip(expected.clone()).map(|(a, b)| a - b));
    assert!(difference > VISIBLE * largest(&mut expected.copied()), "{difference}");
    let (dropped, whole) = both(Objective::Lsd { stop: LsdStop::None });
    assert_eq!(dropped, whole);
}

#[test]
fn micro_batches_and_recomputed_blocks_draw_the_same_masks() {
    let objective = combination(Objective::FlowMatching {});
    let (loss, gradients) = step(&objective, &build(0.5, ActivationMemory::Keep));
    for activations in [ActivationMemory::Keep, ActivationMemory::Recompute] {
        for rows in [1, 3, N] {
            let objective = objective.clone().with_micro_batch(NonZeroUsize::new(rows));
            let (other_loss, other) = step(&objective, &build(0.5, activations));
            assert!((loss - other_loss).abs() < ROUNDING * loss, "{activations:?}, {rows}");
            let largest = gradients.iter().flatten().fold(0.0f64, |max, g| max.max(g.abs()));
            for (a, b) in gradients.iter().flatten().zip(other.iter().flatten()) {
                assert!((a - b).abs() < ROUNDING * largest, "{activations:?}, {rows}: {a} and {b}");
            }
        }
    }
}
