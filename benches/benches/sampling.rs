//! Sampling with the 4x512 MLP in one and in four jumps.
//!
//! `cargo bench --workspace --bench sampling`; results as JSON below `target/criterion`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::num::NonZeroU32;
use std::time::Duration;

use candle_core::Device;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowmap_benches::sampling::Sampling;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn sampling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sampling");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for n_steps in [1, 4] {
        for batch in [1, 64, 4096] {
            let sampling = Sampling::new(NonZeroU32::new(n_steps).unwrap(), batch, &Device::Cpu).unwrap();
            group.throughput(Throughput::Elements(batch as u64));
            let id = BenchmarkId::new(format!("n{n_steps}/mlp4x512/f32"), format!("b{batch}"));
            group.bench_function(id, |bencher| bencher.iter(|| sampling.run().unwrap()));
        }
    }
    group.finish();
}

criterion_group!(benches, sampling);
criterion_main!(benches);
