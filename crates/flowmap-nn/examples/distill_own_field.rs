//! Distills a velocity field of one's own into a flow map, by Lagrangian map distillation.
//!
//! The field is that of the flow from N(0, I) to N(m, sd² I), whose map is known: X_{0,1}(x) = m + sd x.
//! `cargo run --release -p flowmap-nn --example distill_own_field`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{InterpolantKind, NoiseStream, Stream};
use flowmap_nn::loss::{Combination, Term};
use flowmap_nn::method::{Lmd, LmdStop, Objective};
use flowmap_nn::net::{Mlp, MlpConfig};
use flowmap_nn::optim::{OptimizerConfig, Schedule};
use flowmap_nn::{Batch, Condition, FlowMap, ParamBuilder, StepKey, Teacher, VelocityField};

const SEED: u64 = 1;
const N_STEPS: u64 = 1_000;
const BATCH: usize = 128;
const LEARNING_RATE: f64 = 3e-3;
const MEAN: f64 = 2.0;
const SD: f64 = 0.3;

/// b_t(x) = m + κ_t (x − t m)/var_t,  var_t = (1 − t)² + t² sd²,  κ_t = t sd² − (1 − t).
struct OwnField;

impl VelocityField for OwnField {
    fn velocity(&self, t: &Tensor, x: &Tensor, _: Condition<'_>) -> flowmap_nn::Result<Tensor> {
        let t = t.unsqueeze(1)?;
        let noise = (1.0 - &t)?; // 1 − t
        let variance = (noise.sqr()? + (t.sqr()? * (SD * SD))?)?;
        let kappa = ((&t * (SD * SD))? - noise)?;
        let centered = x.broadcast_sub(&(t * MEAN)?)?;
        Ok((centered.broadcast_mul(&(kappa / variance)?)? + MEAN)?)
    }
}

/// Standard normal points `first..first + BATCH` of a stream, `(BATCH, 2)`.
fn normals(stream: Stream, first: u64) -> candle_core::Result<Tensor> {
    let stream = NoiseStream::new(SEED, stream);
    let mut values = vec![0f32; 2 * BATCH];
    for (row, i) in values.chunks_exact_mut(2).zip(first..) {
        stream.at(i).fill_normal_f32(row);
    }
    Tensor::from_vec(values, (BATCH, 2), &Device::Cpu)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (dtype, device) = (DType::F32, Device::Cpu);
    let config = MlpConfig { width: 64, hidden: 1, ..MlpConfig::default() };
    let mut builder = ParamBuilder::fresh(SEED, dtype, &device);
    let model = Mlp::new(&config, &[2], 0, 1.0, &mut builder)?;
    let params = builder.finish()?;

    let lmd = Term::new(Objective::Lmd(Lmd { stop: LmdStop::None }), 1.0);
    let combination = Combination::new(vec![lmd])?.with_teacher(Teacher::Field(Arc::new(OwnField)));
    let mut optimizer = OptimizerConfig::default().build(&params)?;
    let error = || -> Result<f32, Box<dyn Error>> {
        let (s, t) = (Tensor::zeros(BATCH, dtype, &device)?, Tensor::ones(BATCH, dtype, &device)?);
        let x0 = normals(Stream::Evaluation, 0)?;
        let (x1, exact) = (FlowMap::new(&model).jump(&s, &t, &x0)?, ((&x0 * SD)? + MEAN)?);
        Ok((x1 - exact)?.sqr()?.sum(1)?.mean(0)?.to_scalar()?)
    };
    println!("E|X̂ − X|² of one jump: {:.5} before", error()?);
    for step in 0..N_STEPS {
        let first = step * BATCH as u64;
        let x1 = ((normals(Stream::Data, first)? * SD)? + MEAN)?;
        let batch = Batch {
            x0: &normals(Stream::Base, first)?,
            x1: &x1,
            condition: Condition::default(),
            interpolant: &InterpolantKind::Linear,
            unit: 1.0,
        };
        let loss = combination.loss(&model, &model, &batch, StepKey::of_step(SEED, step, BATCH))?;
        let lr = LEARNING_RATE * Schedule::Cosine { warmup: 100 }.factor(step, N_STEPS);
        optimizer.step(&loss.total.backward()?, lr, 1.0)?;
    }
    println!("E|X̂ − X|² of one jump: {:.5} after", error()?);
    Ok(())
}
