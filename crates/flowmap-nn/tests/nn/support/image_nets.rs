//! Small networks of images with every option, and inputs for them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{Linear, NoiseStream, Stream};
use flowmap_nn::method::{Context, Lsd, LsdStop, Method, Objective, Pass};
use flowmap_nn::net::{
    AttentionScale, Conditioning, DdpmPpSize, DdpmPpUNet, DdpmPpUNetConfig, Dit, DitConfig, DitInit, DitSize,
    Edm2UNet, Edm2UNetConfig, JumpInput, Positions, QkNorm, SecondTime, TimeDirection, UNet, UNetConfig,
};
use flowmap_nn::{AverageVelocity, Batch, FlowMap, OwnedCondition, ParamBuilder, Params, Times};

const SEED: u64 = 11;
/// Samples of a batch: one for every label.
pub const N: usize = 4;
pub const SIGMA_DATA: f64 = 0.5;
/// Shape of a sample.
pub const SHAPE: [usize; 3] = [2, 8, 8];

/// Which network.
pub enum Kind {
    Dit(DitConfig),
    Edm2(Edm2UNetConfig),
    DdpmPp(DdpmPpUNetConfig),
    UNet(UNetConfig),
}

/// A network to build: its name in messages, its config and what it is conditional on.
pub struct ImageCase {
    pub name: &'static str,
    pub kind: Kind,
    pub conditioning: Conditioning,
}

/// Every network, with each option once.
pub fn cases() -> Vec<ImageCase> {
    let case = |name, kind, conditioning| ImageCase { name, kind, conditioning };
    let dit = DitConfig {
        depth: 2,
        width: 16,
        heads: 2,
        mlp_ratio: 2.5,
        time_features: 8,
        ..DitConfig::new(DitSize::S, 4)
    };
    let rope = DitConfig { positions: Positions::Rope, qk_norm: QkNorm::Rms, patch: 2, ..dit.clone() };
    let layer = DitConfig { qk_norm: QkNorm::Layer, ..dit.clone() };
    let halvings = DitConfig {
        heads: 4,
        jump: JumpInput::Halvings,
        attention_scale: AttentionScale::Width,
        init: DitInit::XavierUniform,
        ..dit.clone()
    };
    let edm2 = Edm2UNetConfig {
        channels: 8,
        channel_mult: vec![1, 2],
        blocks: 1,
        attention: vec![4],
        head_channels: 8,
        dropout: 0.0,
    };
    let ddpmpp = DdpmPpUNetConfig {
        channels: 8,
        channel_mult: vec![1, 2],
        blocks: 1,
        attention: vec![4],
        ..DdpmPpUNetConfig::new(DdpmPpSize::Tiny)
    };
    let told = DdpmPpUNetConfig { augment_dim: 6, ..ddpmpp.clone() };
    let from_data = DdpmPpUNetConfig { time: TimeDirection::FromData, ..ddpmpp.clone() };
    let boxes = DdpmPpUNetConfig { noise_mult: 1, filter: vec![1.0, 1.0], channels: 4, ..ddpmpp.clone() };
    let unet = UNetConfig {
        patch: 2,
        channels: vec![8, 16],
        heads: 2,
        embedding: 12,
        time_features: 3,
        group: 4,
        ..UNetConfig::default()
    };
    let plain = UNetConfig { patch: 1, channels: vec![8], heads: 0, blocks: 2, ..unet.clone() };
    let everywhere = UNetConfig { second_time: SecondTime::Everywhere, ..unet.clone() };
    vec![
        case("dit", Kind::Dit(dit.clone()), Conditioning::Labels(3)),
        case("dit, guided", Kind::Dit(dit), Conditioning::GuidedLabels(3)),
        case("dit, rope, rms", Kind::Dit(rope), Conditioning::None),
        case("dit, layer norm of q and k", Kind::Dit(layer), Conditioning::None),
        case("dit of shortcut models", Kind::Dit(halvings), Conditioning::None),
        case("edm2", Kind::Edm2(edm2.clone()), Conditioning::Labels(3)),
        case("edm2, guided", Kind::Edm2(edm2.clone()), Conditioning::GuidedLabels(3)),
        case("edm2, no labels", Kind::Edm2(edm2), Conditioning::None),
        case("ddpm++", Kind::DdpmPp(ddpmpp), Conditioning::Labels(3)),
        case("ddpm++, guided, box filter", Kind::DdpmPp(boxes), Conditioning::GuidedLabels(3)),
        case("ddpm++, time from data", Kind::DdpmPp(from_data), Conditioning::None),
        case("ddpm++, told of augmentation", Kind::DdpmPp(told), Conditioning::None),
        case("unet", Kind::UNet(unet), Conditioning::Labels(3)),
        case("unet, second time everywhere", Kind::UNet(everywhere), Conditioning::GuidedLabels(3)),
        case("unet, one level", Kind::UNet(plain), Conditioning::None),
    ]
}

