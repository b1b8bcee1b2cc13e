//! Networks that compute in bf16 with parameters in f32.

use candle_core::{DType, Device, Tensor};
use flowmap_core::{NoiseStream, Stream};
use flowmap_nn::net::{ActivationMemory, Precision};
use flowmap_nn::{AverageVelocity, FlowMap, OwnedCondition, ParamBuilder, Params, Times};

use crate::support::image_nets::{cases, images};
use crate::support::mlps;

/// Samples of a batch: one for every label.
const N: usize = 4;
/// A loss in bf16 against one in f32: 8 binary digits, through a few layers, averaged over the numbers of a batch.
const LOSS: f64 = 2e-2;
/// All gradients together likewise, relative to their norm: those of a derivative pass through each layer four times.
const GRADIENT: f64 = 0.1;

fn times() -> Times {
    let draw = |i| {
        let mut noise = NoiseStream::new(1, Stream::Times).at(i);
        let mut times = [noise.uniform(), noise.uniform(), noise.uniform()];
        times.sort_by(f64::total_cmp);
        flowmap_core::Times::forward(times[0], times[1], times[2]).unwrap()
    };
    Times::new(&(0..N as u64).map(draw).collect::<Vec<_>>(), DType::F32, &Device::Cpu).unwrap()
}

/// The mean of |∂_t X_{s,t}(x_0) − x_1|²: a derivative on the tape, far enough from zero for a relative error.
fn loss(model: &dyn AverageVelocity, condition: &OwnedCondition, x0: &Tensor, x1: &Tensor) -> Tensor {
    let Times { s, t, .. } = times();
    let (_, dt_x_st) = FlowMap::given(model, condition).jump_dt(s.tensor(), t.tensor(), x0).unwrap();
    (dt_x_st - x1).unwrap().sqr().unwrap().mean_all().unwrap()
}

fn host(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The gradients of all parameters, and that they are in f32.
///
/// Not that of a bias of the keys: it adds the same to every score of a query, which a softmax does not see,
/// so that its gradient is zero except for rounding.
fn gradients(name: &str, loss: &Tensor, params: &Params) -> Vec<(String, Vec<f64>)> {
    assert_eq!(loss.dtype(), DType::F32, "{name}");
    let gradients = loss.backward().unwrap();
    let of = |(parameter, var): (&String, &candle_core::Var)| {
        let gradient = gradients.get(var).unwrap_or_else(|| panic!("{name}: `{parameter}` has no gradient"));
        assert_eq!((var.dtype(), gradient.dtype()), (DType::F32, DType::F32), "{name}: `{parameter}`");
        (parameter.clone(), host(gradient))
    };
    params.vars().iter().filter(|(name, _)| !name.ends_with("k_norm.bias")).map(of).collect()
}

/// Losses and gradients of one network in f32 and in bf16.
fn check(
    name: &str,
    build: impl Fn(Precision) -> (Box<dyn AverageVelocity>, Params),
    condition: &OwnedCondition,
    x0: &Tensor,
    x1: &Tensor,
) {
    let step = |precision| {
        let (model, params) = build(precision);
        let loss = loss(&*model, condition, x0, x1);
        (host(&loss)[0], gradients(name, &loss, &params))
    };
    let ((single, expected), (half, found)) = (step(Precision::F32), step(Precision::Bf16));
    assert_ne!(half, single, "{name} computes in f32");
    assert!((half / single - 1.0).abs() < LOSS, "{name}: a loss of {half} instead of {single}");
    let (mut error, mut norm) = (0.0, 0.0);
    for ((parameter, found), (_, expected)) in found.iter().zip(&expected) {
        assert!(found.iter().all(|g| g.is_finite()), "{name}: gradient of `{parameter}` is not finite");
        assert!(found.iter().any(|g| *g != 0.0), "{name}: gradient of `{parameter}` is zero");
        error += found.iter().zip(expected).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        norm += expected.iter().map(|g| g * g).sum::<f64>();
    }
    let error = (error / norm).sqrt();
    assert!(error < GRADIENT, "{name}: gradients off by {error:e}");
}

#[test]
fn image_networks_in_bf16_train_parameters_in_f32() {
    let (x0, x1) = (images(N, Stream::Base, DType::F32), images(N, Stream::Data, DType::F32));
    for case in cases() {
        for activations in [ActivationMemory::Keep, ActivationMemory::Recompute] {
            let build = |precision| {
                let builder = ParamBuilder::trainable(case.tensors(), DType::F32, &Device::Cpu);
                case.build(builder.with_precision(precision).with_activations(activations))
            };
            let name = format!("{}, {activations:?}", case.name);
            check(&name, build, &case.condition(N, DType::F32), &x0, &x1);
        }
    }
}

#[test]
fn perceptrons_in_bf16_train_parameters_in_f32() {
    let x = |stream| mlps::normals(stream, N, DType::F32);
    for case in mlps::cases() {
        let build = |precision| -> (Box<dyn AverageVelocity>, Params) {
            let builder = ParamBuilder::fresh(1, DType::F32, &Device::Cpu).with_precision(precision);
            let (net, params) = case.build(builder);
            (Box::new(net), params)
        };
        check(&case.name, build, &case.condition(N, DType::F32), &x(Stream::Base), &x(Stream::Data));
    }
}
