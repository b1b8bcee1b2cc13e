//! Norms and weights of losses, and guidance in the target: values, gradients, files.

use candle_core::{DType, Device, Tensor, Var};
use flowmap_core::{InterpolantKind, NoiseStream, Stream, TimeDistribution};
use flowmap_nn::loss::{Combination, LearnedWeight, LearnedWeightConfig, Norm, Term, TimeWeight, WeightNet};
use flowmap_nn::method::*;
use flowmap_nn::net::Mlp;
use flowmap_nn::{Batch, Condition, Error, FlowMap, ParamBuilder, PerSample, StepKey, Times};

use crate::support::mlps;
use crate::support::mlps::{Case, cases, normals};

/// Two orders of the same operations.
const ROUNDING: f64 = 1e-12;
const N: usize = 12;

/// Losses a² as a function of a variable, and the variable.
fn squares(values: &[f64]) -> (PerSample, Var) {
    let var = Var::new(values, &Device::Cpu).unwrap();
    (PerSample::squared_norm(&var.reshape((values.len(), 1)).unwrap()).unwrap(), var)
}

fn host(x: &Tensor) -> Vec<f64> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= ROUNDING * e.abs().max(1.0), "{what}: {found:?}, expected {expected:?}");
    }
}

#[test]
fn norms_have_their_values_and_slopes() {
    let residuals = [0.0, 1e-3, 0.5, -2.0, 30.0];
    type Slope = fn(f64) -> f64;
    // (norm, value of a residual, derivative).
    let norms: [(Norm, Slope, Slope); 4] = [
        (Norm::Squared {}, |r| r * r, |r| 2.0 * r),
        (Norm::Adaptive { p: 1.0, eps: 0.01 }, |r| r * r / (r * r + 0.01), |r| 2.0 * r / (r * r + 0.01)),
        (Norm::Cauchy { c: 0.7 }, |r| 0.49 * (r * r / 0.49).ln_1p(), |r| 2.0 * r / (1.0 + r * r / 0.49)),
        (Norm::PseudoHuber { c: 0.3 }, |r| (r * r + 0.09).sqrt() - 0.3, |r| r / (r * r + 0.09).sqrt()),
    ];
    for (norm, value, slope) in norms {
        let (losses, var) = squares(&residuals);
        let found = norm.apply(losses).unwrap();
        assert_close(&host(found.tensor()), &residuals.map(value), &format!("{norm:?}"));
        let gradients = found.tensor().sum_all().unwrap().backward().unwrap();
        assert_close(
            &host(gradients.get(&var).unwrap()),
            &residuals.map(slope),
            &format!("slope of {norm:?}"),
        );
    }
}

fn times() -> Times {
    let draw = |i| {
        let jump = TimeDistribution::Uniform {}.draw(&mut NoiseStream::new(1, Stream::Times).at(i));
        flowmap_core::Times::forward(jump.s(), jump.s(), jump.t()).unwrap()
    };
    Times::new(&(0..N as u64).map(draw).collect::<Vec<_>>(), DType::F64, &Device::Cpu).unwrap()
}

#[test]
fn weight_by_width_is_its_power() {
    let times = times();
    let (losses, _) = squares(&[1.5; N]);
    for power in [2.0, 0.5, -1.0] {
        let weight = TimeWeight::Width { power };
        let found = weight.apply(losses.clone(), &times, None, 0).unwrap();
        let of = |(s, t): (&f64, &f64)| 2.25 * (t - s).powf(power);
        let expected: Vec<f64> = times.s.host().iter().zip(times.t.host()).map(of).collect();
        assert_close(&host(found.tensor()), &expected, "width");
    }
}

