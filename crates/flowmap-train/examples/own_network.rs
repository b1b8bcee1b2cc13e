//! A network of your own: trained, resumed, judged and reported like those of flowmap.
//!
//! `cargo run --release -p flowmap-train --example own_network`
#![allow(clippy::print_stdout)]

use candle_core::Device;
use flowmap_dual::{Activation, Dual};
use flowmap_nn::net::layer::{Linear, Sinusoids, check_shape};
use flowmap_nn::net::{DataSpec, NetConfig, NetworkConfig};
use flowmap_nn::{AverageVelocity, Condition, Init, ParamBuilder, Result};
use flowmap_train::{
    Checkpoint, ConfigSource, Observer, RunDir, StepReport, Trainer, judge_and_draw, resolve, train,
};

/// A perceptron of one hidden layer over the point and features of both times.
#[derive(Debug)]
struct OneLayer {
    width: usize,
}

struct Net {
    shape: Vec<usize>,
    features: Sinusoids,
    first: Linear,
    last: Linear,
}

impl NetConfig for OneLayer {
    fn kind(&self) -> &'static str {
        "one_layer"
    }

    fn build(&self, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Box<dyn AverageVelocity>> {
        let (n, dim) = (32, data.shape.iter().product());
        Ok(Box::new(Net {
            shape: data.shape.to_vec(),
            features: Sinusoids::new(n, 10.0, builder)?,
            first: Linear::new("first", dim + 2 * n, self.width, Init::LecunNormal, builder)?,
            last: Linear::new("last", self.width, dim, Init::Zeros, builder)?,
        }))
    }
}

/// Written once over duals: derivatives in s, t and x follow.
impl AverageVelocity for Net {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, _: Condition<'_>) -> Result<Dual> {
        check_shape(&self.shape, x)?;
        let inputs = [x.clone(), self.features.forward(s)?, self.features.forward(t)?];
        self.last.forward(&self.first.activated(&Dual::cat_last(&inputs)?, Activation::Silu)?)
    }
}

struct Quiet;

impl Observer for Quiet {
    fn step(&mut self, _: &StepReport, _: u64) {}
    fn stage(&mut self, _: &str) {}
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut layers = vec![ConfigSource::preset("checkerboard")?];
    for set in ["train.steps=60", "train.batch=64", "eval.num=500", "eval.steps=[1, 2]"] {
        layers.push(ConfigSource::set(set)?);
    }
    let mut config = resolve(&layers)?;
    config.network = NetworkConfig::own(OneLayer { width: 64 });
    let (dir, device) = (tempfile::tempdir()?, Device::Cpu);
    let run = RunDir::new(dir.path().join("run"));
    run.create(&config)?;
    train(&run, &mut Trainer::new(config.clone(), &device)?, &mut Quiet)?;
    config.train.steps *= 2;
    let checkpoint = Checkpoint::read(&run.latest_checkpoint()?.ok_or("no checkpoint")?)?;
    let mut trainer = Trainer::resume(config.clone(), checkpoint, &device)?;
    let model = train(&run, &mut trainer, &mut Quiet)?;
    judge_and_draw(&run, &config, &model, &device, &mut Quiet)?;
    println!("{} steps, report of {} bytes", trainer.n_steps(), run.report().metadata()?.len());
    Ok(())
}
