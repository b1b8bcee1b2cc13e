//! Networks of images: a forward pass, passes with a tangent in t, s and x, and training steps.
//!
//! `cargo bench --workspace --bench networks`; results as JSON below `target/criterion`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowmap_benches::networks::{Direction, NETWORKS, NetworkBench, default_terms};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn networks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("networks");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for spec in NETWORKS {
        let shape = spec.shape.map(|n| n.to_string()).join("x");
        let mut bench = None;
        let id = |name: &str, batch: usize| {
            BenchmarkId::new(format!("{}/{shape}/f32/{name}", spec.name), format!("b{batch}"))
        };
        group.throughput(Throughput::Elements(spec.batch as u64));
        for direction in Direction::ALL {
            group.bench_function(id(direction.name(), spec.batch), |bencher| {
                let bench = bench
                    .get_or_insert_with(|| NetworkBench::new(spec, spec.batch, default_terms()).unwrap());
                bencher.iter(|| bench.pass(direction).unwrap());
            });
        }
        for batch in [spec.batch, 2 * spec.batch] {
            let mut bench = None;
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(id("step", batch), |bencher| {
                let bench =
                    bench.get_or_insert_with(|| NetworkBench::new(spec, batch, default_terms()).unwrap());
                bencher.iter(|| bench.step().unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, networks);
criterion_main!(benches);
