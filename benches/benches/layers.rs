//! Layers of networks: forward, forward with a tangent, and both with a backward pass.
//!
//! `cargo bench --workspace --bench layers`; results as JSON below `target/criterion`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use flowmap_benches::layer::{LAYERS, Layer, Pass};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn layers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("layers");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for spec in LAYERS {
        let shape = spec.inputs[0].iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let mut layer = None;
        for pass in Pass::ALL {
            let id = BenchmarkId::new(format!("{}/{shape}/f32", spec.name), pass.name());
            group.bench_function(id, |bencher| {
                let layer = layer.get_or_insert_with(|| Layer::new(spec).unwrap());
                bencher.iter(|| layer.run(pass).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, layers);
criterion_main!(benches);
