//! Dropout of the U-Nets: if it is on, and that nothing but seed, step, row and layer decides its masks.

use std::num::NonZeroUsize;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{Linear, NoiseStream, Stream};
use flowmap_dual::Dual;
use flowmap_nn::loss::{Combination, DropoutPasses, Term};
use flowmap_nn::method::{FlowMatching, Lmd, LmdStop, Lsd, LsdStop, MeanFlow, MeanFlowVelocity, Objective};
use flowmap_nn::net::{ActivationMemory, DdpmPpUNetConfig, Edm2UNetConfig};
use flowmap_nn::{
    AverageVelocity, Batch, Condition, DropoutKeys, ParamBuilder, Params, StepKey, Teacher, loss_and_gradient,
};

use crate::support::image_nets::{ImageCase, Kind, cases, images};

/// Samples of a batch.
const N: usize = 8;
/// Number of the first of them in the run.
const FIRST: u64 = 24;
/// Half of all activations dropped change a gradient by more than this, relative to the largest.
const VISIBLE: f64 = 1e-2;
/// Sums in f64 in another order.
const ROUNDING: f64 = 1e-11;

/// The U-Nets without labels, with this much dropout.
fn unets(dropout: f64) -> Vec<ImageCase> {
    let names = ["edm2, no labels", "ddpm++, told of augmentation"];
    let of_name = |case: ImageCase| {
        let kind = match case.kind {
            Kind::Edm2(config) => Kind::Edm2(Edm2UNetConfig { dropout, ..config }),
            Kind::DdpmPp(config) => Kind::DdpmPp(DdpmPpUNetConfig { dropout, augment_dim: 0, ..config }),
            other => other,
        };
        ImageCase { kind, ..case }
    };
    cases().into_iter().filter(|case| names.contains(&case.name)).map(of_name).collect()
}

fn build(case: usize, dropout: f64, activations: ActivationMemory) -> (Box<dyn AverageVelocity>, Params) {
    let case = unets(dropout).remove(case);
    let builder = ParamBuilder::trainable(case.tensors(), DType::F64, &Device::Cpu);
    case.build(builder.with_activations(activations))
}

/// The loss of a batch and the gradients of all parameters.
fn step(
    objective: &Combination,
    (model, params): &(Box<dyn AverageVelocity>, Params),
) -> (f64, Vec<Vec<f64>>) {
    let (x0, x1) = (images(N, Stream::Base, DType::F64), images(N, Stream::Data, DType::F64));
    let batch = Batch { x0: &x0, x1: &x1, condition: Default::default(), interpolant: &Linear, unit: 1.0 };
    let found = loss_and_gradient(
        objective,
        model,
        model,
        params,
        &batch,
        StepKey { seed: 1, step: 0, first_row: FIRST },
    )
    .unwrap();
    let host = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let gradients = params.vars().values().map(|var| host(found.gradients.get(var).unwrap())).collect();
    (found.losses.read().unwrap().loss, gradients)
}

fn combination(objective: Objective, dropout: DropoutPasses) -> Combination {
    Combination::new(vec![Term { dropout, ..Term::new(objective, 1.0) }]).unwrap()
}

const MEAN_FLOW: Objective = Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Data, beta: 1.0 });

/// Whether half of all activations dropped change the gradients of a step.
fn is_dropping(case: usize, objective: Objective, passes: DropoutPasses) -> bool {
    let objective = combination(objective, passes);
    let [dropped, whole] =
        [0.5, 0.0].map(|dropout| step(&objective, &build(case, dropout, ActivationMemory::Keep)));
    if dropped == whole {
        return false;
    }
    let largest = |x: &mut dyn Iterator<Item = f64>| x.fold(0.0f64, |max, x| max.max(x.abs()));
    let (found, expected) = (dropped.1.iter().flatten(), whole.1.iter().flatten());
    let difference = largest(&mut found.zip(expected.clone()).map(|(a, b)| a - b));
    assert!(difference > VISIBLE * largest(&mut expected.copied()), "{difference}");
    true
}

