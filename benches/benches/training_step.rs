//! One training step of the 4x512 MLP for each objective: times, loss, gradient, AdamW.
//!
//! `cargo bench --workspace --bench training_step`; results as JSON below `target/criterion`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use candle_core::Device;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowmap_benches::training::TrainingStep;
use flowmap_train::bench::BENCHED;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn training_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("training_step");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for batch in [256, 1024, 4096, 16384] {
        group.throughput(Throughput::Elements(batch as u64));
        for objective in BENCHED {
            let id = BenchmarkId::new(format!("{}/mlp4x512/f32", objective.name), format!("b{batch}"));
            let mut step = None;
            group.bench_function(id, |bencher| {
                let step =
                    step.get_or_insert_with(|| TrainingStep::new(objective, batch, &Device::Cpu).unwrap());
                bencher.iter(|| step.run().unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, training_step);
criterion_main!(benches);
