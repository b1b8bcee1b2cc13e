//! The options of shortcut models, those of their authors' code, against loops over rows written from the formulas.

use candle_core::{DType, Device, Tensor};
use flowmap_core::{Linear, NoiseStream, Stream, TimeDistribution};
use flowmap_nn::loss::Term;
use flowmap_nn::method::{AlphaFlow, Context, Method, Objective, Pass, Shortcut, SmallestStep};
use flowmap_nn::net::{Conditioning, Mlp, MlpConfig};
use flowmap_nn::{AverageVelocity, Batch, Condition, Error, FlowMap, ParamBuilder, Params, PerSample, Times};

use crate::support::mlps::{Case, DIM, normals};

/// Both sides compute in f64 and sum in different orders.
const ROUNDING: f64 = 1e-12;
const N: usize = 40;
const N_STEPS: u32 = 8;
const N_CLASSES: u32 = 3;
/// Bounds that some numbers of random networks exceed.
const CLIP: f64 = 0.3;
const CLIP_POINT: f64 = 0.8;
const SCALE: f64 = 1.5;

/// The choices of the authors' code, with numbers that suit random networks.
const CODE: Shortcut = Shortcut {
    n_steps: N_STEPS,
    smallest: SmallestStep::Data,
    clip: Some(CLIP),
    clip_point: Some(CLIP_POINT),
    guidance: Some(SCALE),
};

struct Setting {
    case: Case,
    model: Mlp,
    params: Params,
    teacher: Mlp,
    jumps: Vec<flowmap_core::Times>,
}

impl Setting {
    fn new(law: TimeDistribution) -> Self {
        let config = MlpConfig { width: 8, hidden: 1, label_features: 3, ..MlpConfig::default() };
        let case = Case { name: String::new(), config, conditioning: Conditioning::from(N_CLASSES as usize) };
        let (model, params) = case.fresh(DType::F64);
        let teacher = case.build(ParamBuilder::frozen(params.tensors(), DType::F64, &Device::Cpu)).0;
        let stream = NoiseStream::new(5, Stream::Times);
        let jump = |i| {
            let jump = law.draw(&mut stream.at(i));
            flowmap_core::Times::forward(jump.s(), jump.s(), jump.t()).unwrap()
        };
        Self { case, model, params, teacher, jumps: (0..N as u64).map(jump).collect() }
    }

    fn batch(&self) -> (Tensor, Tensor, Tensor) {
        let normals = |stream| normals(stream, N, DType::F64);
        (normals(Stream::Base), normals(Stream::Data), self.case.labels(N).unwrap())
    }

    fn losses(&self, objective: Objective, context: &Context<'_>) -> Result<PerSample, Error> {
        let (x0, x1, labels) = self.batch();
        let condition = Condition::labels(&labels);
        let batch = Batch { x0: &x0, x1: &x1, condition, interpolant: &Linear, unit: 1.0 };
        let times = Times::new(&self.jumps, DType::F64, &Device::Cpu).unwrap();
        let (model, teacher) = (&self.model, &self.teacher);
        objective.loss(
            &Pass::new(FlowMap::given(model, condition), FlowMap::given(teacher, condition), &batch, &times)
                .within(*context),
        )
    }

    fn of(&self, choices: Shortcut) -> PerSample {
        let context = Context { null_label: Some(N_CLASSES), ..Context::default() };
        self.losses(Objective::Shortcut(choices), &context).unwrap()
    }

    fn gradient(&self, losses: &Tensor) -> Vec<Vec<f64>> {
        let gradients = losses.mean_all().unwrap().backward().unwrap();
        self.params.vars().values().map(|var| values(gradients.get(var).unwrap())).collect()
    }

