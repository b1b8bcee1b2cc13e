//! Sampling with the 4x512 MLP in one and in four jumps.
//!
//! `cargo bench -p flowmap-benches --bench sampling`; results as JSON below `target/criterion`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::num::NonZeroU32;

use candle_core::{DType, Device};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowmap_core::{NoiseStream, Stream, TimeGrid};
use flowmap_nn::net::{Mlp, MlpConfig};
use flowmap_nn::{AverageVelocity, FlowMap, ParamBuilder};
use flowmap_sample::{FlowMapJump, base_noise, sample};

fn sampling(criterion: &mut Criterion) {
    let build = |mut builder: ParamBuilder| {
        let net = Mlp::new(&MlpConfig::default(), &[2], 0, 1.0, &mut builder).unwrap();
        (net, builder.finish().unwrap())
    };
    let (_, params) = build(ParamBuilder::fresh(1, DType::F32, &Device::Cpu));
    let (net, _) = build(ParamBuilder::frozen(params.tensors(), DType::F32, &Device::Cpu));
    let model = FlowMap::new(&net as &dyn AverageVelocity);
    let noise = NoiseStream::new(1, Stream::Base);
    let mut group = criterion.benchmark_group("sampling");
    group.sample_size(10);
    for n_steps in [1, 4] {
        let grid = TimeGrid::uniform(NonZeroU32::new(n_steps).unwrap());
        for batch in [1, 64, 4096] {
            let x0 = base_noise(&noise, 0, batch, &[2], 1.0, DType::F32, &Device::Cpu).unwrap();
            group.throughput(Throughput::Elements(batch as u64));
            let id = BenchmarkId::new(format!("mlp4x512/f32/n{n_steps}"), format!("b{batch}"));
            group.bench_function(id, |bencher| {
                bencher.iter(|| sample(&FlowMapJump, model, &x0, &grid).unwrap())
            });
        }
    }
    group.finish();
}

criterion_group!(benches, sampling);
criterion_main!(benches);
