//! Every parameter of every network gets a gradient from every objective, and what is stopped gets none.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use flowmap_core::{InterpolantKind, NoiseStream, Stream};
use flowmap_nn::method::{
    AlphaFlow, Consistency, Context, Esd, EsdStop, FlowMatching, Fmm, FmmLaw, ImprovedMeanFlow, Lsd, LsdStop,
    MeanFlow, MeanFlowVelocity, Method, Objective, Pass, Psd, PsdForm, PsdStop, Scm, ScmVelocity, Shortcut,
    Trajectory,
};
use flowmap_nn::net::Mlp;
use flowmap_nn::{Batch, FlowMap, ParamBuilder, Params, Times};

use crate::support::mlps::{Case, cases, normals};

/// Samples of a batch: a few for every label.
const N: usize = 16;
/// Two orders of summation of the same numbers.
const ROUNDING: f64 = 1e-12;
/// Steps of a gradient check: truncation and rounding are both below 1e-8.
const STEP: f64 = 1e-5;
/// Against a central difference, relative to the largest component of the gradient.
const DIFFERENCE: f64 = 1e-6;

/// Objectives whose teacher is behind a stop.
const STOPPED: [Objective; 12] = [
    Objective::AlphaFlow(AlphaFlow { begin: 0, end: 1, gamma: 0.1, clamp: 5e-3 }),
    Objective::Consistency(Consistency { trajectory: Trajectory::Data, n_steps: 8 }),
    Objective::Scm(Scm { velocity: ScmVelocity::Data, warmup: 0, norm_offset: 0.1 }),
    Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Data, beta: 1.0 }),
    Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Model, beta: 1.0 }),
    Objective::ImprovedMeanFlow(ImprovedMeanFlow {}),
    Objective::Shortcut(Shortcut { n_steps: 8, ..Shortcut::PAPER }),
    Objective::Lsd(Lsd { stop: LsdStop::Target }),
    Objective::Esd(Esd { stop: EsdStop::Advection }),
    Objective::Esd(Esd { stop: EsdStop::Velocity }),
    Objective::Psd(Psd { form: PsdForm::Velocity, stop: PsdStop::Target }),
    Objective::Psd(Psd { form: PsdForm::Map, stop: PsdStop::Target }),
];

/// Objectives without a stop.
const UNSTOPPED: [Objective; 7] = [
    Objective::Fmm(Fmm { law: FmmLaw::Lagrangian, inversion: 1.0 }),
    Objective::Fmm(Fmm { law: FmmLaw::Eulerian, inversion: 0.5 }),
    Objective::FlowMatching(FlowMatching {}),
    Objective::Lsd(Lsd { stop: LsdStop::None }),
    Objective::Esd(Esd { stop: EsdStop::None }),
    Objective::Psd(Psd { form: PsdForm::Velocity, stop: PsdStop::None }),
    Objective::Psd(Psd { form: PsdForm::Map, stop: PsdStop::None }),
];

/// The mean loss of one batch.
fn loss(objective: &Objective, case: &Case, model: &Mlp, teacher: &Mlp, dtype: DType) -> Tensor {
    let (x0, x1) = (normals(Stream::Base, N, dtype), normals(Stream::Data, N, dtype));
    let condition = case.condition(N, dtype);
    let batch = Batch {
        x0: &x0,
        x1: &x1,
        condition: (&condition).into(),
        interpolant: &InterpolantKind::Trigonometric,
        unit: 1.0,
    };
    let draw = |i| {
        let mut noise = NoiseStream::new(1, Stream::Times).at(i);
        let mut times = [noise.uniform(), noise.uniform(), noise.uniform()];
        times.sort_by(f64::total_cmp);
        flowmap_core::Times::forward(times[0], times[1], times[2]).unwrap()
    };
    let times = Times::new(&(0..N as u64).map(draw).collect::<Vec<_>>(), dtype, &Device::Cpu).unwrap();
    let given = |net| FlowMap::given(net, &condition);
    let context = Context { null_label: Some(case.null_label()), ..Context::default() };
    let losses = objective.loss(&Pass::new(given(model), given(teacher), &batch, &times).within(context));
    losses.unwrap().mean().unwrap()
}

/// The same network off the tape.
fn frozen(case: &Case, params: &Params, dtype: DType) -> Mlp {
    case.build(ParamBuilder::frozen(params.tensors(), dtype, &Device::Cpu)).0
}

/// The gradient of a parameter in f64, flat.
fn gradient(gradients: &GradStore, params: &Params, name: &str) -> Option<Vec<f64>> {
    let gradient = gradients.get(&params.vars()[name])?;
    Some(gradient.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap())
}