    /// v_{s,t}(x | c) of one row, by a network.
    fn velocity(&self, net: &dyn AverageVelocity, s: f64, t: f64, x: &[f64], label: u32) -> Tensor {
        let one = |time: f64| Tensor::new(&[time], &Device::Cpu).unwrap();
        let labels = Tensor::new(&[label], &Device::Cpu).unwrap();
        let x = Tensor::from_slice(x, (1, DIM), &Device::Cpu).unwrap();
        FlowMap::given(net, Condition::labels(&labels)).average_velocity(&one(s), &one(t), &x).unwrap()
    }

    /// The losses by `choices`, row by row.
    fn composed(&self, choices: Shortcut) -> Tensor {
        let (x0, x1, labels) = self.batch();
        let (x0, x1) = (x0.to_vec2::<f64>().unwrap(), x1.to_vec2::<f64>().unwrap());
        let labels = labels.to_vec1::<u32>().unwrap();
        let row = |i: usize| {
            let (s, t) = (self.jumps[i].s(), self.jumps[i].t());
            let (u, width) = (0.5 * (s + t), t - s);
            let x: Vec<f64> = x0[i].iter().zip(&x1[i]).map(|(a, b)| (1.0 - s) * a + s * b).collect();
            let smallest = 1.0 / f64::from(choices.n_steps);
            let (by_data, guided_width) = match choices.smallest {
                SmallestStep::Velocity => (false, smallest),
                SmallestStep::Data => (width == smallest, 2.0 * smallest),
            };
            let bounded = |x: f64, bound: Option<f64>| bound.map_or(x, |bound| x.clamp(-bound, bound));
            let step = |start: f64, end: f64, x: &[f64]| -> Vec<f64> {
                // d = 0 for the half steps of the smallest width.
                let end = if width == smallest { start } else { end };
                let of = |label| values(&self.velocity(&self.teacher, start, end, x, label));
                match choices.guidance.filter(|_| width == guided_width) {
                    None => of(labels[i]),
                    Some(w) => of(N_CLASSES)
                        .iter()
                        .zip(of(labels[i]))
                        .map(|(null, class)| null + w * (class - null))
                        .collect(),
                }
            };
            let target: Vec<f64> = if by_data {
                x0[i].iter().zip(&x1[i]).map(|(a, b)| b - a).collect()
            } else {
                let first = step(s, u, &x);
                let between: Vec<f64> = x.iter().zip(&first).map(|(x, v)| x + (u - s) * v).collect();
                let between: Vec<f64> = between.into_iter().map(|x| bounded(x, choices.clip_point)).collect();
                let second = step(u, t, &between);
                first.iter().zip(second).map(|(a, b)| bounded(0.5 * (a + b), choices.clip)).collect()
            };
            let target = Tensor::from_vec(target, (1, DIM), &Device::Cpu).unwrap();
            let v_st = self.velocity(&self.model, s, t, &x, labels[i]);
            (v_st - target).unwrap().sqr().unwrap().sum(1).unwrap()
        };
        Tensor::cat(&(0..N).map(row).collect::<Vec<_>>(), 0).unwrap()
    }

    /// Compares losses and gradients.
    fn agree(&self, found: &Tensor, expected: &Tensor, what: &str) {
        let close = |found: &[f64], expected: &[f64]| {
            let size = expected.iter().fold(1.0, |size: f64, x| size.max(x.abs()));
            found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= ROUNDING * size)
        };
        assert!(close(&values(found), &values(expected)), "{what}: losses");
        let (found, expected) = (self.gradient(found), self.gradient(expected));
        assert!(found.iter().zip(&expected).all(|(a, b)| close(a, b)), "{what}: gradients");
    }
}

fn values(x: &Tensor) -> Vec<f64> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn every_option_is_its_formula_row_by_row() {
    let setting = Setting::new(TimeDistribution::dyadic(N_STEPS));
    let paper = Shortcut { n_steps: N_STEPS, ..Shortcut::PAPER };
    let plain = values(setting.of(paper).tensor());
    for (what, choices) in [
        ("paper", paper),
        ("clip", Shortcut { clip: Some(CLIP), ..paper }),
        ("clip_point", Shortcut { clip_point: Some(CLIP_POINT), ..paper }),
        ("guidance", Shortcut { guidance: Some(SCALE), ..paper }),
        ("smallest", Shortcut { smallest: SmallestStep::Data, ..paper }),
        ("code", CODE),
    ] {
        let losses = setting.of(choices);
        setting.agree(losses.tensor(), &setting.composed(choices), what);
        assert!(what == "paper" || values(losses.tensor()) != plain, "{what} changes nothing");
    }
}