#[test]
fn learned_weight_starts_as_the_loss_and_learns_its_logarithm() {
    const STEPS: usize = 3000;
    let times = times();
    let mut builder = ParamBuilder::fresh(1, DType::F64, &Device::Cpu);
    let config = LearnedWeightConfig { features: 16, scale: 1.0 };
    let learned = WeightNet::Own(LearnedWeight::new(&config, 3, &mut builder).unwrap());
    let params = builder.finish().unwrap();
    let names: Vec<_> = params.vars().keys().collect();
    assert_eq!(names, ["loss_weight.3.bias", "loss_weight.3.weight"]);
    assert_eq!(params.tensors()["loss_weight.3.frequencies"].dims(), [16, 2]);
    assert!(names.iter().all(|name| name.starts_with(LearnedWeight::PREFIX)));

    // A loss that depends on the times alone: e^w = L is reached everywhere.
    let of = |(s, t): (&f64, &f64)| 0.1 + s + 3.0 * t * t;
    let values: Vec<f64> = times.s.host().iter().zip(times.t.host()).map(of).collect();
    let (losses, _) = squares(&values.iter().map(|l| l.sqrt()).collect::<Vec<_>>());
    let weight = TimeWeight::Learned(config);
    let weighed = |losses: &PerSample| weight.apply(losses.clone(), &times, Some(&learned), 3).unwrap();
    assert_close(&host(weighed(&losses).tensor()), &values, "start");
    for _ in 0..STEPS {
        let gradients = weighed(&losses).mean().unwrap().backward().unwrap();
        for var in params.vars().values() {
            let step = (gradients.get(var).unwrap() * 0.1).unwrap();
            var.set(&(var.as_detached_tensor() - step).unwrap()).unwrap();
        }
    }
    let w = host(&learned.w(&times).unwrap());
    for (w, l) in w.iter().zip(&values) {
        assert!((w - l.ln()).abs() < 0.05, "w = {w}, ln L = {}", l.ln());
    }
    let missing = weight.apply(losses, &times, None, 3);
    assert!(matches!(missing, Err(Error::NoLearnedWeight { term: 3 })));
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

/// The gradient of a combination reaches the network and the weights of the loss, each term by its own norm.
#[test]
fn combination_applies_norm_and_weight_of_each_term() {
    let case = case("x features");
    let mut builder = ParamBuilder::fresh(2, DType::F64, &Device::Cpu);
    let net = Mlp::new(&case.config, &[mlps::DIM], 0, mlps::SIGMA_DATA, &mut builder).unwrap();
    let huber = Norm::PseudoHuber { c: 0.1 };
    let terms = vec![
        Term { norm: huber, ..Term::new(Objective::FlowMatching(FlowMatching {}), 0.5) },
        Term {
            time_weight: TimeWeight::Learned(LearnedWeightConfig::default()),
            ..Term::new(Objective::Lsd(Lsd { stop: LsdStop::None }), 0.5)
        },
    ];
    let combination = Combination::new(terms.clone()).unwrap().with_learned_weights(&mut builder).unwrap();
    let params = builder.finish().unwrap();
    let (x0, x1) = (normals(Stream::Base, N, DType::F64), normals(Stream::Data, N, DType::F64));
    let batch = Batch {
        x0: &x0,
        x1: &x1,
        condition: Condition::default(),
        interpolant: &InterpolantKind::Linear,
        unit: 1.0,
    };
    let found = combination.loss(&net, &net, &batch, StepKey { seed: 5, ..StepKey::default() }).unwrap();
    let gradients = found.total.backward().unwrap();
    for (name, var) in params.vars() {
        assert!(gradients.get(var).is_some(), "{name} has no gradient");
    }
    // Without the network's output in between: the first half by the norm, the second as it is.
    let alone = |terms: Vec<Term>| {
        let terms = terms.into_iter().map(|t| Term {
            norm: Norm::default(),
            time_weight: TimeWeight::default(),
            ..t
        });
        Combination::new(terms.collect())
            .unwrap()
            .loss(&net, &net, &batch, StepKey { seed: 5, ..StepKey::default() })
            .unwrap()
    };
    let plain = alone(terms);
    for (logged, plain) in found.terms.iter().zip(&plain.terms) {
        let value = |x: &Option<Tensor>| x.as_ref().unwrap().to_scalar::<f64>().unwrap();
        assert_close(&[value(logged)], &[value(plain)], "the logged means are those of the objectives");
    }
    assert!((found.total - plain.total).unwrap().to_scalar::<f64>().unwrap().abs() > 1e-3);
}

#[test]
fn jumps_grow_to_their_full_width_while_annealed() {
    let case = case("x features");
    let (net, _) = case.fresh(DType::F64);
    let (x0, x1) = (normals(Stream::Base, N, DType::F64), normals(Stream::Data, N, DType::F64));
    let batch = Batch {
        x0: &x0,
        x1: &x1,
        condition: Condition::default(),
        interpolant: &InterpolantKind::Linear,
        unit: 1.0,
    };
    let term = Term::new(Objective::Lsd(Lsd { stop: LsdStop::None }), 1.0);
    let loss = |term: &Term, step: u64| {
        let combination = Combination::new(vec![term.clone()]).unwrap();
        let loss = combination.loss(&net, &net, &batch, StepKey::of_step(5, step, N)).unwrap();
        loss.total.to_scalar::<f64>().unwrap()
    };
    let annealed = Term { anneal: 10, ..term.clone() };
    assert!(loss(&annealed, 0) < 1e-20, "jumps of no width have no residual");
    assert!(loss(&annealed, 2) > 0.0 && loss(&annealed, 2) != loss(&term, 2));
    assert_eq!(loss(&annealed, 10), loss(&term, 10));
}

#[test]
fn guidance_mixes_the_target_of_mean_flow() {
    let case = case("labels");
    let (net, params) = case.fresh(DType::F64);
    let frozen = case.build(ParamBuilder::frozen(params.tensors(), DType::F64, &Device::Cpu)).0;
    let null = case.null_label();
    let labels = case.labels(N).unwrap();
    let (x0, x1) = (normals(Stream::Base, N, DType::F64), normals(Stream::Data, N, DType::F64));
    let times = times();
    let batch = Batch {
        x0: &x0,
        x1: &x1,
        condition: Condition::labels(&labels),
        interpolant: &InterpolantKind::Linear,
        unit: 1.0,
    };
    let context = Context { null_label: Some(null), ..Context::default() };
    let (model, teacher) = (FlowMap::given(&net, Some(&labels)), FlowMap::given(&frozen, Some(&labels)));
    let losses = |objective: Objective| {
        host(objective.loss(&Pass::new(model, teacher, &batch, &times).within(context)).unwrap().tensor())
    };
    let plain = losses(Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Data, beta: 1.0 }));
    let guided = |guidance: GuidedMeanFlow| losses(Objective::GuidedMeanFlow(guidance));
    let none = guided(GuidedMeanFlow { kappa: 0.0, ..GuidedMeanFlow::default() });
    assert_close(&none, &plain, "guidance of scale one is none");
    let always = guided(GuidedMeanFlow::default());
    let late = guided(GuidedMeanFlow { interval: [0.3, 1.0], ..GuidedMeanFlow::default() });
    let mut n_early = 0;
    for (i, label) in labels.to_vec1::<u32>().unwrap().into_iter().enumerate() {
        let is_plain = |losses: &[f64]| (losses[i] - plain[i]).abs() < ROUNDING;
        assert_eq!(is_plain(&always), label == null, "sample {i} of label {label}");
        let is_early = times.s.host()[i] < 0.3;
        assert_eq!(is_plain(&late), label == null || is_early, "sample {i} of label {label}");
        n_early += usize::from(is_early && label != null);
    }
    assert!(n_early > 0 && n_early < N, "{n_early} samples before the interval");
    // At t = s the target is the mixed velocity itself.
    let on_diagonal = Times::of(times.t.clone(), times.t.clone(), times.t.clone());
    let guidance = GuidedMeanFlow { omega: 0.7, kappa: 0.6, ..GuidedMeanFlow::default() };
    let found = Objective::GuidedMeanFlow(guidance);
    let found =
        host(found.loss(&Pass::new(model, teacher, &batch, &on_diagonal).within(context)).unwrap().tensor());
    let t = times.t.tensor();
    let i_t = batch.i(&times.t).unwrap();
    let nulls = Tensor::full(null, N, &Device::Cpu).unwrap();
    let v_c = teacher.velocity(t, &i_t).unwrap();
    let v_0 = FlowMap::given(&frozen, Some(&nulls)).velocity(t, &i_t).unwrap();
    let di = batch.di(&times.t).unwrap();
    let mixed = (((&di * 0.7).unwrap() + (&v_c * 0.6).unwrap()).unwrap() - (v_0 * 0.3).unwrap()).unwrap();
    let expected = host(PerSample::squared_norm(&(v_c - mixed).unwrap()).unwrap().tensor());
    for (i, label) in labels.to_vec1::<u32>().unwrap().into_iter().enumerate() {
        if label != null {
            assert_close(&found[i..=i], &expected[i..=i], "mixed target");
        }
    }
    let without = Objective::GuidedMeanFlow(guidance).loss(&Pass::new(model, teacher, &batch, &times));
    assert!(matches!(without, Err(Error::Labels { .. })), "the label for none must be known");
}

