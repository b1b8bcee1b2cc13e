//! Trains a small flow map on eight Gaussians around a circle and samples it in one jump.
//!
//! `cargo run --release -p flowmap-nn --example train_2d`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::f64::consts::{FRAC_PI_4, SQRT_2};

use candle_core::{DType, Device, Tensor};
use flowmap_core::{InterpolantKind, NoiseStream, Stream};
use flowmap_nn::loss::{Combination, Term};
use flowmap_nn::method::{FlowMatching, Lsd, LsdStop, Objective};
use flowmap_nn::net::{Mlp, MlpConfig};
use flowmap_nn::optim::{OptimizerConfig, Schedule};
use flowmap_nn::{Batch, Condition, FlowMap, ParamBuilder, StepKey};

const SEED: u64 = 1;
const N_STEPS: u64 = 1_000;
const BATCH: usize = 128;
const LEARNING_RATE: f64 = 3e-3;
const RADIUS: f64 = 2.0;
const SD: f64 = 0.2;

/// Points `first..first + BATCH` of a stream, `(BATCH, 2)`: sample i depends on i alone.
fn points(
    stream: Stream,
    first: u64,
    draw: impl Fn(u64, f64, f64) -> [f64; 2],
) -> candle_core::Result<Tensor> {
    let stream = NoiseStream::new(SEED, stream);
    let point = |i| {
        let mut noise = stream.at(first + i);
        draw(noise.below(8), noise.normal(), noise.normal()).map(|v| v as f32)
    };
    Tensor::from_vec((0..BATCH as u64).flat_map(point).collect::<Vec<_>>(), (BATCH, 2), &Device::Cpu)
}

/// A point of the Gaussian number `k` on the circle.
fn eight_gaussians(k: u64, z0: f64, z1: f64) -> [f64; 2] {
    let angle = FRAC_PI_4 * k as f64;
    [RADIUS * angle.cos() + SD * z0, RADIUS * angle.sin() + SD * z1]
}

fn main() -> Result<(), Box<dyn Error>> {
    let (dtype, device) = (DType::F32, Device::Cpu);
    let sigma_data = (RADIUS.powi(2) / 2.0 + SD.powi(2)).sqrt();
    let base = |_, z0: f64, z1: f64| [sigma_data * z0, sigma_data * z1];
    let config = MlpConfig { width: 64, hidden: 1, ..MlpConfig::default() };
    let network = |builder: &mut ParamBuilder| Mlp::new(&config, &[2], 0, sigma_data, builder);
    let mut builder = ParamBuilder::fresh(SEED, dtype, &device);
    let model = network(&mut builder)?;
    let params = builder.finish()?;
    // The teacher of self-distillation: the same memory, off the tape.
    let teacher = network(&mut ParamBuilder::frozen(params.tensors(), dtype, &device))?;

    let combination = Combination::new(vec![
        Term::new(Objective::FlowMatching(FlowMatching {}), 0.75),
        Term::new(Objective::Lsd(Lsd { stop: LsdStop::Target }), 0.25),
    ])?;
    let mut optimizer = OptimizerConfig::default().build(&params)?;
    for step in 0..N_STEPS {
        let first = step * BATCH as u64;
        let (x0, x1) = (points(Stream::Base, first, base)?, points(Stream::Data, first, eight_gaussians)?);
        let batch = Batch {
            x0: &x0,
            x1: &x1,
            condition: Condition::default(),
            interpolant: &InterpolantKind::Linear,
            unit: 1.0,
        };
        let loss = combination.loss(&model, &teacher, &batch, StepKey::of_step(SEED, step, BATCH))?;
        let lr = LEARNING_RATE * Schedule::Cosine { warmup: 100 }.factor(step, N_STEPS);
        optimizer.step(&loss.total.backward()?, lr, 1.0)?;
        if let ([Some(fm), Some(lsd)], 0) = (&loss.terms[..], (step + 1) % 100) {
            let (fm, lsd) = (fm.to_scalar::<f32>()?, lsd.to_scalar::<f32>()?);
            // Flow matching ends at the conditional variance of the data; the LSD of exact maps is zero.
            println!("step {:4}  flow matching {fm:.3}  lsd {lsd:.3}", step + 1);
        }
    }
    let (s, t) = (Tensor::zeros(BATCH, dtype, &device)?, Tensor::ones(BATCH, dtype, &device)?);
    let x1 = FlowMap::new(&teacher).jump(&s, &t, &points(Stream::Evaluation, 0, base)?)?;
    let radius = x1.sqr()?.sum(1)?.mean(0)?.to_scalar::<f32>()?.sqrt();
    println!("one jump: root mean square radius {radius:.3}, of the data {:.3}", SQRT_2 * sigma_data);
    Ok(())
}