fn all_params_get_gradients(dtype: DType) {
    for case in cases() {
        let (model, params) = case.fresh(dtype);
        let teacher = frozen(&case, &params, dtype);
        for objective in STOPPED.iter().chain(&UNSTOPPED) {
            let gradients = loss(objective, &case, &model, &teacher, dtype).backward().unwrap();
            for (name, var) in params.vars() {
                let what = format!("{}, {objective:?}, {dtype:?}: `{name}`", case.name);
                let gradient = gradient(&gradients, &params, name);
                let gradient = gradient.unwrap_or_else(|| panic!("{what} has no gradient"));
                assert!(gradient.iter().all(|g| g.is_finite()), "{what}: gradient is not finite");
                assert!(gradient.iter().any(|g| *g != 0.0), "{what}: gradient is zero");
                if name == "layers.0.weight" {
                    // An input that nothing reads has a column of zeros.
                    let d_in = var.dim(1).unwrap();
                    let reads = |k: usize| gradient.iter().skip(k).step_by(d_in).any(|g| *g != 0.0);
                    assert!((0..d_in).all(reads), "{what}: the gradient of an input is zero");
                }
                if name == "label_embedding.weight" {
                    let rows = gradient.chunks_exact(var.dim(1).unwrap());
                    rows.for_each(|row| assert!(row.iter().any(|g| *g != 0.0), "{what}: a row is zero"));
                }
            }
        }
    }
}

#[test]
fn all_params_get_gradients_in_f32() {
    all_params_get_gradients(DType::F32);
}

#[test]
fn all_params_get_gradients_in_f64() {
    all_params_get_gradients(DType::F64);
}

/// Reverse mode through the dual pass: a component of the gradient is the slope of the loss.
///
/// Not so for LSD with a stop: sg[b_t(X_{s,t})] moves with the model, and the gradient leaves that out on purpose;
/// nor for sCM, whose target is the model's own output moved along the tangent.
#[test]
fn gradients_are_central_differences_of_the_loss() {
    for case in cases() {
        let (model, params) = case.fresh(DType::F64);
        let teacher = frozen(&case, &case.fresh(DType::F64).1, DType::F64);
        let moves_with_its_stop =
            |o: &&Objective| matches!(o, Objective::Lsd(Lsd { stop: LsdStop::Target }) | Objective::Scm(_));
        for objective in STOPPED.iter().chain(&UNSTOPPED).filter(|o| !moves_with_its_stop(o)) {
            let gradients = loss(objective, &case, &model, &teacher, DType::F64).backward().unwrap();
            for (name, var) in params.vars() {
                let gradient = gradient(&gradients, &params, name).unwrap();
                let largest = gradient.iter().fold(0.0f64, |max, g| max.max(g.abs()));
                let index = gradient.len() / 2;
                let original = var.as_detached_tensor().copy().unwrap();
                let moved = |h: f64| {
                    let mut values: Vec<f64> = original.flatten_all().unwrap().to_vec1().unwrap();
                    values[index] += h;
                    var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
                    let moved = loss(objective, &case, &model, &teacher, DType::F64);
                    var.set(&original).unwrap();
                    moved.to_scalar::<f64>().unwrap()
                };
                let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                let error = (gradient[index] - difference).abs() / largest;
                assert!(error < DIFFERENCE, "{}, {objective:?}: `{name}` off by {error:e}", case.name);
            }
        }
    }
}

#[test]
fn frozen_network_records_nothing() {
    for case in cases() {
        let (_, params) = case.fresh(DType::F64);
        let network = frozen(&case, &params, DType::F64);
        for objective in STOPPED.iter().chain(&UNSTOPPED) {
            let loss = loss(objective, &case, &network, &network, DType::F64);
            assert!(!loss.track_op(), "{}, {objective:?}", case.name);
            let gradients = loss.backward().unwrap();
            assert!(params.vars().values().all(|var| gradients.get(var).is_none()));
        }
    }
}

/// A stopped teacher gets no gradient even where its parameters are variables, and freezing it changes nothing.
#[test]
fn stopped_teacher_gets_no_gradient() {
    for case in cases() {
        let (model, params) = case.fresh(DType::F64);
        let (variable_teacher, teacher_params) = case.fresh(DType::F64);
        let frozen_teacher = frozen(&case, &teacher_params, DType::F64);
        for objective in &STOPPED {
            let what = format!("{}, {objective:?}", case.name);
            let of = |teacher| loss(objective, &case, &model, teacher, DType::F64).backward().unwrap();
            let (variable, frozen) = (of(&variable_teacher), of(&frozen_teacher));
            assert!(teacher_params.vars().values().all(|var| variable.get(var).is_none()), "{what}");
            // The model as its own teacher off the tape.
            let itself = of(&model);
            for name in params.vars().keys() {
                let expected = gradient(&frozen, &params, name).unwrap();
                let largest = expected.iter().fold(0.0f64, |max, g| max.max(g.abs()));
                for found in [&variable, &itself] {
                    let found = gradient(found, &params, name).unwrap();
                    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= ROUNDING * largest;
                    assert!(found.iter().zip(&expected).all(close), "{what}: gradient of `{name}`");
                }
            }
        }
    }
}

/// With nothing but the teacher in reach of the tape, a stopped objective has no tape.
#[test]
fn stopped_objective_does_not_tape_its_teacher() {
    for case in cases() {
        let (teacher, params) = case.fresh(DType::F32);
        let model = frozen(&case, &params, DType::F32);
        for objective in &STOPPED {
            let loss = loss(objective, &case, &model, &teacher, DType::F32);
            assert!(!loss.track_op(), "{}, {objective:?}", case.name);
        }
    }
}
