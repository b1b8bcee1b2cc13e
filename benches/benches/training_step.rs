//! One training step, forward and backward, of the 4x512 MLP for each objective.
//!
//! `cargo bench -p flowmap-benches --bench training_step`; results as JSON below `target/criterion`.
#![allow(missing_docs, clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowmap_core::{Linear, NoiseStream, Stream};
use flowmap_nn::net::{Mlp, MlpConfig};
use flowmap_nn::objective::{Combination, EsdStop, LsdStop, Objective, PsdForm, PsdStop, Term};
use flowmap_nn::{Batch, ParamBuilder, loss_and_gradient};

const OBJECTIVES: [Objective; 4] = [
    Objective::FlowMatching {},
    Objective::Lsd { stop: LsdStop::Teacher },
    Objective::Esd { stop: EsdStop::Advection },
    Objective::Psd { form: PsdForm::Velocity, stop: PsdStop::Teacher },
];

fn training_step(criterion: &mut Criterion) {
    let build = |mut builder: ParamBuilder| {
        let net = Mlp::new(&MlpConfig::default(), &[2], 0, 1.0, &mut builder).unwrap();
        (net, builder.finish().unwrap())
    };
    let (model, params) = build(ParamBuilder::fresh(1, DType::F32, &Device::Cpu));
    let (teacher, _) = build(ParamBuilder::frozen(params.tensors(), DType::F32, &Device::Cpu));
    let times = NoiseStream::new(1, Stream::Times);
    let mut group = criterion.benchmark_group("training_step");
    group.sample_size(10);
    for batch in [256, 1024] {
        let draw = |stream| {
            let mut values = vec![0f32; 2 * batch];
            NoiseStream::new(1, stream).at(0).fill_normal_f32(&mut values);
            Tensor::from_vec(values, (batch, 2), &Device::Cpu).unwrap()
        };
        let (x0, x1) = (draw(Stream::Base), draw(Stream::Data));
        let pairs = Batch { x0: &x0, x1: &x1, labels: None, interpolant: &Linear };
        group.throughput(Throughput::Elements(batch as u64));
        for objective in OBJECTIVES {
            let combination = Combination::new(vec![Term::new(objective, 1.0)]).unwrap();
            let id = BenchmarkId::new(format!("{}/mlp4x512/f32", objective.name()), format!("b{batch}"));
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    loss_and_gradient(&combination, &model, &teacher, &params, &pairs, &times, 0).unwrap()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, training_step);
criterion_main!(benches);
