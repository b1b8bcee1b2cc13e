//! Methods, networks, data and teachers of another crate, in runs like those of flowmap's own.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use flowmap_core::exact::{Component, Covariance, ExactFlow, MixtureFlow};
use flowmap_core::{Custom, InterpolantKind, NoiseStream, Trigonometric};
use flowmap_data::{DataConfig, DataSet, Facts};
use flowmap_dual::{Activation, Dual};
use flowmap_nn::loss::Term;
use flowmap_nn::method::{
    Card, Evaluations, FlowMatching, LearnsGuidance, Lmd, Lsd, Method, Objective, Pass, Trains,
};
use flowmap_nn::net::layer::Linear;
use flowmap_nn::net::{DataSpec, NetConfig, NetworkConfig};
use flowmap_nn::{
    At, AverageVelocity, Column, Condition, Derivative, Error, FlowMap, Init, MixtureField, ParamBuilder,
    PerSample, Result, Teacher, VelocityField,
};
use flowmap_train::{
    Checkpoint, Config, ConfigSource, Generation, Metric, Model, Observer, Reference, RunDir, StepReport,
    TeacherConfig, Trainer, Weights, evaluate, judge_and_draw, resolve, train,
};

/// Rounding of central differences in f32.
const CENTRAL: f64 = 2e-2;

struct Quiet;
impl Observer for Quiet {
    fn step(&mut self, _: &StepReport, _: u64) {}
    fn stage(&mut self, _: &str) {}
}

fn config(sets: &[&str]) -> Config {
    let tiny = [
        "train.steps=12",
        "train.batch=32",
        "train.micro_batch=8",
        "train.checkpoint_every=6",
        "network.width=8",
        "eval.num=200",
        "eval.steps=[1, 2]",
    ];
    let mut sources = vec![ConfigSource::preset("checkerboard").unwrap()];
    sources.extend(tiny.iter().chain(sets).map(|set| ConfigSource::set(set).unwrap()));
    resolve(&sources).unwrap()
}

/// LSD by another name.
#[derive(Debug)]
struct Mine;

const CARD: Card = Card {
    name: "mine",
    title: "Mine",
    arxiv: "",
    on_tape: Evaluations::dual(1),
    off_tape: Evaluations::plain(1),
    trains: Trains::Jumps,
    guidance: LearnsGuidance::No,
    when: "",
    recipe: "",
    distilling: "",
};

impl Method for Mine {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        Column::i(At::S)
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        Lsd::default().loss(p)
    }
}

/// Fails with an error of its own.
#[derive(Debug)]
struct Failing;

impl Method for Failing {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn loss(&self, _: &Pass<'_>) -> Result<PerSample> {
        Err(Error::external("the instrument is off"))
    }
}

fn with_method(method: Objective) -> Config {
    let mut config = config(&[]);
    let flow_matching = Term::new(Objective::FlowMatching(FlowMatching {}), 0.5);
    config.objective = vec![flow_matching, Term::new(method, 0.5)];
    config
}

/// Trains in a directory, resumed after half of the steps if asked for, and gives the tensors of the end.
fn run(dir: &Path, config: &Config, is_resumed: bool) -> (RunDir, Model, Vec<Vec<f32>>) {
    let run = RunDir::new(dir.join(if is_resumed { "resumed" } else { "whole" }));
    run.create(config).unwrap();
    let mut trainer = Trainer::new(config.clone(), &Device::Cpu).unwrap();
    if is_resumed {
        (0..6).for_each(|_| drop(trainer.step().unwrap()));
        run.write_checkpoint(&trainer.checkpoint().unwrap(), 2).unwrap();
        let checkpoint = Checkpoint::read(&run.latest_checkpoint().unwrap().unwrap()).unwrap();
        trainer = Trainer::resume(config.clone(), checkpoint, &Device::Cpu).unwrap();
    }
    let model = train(&run, &mut trainer, &mut Quiet).unwrap();
    let tensors = trainer.params().tensors();
    let numbers = |x: &Tensor| x.flatten_all().unwrap().to_vec1().unwrap();
    (run, model, tensors.values().map(numbers).collect())
}

#[test]
fn own_method_has_the_bits_of_the_method_that_it_calls_and_of_its_resumed_run() {
    let dir = tempfile::tempdir().unwrap();
    let own = with_method(Objective::own(Mine));
    let (run_dir, model, whole) = run(dir.path(), &own, false);
    assert_eq!(whole, run(dir.path(), &own, true).2);
    let lsd = with_method(Objective::Lsd(Lsd::default()));
    let other = tempfile::tempdir().unwrap();
    assert_eq!(whole, run(other.path(), &lsd, false).2);
    judge_and_draw(&run_dir, &own, &model, &Device::Cpu, &mut Quiet).unwrap();
    let report = std::fs::read_to_string(run_dir.report()).unwrap();
    assert!(report.contains("mine (0.5)"));
}