impl ImageCase {
    /// The network with the parameters of `builder`.
    pub fn build(&self, mut builder: ParamBuilder) -> (Box<dyn AverageVelocity>, Params) {
        let b = &mut builder;
        let net: Box<dyn AverageVelocity> = match &self.kind {
            Kind::Dit(config) => {
                Box::new(Dit::new(config, &SHAPE, self.conditioning, SIGMA_DATA, b).unwrap())
            }
            Kind::Edm2(config) => {
                Box::new(Edm2UNet::new(config, &SHAPE, self.conditioning, SIGMA_DATA, b).unwrap())
            }
            Kind::DdpmPp(config) => {
                Box::new(DdpmPpUNet::new(config, &SHAPE, self.conditioning, SIGMA_DATA, b).unwrap())
            }
            Kind::UNet(config) => {
                Box::new(UNet::new(config, &SHAPE, self.conditioning, SIGMA_DATA, b).unwrap())
            }
        };
        (net, builder.finish().unwrap())
    }

    /// Parameters as after some training: what begins at zero or one has moved.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let (_, params) = self.build(ParamBuilder::fresh(SEED, DType::F64, &Device::Cpu));
        let moved = |(i, (name, tensor)): (usize, (String, Tensor))| {
            let trained = params.vars().contains_key(&name);
            let noise = normals(i as u64, tensor.dims(), Stream::Init);
            let tensor = if trained { (tensor + (noise * 0.2).unwrap()).unwrap() } else { tensor };
            (name, tensor)
        };
        params.copied_tensors().unwrap().into_iter().enumerate().map(moved).collect()
    }

    /// The network with these parameters, which are trained on.
    pub fn trainable(&self, dtype: DType) -> (Box<dyn AverageVelocity>, Params) {
        self.build(ParamBuilder::trainable(self.tensors(), dtype, &Device::Cpu))
    }

    /// The network with these parameters, off the tape.
    pub fn frozen(&self, dtype: DType) -> Box<dyn AverageVelocity> {
        self.build(ParamBuilder::frozen(self.tensors(), dtype, &Device::Cpu)).0
    }

    /// Labels, that for "none" too, scales of guidance, and labels of augmentation, where the network takes them.
    pub fn condition(&self, n: usize, dtype: DType) -> OwnedCondition {
        let null = self.conditioning.n_classes() as u32;
        let labels: Vec<u32> = (0..n as u32).map(|i| i % (null + 1)).collect();
        let scales: Vec<f64> = (0..n).map(|i| 1.0 + i as f64 / n as f64).collect();
        OwnedCondition {
            labels: (null > 0).then(|| Tensor::from_vec(labels, n, &Device::Cpu).unwrap()),
            guidance: self
                .conditioning
                .takes_guidance()
                .then(|| Tensor::from_vec(scales, n, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()),
            augment: match &self.kind {
                Kind::DdpmPp(config) if config.augment_dim > 0 => {
                    let labels = normals(7, &[n, config.augment_dim], Stream::Augmentation);
                    Some(labels.to_dtype(dtype).unwrap())
                }
                _ => None,
            },
            dropout: None,
        }
    }
}

/// Standard normal numbers in f64.
pub fn normals(at: u64, dims: &[usize], stream: Stream) -> Tensor {
    let mut values = vec![0.0; dims.iter().product()];
    NoiseStream::new(SEED, stream).at(at).fill_normal(&mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// `n` images.
pub fn images(n: usize, stream: Stream, dtype: DType) -> Tensor {
    normals(0, &[&[n], &SHAPE[..]].concat(), stream).to_dtype(dtype).unwrap()
}

/// Times of a batch, s <= u <= t.
pub fn times(dtype: DType) -> Times {
    let draw = |i| {
        let mut noise = NoiseStream::new(1, Stream::Times).at(i);
        let mut times = [noise.uniform(), noise.uniform(), noise.uniform()];
        times.sort_by(f64::total_cmp);
        flowmap_core::Times::forward(times[0], times[1], times[2]).unwrap()
    };
    Times::new(&(0..N as u64).map(draw).collect::<Vec<_>>(), dtype, &Device::Cpu).unwrap()
}

/// The mean LSD loss of one batch, the gradient stopped nowhere.
pub fn loss(case: &ImageCase, model: &dyn AverageVelocity, dtype: DType) -> Tensor {
    let (x0, x1) = (images(N, Stream::Base, dtype), images(N, Stream::Data, dtype));
    let condition = case.condition(N, dtype);
    let batch = Batch { x0: &x0, x1: &x1, condition: (&condition).into(), interpolant: &Linear, unit: 1.0 };
    let map = FlowMap::given(model, &condition);
    let objective = Objective::Lsd(Lsd { stop: LsdStop::None });
    let losses = objective.loss(&Pass::new(map, map, &batch, &times(dtype)).within(Context::default()));
    losses.unwrap().mean().unwrap()
}

/// All numbers of a tensor.
pub fn host(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}