#[test]
fn guidance_is_for_rows_whose_half_steps_flow_matching_learns() {
    let setting = Setting::new(TimeDistribution::dyadic(N_STEPS));
    for (smallest, width) in [(SmallestStep::Velocity, 0.125), (SmallestStep::Data, 0.25)] {
        let plain = Shortcut { n_steps: N_STEPS, smallest, ..Shortcut::PAPER };
        let of = |guidance| values(setting.of(Shortcut { guidance, ..plain }).tensor());
        let (without, with) = (of(None), of(Some(SCALE)));
        let labels = setting.batch().2.to_vec1::<u32>().unwrap();
        let mut n_guided = 0;
        for i in 0..N {
            // Without a label there is nothing to guide toward.
            let is_guided = setting.jumps[i].t() - setting.jumps[i].s() == width && labels[i] < N_CLASSES;
            n_guided += usize::from(is_guided);
            assert_eq!(with[i] != without[i], is_guided, "row {i}");
        }
        assert!(n_guided > 0 && n_guided < N, "{n_guided} guided rows");
        assert!(of(Some(1.0)) == without, "scale 1");
    }
}

#[test]
fn smallest_step_from_the_data_is_the_trajectory_flow_matching_of_alpha_flow() {
    let setting = Setting::new(TimeDistribution::Grid { n_steps: N_STEPS });
    // α = 1 before its transition begins.
    let alpha_flow = Objective::AlphaFlow(AlphaFlow { begin: 1000, end: 2000, ..AlphaFlow::default() });
    let expected = setting.losses(alpha_flow, &Context::default()).unwrap();
    // Neither bound nor guidance means anything to these rows.
    setting.agree(setting.of(CODE).tensor(), expected.tensor(), "alpha_flow");
}

#[test]
fn guidance_without_the_label_for_none_is_refused() {
    let setting = Setting::new(TimeDistribution::dyadic(N_STEPS));
    let refused = setting.losses(Objective::Shortcut(CODE), &Context::default());
    assert!(matches!(refused, Err(Error::Labels { .. })));
}

#[test]
fn options_are_read_from_a_file_and_checked() {
    let read = |text: &str| toml::from_str::<Term>(&format!("kind = \"shortcut\"\n{text}")).unwrap();
    let code = "n_steps = 8\nsmallest = \"data\"\nclip = 0.3\nclip_point = 0.8\nguidance = 1.5\n";
    assert_eq!(read(code).objective, Objective::Shortcut(CODE));
    assert_eq!(read("").objective, Objective::Shortcut(Shortcut::PAPER));
    for (text, key) in [
        ("clip = 0.0", "clip"),
        ("clip_point = -1.0", "clip_point"),
        ("guidance = inf", "guidance"),
        ("times = { kind = \"grid\", n_steps = 64 }", "n_steps"),
        ("times = { kind = \"dyadic\", n_steps = 64 }", "n_steps"),
        ("smallest = \"data\"\ntimes = { kind = \"dyadic\", n_steps = 32 }", "n_steps"),
    ] {
        let refused = read(text).validate();
        assert!(matches!(refused, Err(Error::OutOfRange { key: found, .. }) if found == key), "{text}");
    }
    for law in ["grid", "dyadic"] {
        read(&format!("smallest = \"data\"\ntimes = {{ kind = \"{law}\", n_steps = 128 }}"))
            .validate()
            .unwrap();
    }
    read("smallest = \"data\"\ntimes = { kind = \"dyadic\", n_steps = 64 }").validate().unwrap();
}