#[test]
fn program_without_the_method_samples_the_model_and_trains_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (run_dir, ..) = run(dir.path(), &with_method(Objective::own(Mine)), false);
    Model::open(run_dir.path(), Weights::Best, &Device::Cpu).unwrap();
    // The config of the run as another program reads it.
    let read = Config::read(&run_dir.config()).unwrap();
    assert!(read.to_toml().unwrap().contains("name = \"mine\""));
    let message = Trainer::new(read, &Device::Cpu).err().unwrap().to_string();
    assert!(message.contains("the method `mine` belongs to another program"), "{message}");
}

#[test]
fn failure_of_an_own_method_is_its_own_error() {
    let mut trainer = Trainer::new(with_method(Objective::own(Failing)), &Device::Cpu).unwrap();
    assert_eq!(trainer.step().unwrap_err().to_string(), "the instrument is off");
}

/// One hidden layer over x, s and t; with or without a dual form.
#[derive(Debug)]
struct OneLayer {
    derivative: Derivative,
}

struct Net {
    derivative: Derivative,
    first: Linear,
    last: Linear,
}

impl NetConfig for OneLayer {
    fn kind(&self) -> &'static str {
        "one_layer"
    }

    fn build(&self, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Box<dyn AverageVelocity>> {
        let dim = data.shape.iter().product();
        Ok(Box::new(Net {
            derivative: self.derivative,
            first: Linear::new("first", dim + 2, 16, Init::LecunNormal, builder)?,
            last: Linear::new("last", 16, dim, Init::LecunNormal, builder)?,
        }))
    }
}

impl AverageVelocity for Net {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, _: Condition<'_>) -> Result<Dual> {
        if self.derivative == Derivative::Central && [s, t, x].iter().any(|input| input.tangent().is_some()) {
            return Err(Error::external("no dual form"));
        }
        let inputs = Dual::cat_last(&[x.clone(), s.column(2)?, t.column(2)?])?;
        self.last.forward(&self.first.activated(&inputs, Activation::Tanh)?)
    }

    fn derivative(&self) -> Derivative {
        self.derivative
    }
}

#[test]
fn own_network_is_trained_resumed_judged_and_drawn() {
    for derivative in [Derivative::Dual, Derivative::Central] {
        let dir = tempfile::tempdir().unwrap();
        let mut own = config(&[]);
        own.network = NetworkConfig::own(OneLayer { derivative });
        let (run_dir, model, whole) = run(dir.path(), &own, false);
        assert_eq!(whole, run(dir.path(), &own, true).2, "{derivative:?}");
        let evaluation = judge_and_draw(&run_dir, &own, &model, &Device::Cpu, &mut Quiet).unwrap();
        assert!(evaluation.laws.is_some(), "{derivative:?}");
        let error = Model::open(run_dir.path(), Weights::Best, &Device::Cpu).unwrap_err();
        let error = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        assert!(error.contains("the network `one_layer` belongs to another program"), "{error}");
    }
}

