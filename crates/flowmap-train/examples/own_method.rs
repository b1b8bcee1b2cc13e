//! A training method of your own: trained, resumed, judged and reported like those of flowmap.
//!
//! `cargo run --release -p flowmap-train --example own_method`
//! L(θ) = E_{s,t} | X_{t,s}(X_{s,t}(I_s)) − I_s |²: the jump back undoes the jump, which every flow map obeys.
#![allow(clippy::print_stdout)]

use candle_core::Device;
use flowmap_nn::loss::Term;
use flowmap_nn::method::{
    Card, Evaluations, FlowMatching, LearnsGuidance, Lsd, Method, Objective, Pass, Trains,
};
use flowmap_nn::{At, Column, PerSample};
use flowmap_train::{
    Checkpoint, ConfigSource, Observer, RunDir, StepReport, Trainer, judge_and_draw, resolve, train,
};

/// Jumps are undone by the jump back.
#[derive(Debug)]
struct Inversion;

const CARD: Card = Card {
    name: "inversion",
    title: "Inversion",
    arxiv: "",
    on_tape: Evaluations::plain(2),
    off_tape: Evaluations::NONE,
    trains: Trains::Jumps,
    guidance: LearnsGuidance::No,
    when: "with a method that learns the flow",
    recipe: "",
    distilling: "",
};

impl Method for Inversion {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        Column::i(At::S)
    }

    fn loss(&self, p: &Pass<'_>) -> flowmap_nn::Result<PerSample> {
        let (s, t) = (p.times.s.tensor(), p.times.t.tensor());
        let i_s = p.batch.i(&p.times.s)?;
        let back = p.model.jump(t, s, &p.model.jump(s, t, &i_s)?)?;
        p.batch.squared_norm(&(back - i_s)?)
    }
}

struct Quiet;
impl Observer for Quiet {
    fn step(&mut self, _: &StepReport, _: u64) {}
    fn stage(&mut self, _: &str) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut layers = vec![ConfigSource::preset("checkerboard")?];
    for set in ["train.steps=60", "train.batch=64", "network.width=16", "eval.num=500", "eval.steps=[1, 2]"] {
        layers.push(ConfigSource::set(set)?);
    }
    let mut config = resolve(&layers)?;
    config.objective = vec![
        Term::new(Objective::FlowMatching(FlowMatching {}), 0.5),
        Term::new(Objective::Lsd(Lsd::default()), 0.25),
        Term::new(Objective::own(Inversion), 0.25),
    ];
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