#[test]
fn dropout_is_on_in_the_diagonal_pass_alone_unless_asked_for_in_all() {
    let lsd = Objective::Lsd(Lsd { stop: LsdStop::None });
    for case in 0..2 {
        assert!(is_dropping(case, Objective::FlowMatching(FlowMatching {}), DropoutPasses::Diagonal));
        assert!(!is_dropping(case, lsd.clone(), DropoutPasses::Diagonal));
        assert!(!is_dropping(case, MEAN_FLOW, DropoutPasses::Diagonal));
        assert!(is_dropping(case, lsd.clone(), DropoutPasses::All));
        assert!(is_dropping(case, MEAN_FLOW, DropoutPasses::All));
    }
}

/// The loss of Mean Flow computed from one dual pass, value and derivative with the same masks, as its authors have it.
#[test]
fn mean_flow_with_dropout_is_that_of_one_pass_with_one_mask() {
    for case in 0..2 {
        let net = build(case, 0.5, ActivationMemory::Keep);
        let (found, _) = step(&combination(MEAN_FLOW, DropoutPasses::All), &net);
        let (x0, x1) = (images(N, Stream::Base, DType::F64), images(N, Stream::Data, DType::F64));
        let term = Term::new(MEAN_FLOW, 1.0);
        let draw = |row| {
            let jump = term.times.draw(&mut NoiseStream::new(1, Stream::Times).at(FIRST + row));
            (jump.s(), jump.t())
        };
        let (s, t): (Vec<f64>, Vec<f64>) = (0..N as u64).map(draw).unzip();
        let column = |times: &[f64]| Tensor::new(times, &Device::Cpu).unwrap();
        let wide = |times: &Tensor| times.reshape((N, 1, 1, 1)).unwrap();
        let (s, t) = (column(&s), column(&t));
        let velocity = (&x1 - &x0).unwrap();
        let i_s = (&x0 + velocity.broadcast_mul(&wide(&s)).unwrap()).unwrap();
        let along = Dual::new(i_s, velocity.clone()).unwrap();
        let keys = DropoutKeys::new(1, FIRST);
        let condition = Condition::default().with_dropout(keys);
        let moving = Dual::variable(s.clone()).unwrap();
        let dual = net.0.average_velocity(&moving, &(&t).into(), &along, condition).unwrap();
        let (v_st, dv_st) = dual.into_parts();
        let width = wide(&(t - s).unwrap());
        let target = (velocity + dv_st.unwrap().broadcast_mul(&width).unwrap()).unwrap();
        let squares = (v_st - target).unwrap().sqr().unwrap().sum_all().unwrap();
        let expected = squares.to_scalar::<f64>().unwrap() / N as f64;
        assert!((found - expected).abs() < ROUNDING * expected, "{found} and {expected}");
    }
}

#[test]
fn teacher_to_distill_from_drops_nothing() {
    for case in 0..2 {
        let net = build(case, 0.0, ActivationMemory::Keep);
        let loss = |dropout| {
            let (teacher, _) = build(case, dropout, ActivationMemory::Keep);
            let lmd = combination(Objective::Lmd(Lmd { stop: LmdStop::Teacher }), DropoutPasses::All);
            step(&lmd.with_teacher(Teacher::Map(Arc::new(teacher))), &net)
        };
        assert_eq!(loss(0.5), loss(0.0));
    }
}

#[test]
fn micro_batches_and_recomputed_blocks_draw_the_same_masks() {
    let objectives = [
        (0, combination(Objective::FlowMatching(FlowMatching {}), DropoutPasses::Diagonal)),
        (1, combination(MEAN_FLOW, DropoutPasses::All)),
    ];
    for (case, objective) in objectives {
        let (loss, gradients) = step(&objective, &build(case, 0.5, ActivationMemory::Keep));
        for activations in [ActivationMemory::Keep, ActivationMemory::Recompute] {
            for rows in [1, 3, N] {
                let objective = objective.clone().with_micro_batch(NonZeroUsize::new(rows));
                let (other_loss, other) = step(&objective, &build(case, 0.5, activations));
                assert!((loss - other_loss).abs() < ROUNDING * loss, "{activations:?}, {rows}");
                let largest = gradients.iter().flatten().fold(0.0f64, |max, g| max.max(g.abs()));
                for (a, b) in gradients.iter().flatten().zip(other.iter().flatten()) {
                    assert!((a - b).abs() < ROUNDING * largest, "{activations:?}, {rows}: {a} and {b}");
                }
            }
        }
    }
}