#[test]
fn derivatives_of_a_network_without_duals_are_those_of_the_one_with() {
    let net = |derivative| {
        let mut builder = ParamBuilder::fresh(1, DType::F32, &Device::Cpu);
        OneLayer { derivative }.build(&DataSpec::of(&[2]), &mut builder).unwrap()
    };
    let column = |value: f32| Tensor::full(value, 3, &Device::Cpu).unwrap();
    let x = Tensor::new(&[[0.1f32, -0.4], [1.0, 0.3], [-0.7, 0.2]], &Device::Cpu).unwrap();
    let derivative = |net: &dyn AverageVelocity| {
        let (_, dt) = FlowMap::new(net).jump_dt(&column(0.2), &column(0.7), &x).unwrap();
        dt.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let (dual, central) = (net(Derivative::Dual), net(Derivative::Central));
    for (a, b) in derivative(&*dual).into_iter().zip(derivative(&*central)) {
        assert!(f64::from((a - b).abs()) < CENTRAL * f64::from(a.abs().max(0.1)), "{a}, {b}");
    }
}

/// Two points.
#[derive(Debug)]
struct TwoPoints;

impl DataSet for TwoPoints {
    fn facts(&self) -> Facts<'_> {
        Facts { shape: &[2], n_samples: None, n_classes: 0, sigma: 1.0 }
    }

    fn draw(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> Option<u32> {
        out.fill(if stream.at(index).uniform() < 0.5 { 1.0 } else { -1.0 });
        None
    }

    fn extent(&self) -> Option<f64> {
        Some(2.0)
    }
}

#[test]
fn own_data_are_trained_on_resumed_and_judged_against() {
    let dir = tempfile::tempdir().unwrap();
    let mut own = config(&[]);
    own.data = DataConfig::own("two_points", TwoPoints);
    let (run_dir, model, whole) = run(dir.path(), &own, false);
    assert_eq!(whole, run(dir.path(), &own, true).2);
    judge_and_draw(&run_dir, &own, &model, &Device::Cpu, &mut Quiet).unwrap();
    let error = Config::read(&run_dir.config()).unwrap().data.build(None).unwrap_err().to_string();
    assert!(error.contains("the data set `two_points` belongs to another program"), "{error}");
}

#[test]
fn own_interpolant_trains_as_the_same_one_of_flowmap() {
    let dir = tempfile::tempdir().unwrap();
    let mut own = config(&[]);
    own.interpolant = InterpolantKind::own("quarter_turn", Trigonometric).unwrap();
    let (run_dir, model, whole) = run(dir.path(), &own, false);
    assert_eq!(whole, run(dir.path(), &own, true).2);
    let ours = Config { interpolant: InterpolantKind::Trigonometric, ..own.clone() };
    let other = tempfile::tempdir().unwrap();
    assert_eq!(whole, run(other.path(), &ours, false).2);
    judge_and_draw(&run_dir, &own, &model, &Device::Cpu, &mut Quiet).unwrap();
    // Another program has the name alone: it samples by jumps, judges without the laws, and does not train.
    let opened = Model::open(run_dir.path(), Weights::Best, &Device::Cpu).unwrap();
    let reference = Reference::for_model(&opened.config.data, &opened.config).unwrap();
    let how = Generation::new(100, 0);
    let judged =
        evaluate(&opened, &reference, &[Metric::SlicedW2], &[1], &how, &Device::Cpu, &mut |_| ()).unwrap();
    assert!(judged.laws.is_none() && judged.omitted.iter().any(|omission| omission.name == "laws"));
    let read = Config::read(&run_dir.config()).unwrap();
    let message = Trainer::new(read, &Device::Cpu).err().unwrap().to_string();
    assert!(message.contains("the interpolant `quarter_turn` belongs to another program"), "{message}");
}

#[test]
fn exact_field_of_a_mixture_takes_an_own_interpolant() {
    let squared = Custom::new(|t| 1.0 - t * t, |t| t * t, |t| -2.0 * t, |t| 2.0 * t).unwrap();
    let parts = [Component { weight: 1.0, mean: vec![1.0, -2.0], covariance: Covariance::Isotropic(0.5) }];
    let exact = MixtureFlow::new(squared.clone(), 1.0, &parts).unwrap();
    let own = InterpolantKind::own("squared", squared).unwrap();
    let field = MixtureField::new(own, 1.0, &parts, &Device::Cpu).unwrap();
    let (t, x) = ([0.0f32, 0.3, 1.0], [[0.4f32, -1.0], [0.1, 0.2], [1.5, -2.5]]);
    let velocity = field.velocity(
        &Tensor::new(&t, &Device::Cpu).unwrap(),
        &Tensor::new(&x, &Device::Cpu).unwrap(),
        Condition::default(),
    );
    let velocity: Vec<Vec<f32>> = velocity.unwrap().to_vec2().unwrap();
    for ((t, x), v) in t.into_iter().zip(x).zip(velocity) {
        let expected = exact.velocity(f64::from(t), &x.map(f64::from)).unwrap();
        for (expected, v) in expected.into_iter().zip(v) {
            assert!((expected - f64::from(v)).abs() < 1e-5 * (1.0 + expected.abs()), "{expected}, {v}");
        }
    }
}

/// Everything moves to the right.
struct ToTheRight;

impl VelocityField for ToTheRight {
    fn velocity(&self, _: &Tensor, x: &Tensor, _: Condition<'_>) -> Result<Tensor> {
        Ok(((x * 0.0)? + 1.0)?)
    }
}

#[test]
fn own_teacher_is_distilled_from() {
    let mut own = config(&[]);
    own.objective = vec![Term::new(Objective::Lmd(Lmd::default()), 1.0)];
    own.teacher = Some(TeacherConfig::own("to_the_right", Teacher::Field(Arc::new(ToTheRight))));
    let mut trainer = Trainer::new(own.clone(), &Device::Cpu).unwrap();
    assert!(trainer.step().unwrap().loss > 0.0);
    // Another program has the name alone.
    let read: Config = toml::from_str(&own.to_toml().unwrap()).unwrap();
    let message = Trainer::new(read, &Device::Cpu).err().unwrap().to_string();
    assert!(message.contains("the teacher `to_the_right` belongs to another program"), "{message}");
}
