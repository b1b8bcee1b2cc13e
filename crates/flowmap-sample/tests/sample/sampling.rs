//! What holds for sampling with any network: no graph is recorded, rows are independent, names are names.

use std::num::NonZeroU32;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{NoiseStream, Stream, TimeGrid};
use flowmap_nn::net::{Conditioning, DataSpec, Mlp, MlpConfig};
use flowmap_nn::{AverageVelocity, Condition, FlowMap, ParamBuilder, Params};
use flowmap_sample::{Error, FlowMapJump, Sampler, SamplerKind, Session, base_noise, sample, trajectory};

const N: usize = 5;

/// A small network with parameters on the tape.
fn network() -> (Mlp, Params) {
    let config = MlpConfig { width: 8, hidden: 1, ..MlpConfig::default() };
    let mut builder = ParamBuilder::fresh(2, DType::F64, &Device::Cpu);
    let net = Mlp::new(&config, &DataSpec::of(&[2]), &mut builder).unwrap();
    (net, builder.finish().unwrap())
}

/// The same network with weights off the tape.
fn frozen(params: &Params) -> Mlp {
    let config = MlpConfig { width: 8, hidden: 1, ..MlpConfig::default() };
    let mut builder = ParamBuilder::frozen(params.tensors(), DType::F64, &Device::Cpu);
    Mlp::new(&config, &DataSpec::of(&[2]), &mut builder).unwrap()
}

fn noise() -> Tensor {
    base_noise(&NoiseStream::new(1, Stream::Base), 0, N, &[2], 1.0, DType::F64, &Device::Cpu).unwrap()
}

fn grid() -> TimeGrid {
    TimeGrid::uniform(NonZeroU32::new(3).unwrap())
}

#[test]
fn sampling_with_detached_weights_records_no_graph_even_within_a_step() {
    let (_, params) = network();
    let net = frozen(&params);
    for kind in SamplerKind::ALL {
        let step = kind.build().step(FlowMap::new(&net as &dyn AverageVelocity), 0.0, 0.5, &noise()).unwrap();
        assert!(!step.track_op(), "{kind}");
    }
}

#[test]
fn samples_and_trajectories_carry_no_graph_whatever_the_weights() {
    let (net, params) = network();
    let model = FlowMap::new(&net as &dyn AverageVelocity);
    for kind in SamplerKind::ALL {
        let sampler = kind.build();
        let mut found = trajectory(&*sampler, model, &noise(), &grid()).unwrap();
        found.push(sample(&*sampler, model, &noise(), &grid()).unwrap());
        assert!(found.iter().all(|x| !x.track_op()), "{kind}");
        let gradients = found[N - 1].sum_all().unwrap().backward().unwrap();
        assert!(params.vars().values().all(|var| gradients.get(var).is_none()), "{kind}");
    }
}

#[test]
fn sample_depends_on_its_own_noise_alone() {
    let (net, _) = network();
    let model = FlowMap::new(&net as &dyn AverageVelocity);
    for kind in SamplerKind::ALL {
        let sampler = kind.build();
        let whole = sample(&*sampler, model, &noise(), &grid()).unwrap();
        let part = sample(&*sampler, model, &noise().narrow(0, 2, 2).unwrap(), &grid()).unwrap();
        let difference = (part - whole.narrow(0, 2, 2).unwrap()).unwrap().abs().unwrap();
        let largest = difference.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
        // Matrix products of other sizes may sum in another order.
        assert!(largest < 1e-14, "{kind}: off by {largest:e}");
    }
}

#[test]
fn error_of_the_network_reaches_the_caller() {
    let (net, _) = network();
    let wide = Tensor::zeros((N, 3), DType::F64, &Device::Cpu).unwrap();
    let error =
        sample(&*SamplerKind::Heun.build(), FlowMap::new(&net as &dyn AverageVelocity), &wide, &grid());
    assert_eq!(error.unwrap_err().to_string(), "expected samples of shape [2], found [3]");
}

#[test]
fn names_round_trip() {
    for kind in SamplerKind::ALL {
        assert_eq!(kind.to_string().parse::<SamplerKind>().unwrap(), kind);
    }
    assert_eq!(SamplerKind::default().to_string(), "flow_map");
}

#[test]
fn unknown_name_is_refused_with_the_known_ones() {
    let error = "Heun".parse::<SamplerKind>().unwrap_err();
    let expected = "unknown sampler `Heun`, expected one of `flow_map`, `euler`, `midpoint`, `heun`, `rk4`";
    assert_eq!(error.to_string(), expected);
    assert!(matches!(error, Error::UnknownSampler { .. }));
}

/// Rows of a session go through tiles with their own labels and scales of guidance.
#[test]
fn labels_and_scales_stay_with_their_rows_through_the_tiles_of_a_session() {
    let n = 300;
    let config = MlpConfig { width: 8, hidden: 1, ..MlpConfig::default() };
    let mut builder = ParamBuilder::fresh(2, DType::F64, &Device::Cpu);
    let net =
        Mlp::new(&config, &DataSpec::of(&[2]).given(Conditioning::GuidedLabels(3)), &mut builder).unwrap();
    let x0 =
        base_noise(&NoiseStream::new(1, Stream::Base), 0, n, &[2], 1.0, DType::F64, &Device::Cpu).unwrap();
    let labels = Tensor::from_iter((0..n as u32).map(|i| i % 4), &Device::Cpu).unwrap();
    let scales = Tensor::from_iter((0..n).map(|i| 1.0 + i as f64 / n as f64), &Device::Cpu).unwrap();
    let condition = Condition::labels(&labels).with_guidance(&scales);
    let whole = FlowMapJump.step(FlowMap::given(&net as &dyn AverageVelocity, condition), 0.0, 1.0, &x0);
    let tiled = Session::new(&FlowMapJump, &net).sample(&x0, condition, &TimeGrid::uniform(NonZeroU32::MIN));
    let difference = (whole.unwrap() - tiled.unwrap()).unwrap().abs().unwrap();
    let largest = difference.max_all().unwrap().to_scalar::<f64>().unwrap();
    assert!(largest < 1e-14, "off by {largest:e}");
}