#[test]
fn every_objective_goes_to_a_file_and_back() {
    let names = METHODS.iter().map(|method| method.name);
    let kinds = [
        "flow_matching",
        "lsd",
        "esd",
        "psd",
        "split_mean_flow",
        "mean_flow",
        "improved_mean_flow",
        "guided_mean_flow",
        "shortcut",
        "alpha_flow",
        "soflow",
        "tvm",
        "consistency",
        "scm",
        "ctm",
        "fmm",
        "lmd",
        "emd",
        "align_your_flow",
        "pfmm",
        "map_distillation",
    ];
    assert!(names.eq(kinds), "the list of methods is complete, and in this order");
    for kind in kinds {
        let term: Term = toml::from_str(&format!("kind = \"{kind}\"")).unwrap();
        assert_eq!(term.objective.name(), kind);
        assert_eq!(
            term,
            Term::new(term.objective.clone(), 1.0),
            "{kind}: a file that says nothing means the paper's choices"
        );
        term.validate().unwrap();
        let text = toml::to_string(&term).unwrap();
        assert_eq!(toml::from_str::<Term>(&text).unwrap(), term, "{text}");
        assert!(toml::from_str::<Term>(&format!("kind = \"{kind}\"\nsotp = 1")).is_err(), "{kind}");
    }
    let term: Term = toml::from_str(
        "kind = \"scm\"\nvelocity = \"teacher\"\nwarmup = 5\nnorm = { kind = \"adaptive\", p = 0.5 }\n\
         time_weight = { kind = \"learned\", features = 8 }\nanneal = 7",
    )
    .unwrap();
    assert_eq!(term.norm, Norm::Adaptive { p: 0.5, eps: 0.01 });
    assert_eq!(term.time_weight, TimeWeight::Learned(LearnedWeightConfig { features: 8, scale: 1.0 }));
    assert_eq!(toml::from_str::<Term>(&toml::to_string(&term).unwrap()).unwrap(), term);
    assert!(toml::from_str::<Term>("kind = \"lsd\"\nnorm = { kind = \"squared\", c = 1.0 }").is_err());
    for bad in [
        "kind = \"lsd\"\nnorm = { kind = \"cauchy\", c = 0.0 }",
        "kind = \"lsd\"\ntime_weight = { kind = \"learned\", features = 0 }",
        "kind = \"pfmm\"\nn_steps = 0",
        "kind = \"align_your_flow\"\nr = 1.5",
        "kind = \"alpha_flow\"\nbegin = 5\nend = 5",
        "kind = \"fmm\"\ninversion = -1.0",
        "kind = \"guided_mean_flow\"\nkappa = 1.0",
        "kind = \"guided_mean_flow\"\ninterval = [0.5, 0.25]",
        "kind = \"lsd\"\ndiagonal = 1.5",
    ] {
        let error = toml::from_str::<Term>(bad).unwrap().validate().unwrap_err();
        assert!(matches!(error, Error::OutOfRange { .. }), "{bad}: {error}");
    }
}
