//! Objectives with a known flow, and regressions, at the closed-form flow map of a Gaussian.
//!
//! At the truth every residual is zero for every sample, and so is its gradient; a map that is wrong in any way costs.
//! A regression has the conditional variance as its mean, and there only its mean gradient vanishes.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use flowmap_core::exact::{Component, Covariance, ExactFlow, GaussianFlow, MixtureFlow};
use flowmap_core::{InterpolantKind, NoiseStream, Stream};
use flowmap_dual::Dual;
use flowmap_nn::method::{
    AlignYourFlow, AyfLaw, Consistency, Context, Ctm, Emd, EmdStop, Fmm, FmmLaw, ImprovedMeanFlow, Lmd,
    LmdStop, MapDistillation, MeanFlow, MeanFlowVelocity, Method, Objective, OdeSolver, Pass, Pfmm, Psd,
    PsdForm, PsdStop, Scm, ScmVelocity, Shortcut, SoFlow, Trajectory, Tvm,
};
use flowmap_nn::{
    AverageVelocity, Batch, Condition, ExactField, FlowMap, Params, PerSample, Teacher, TimeColumn, Times,
};
use proptest::prelude::*;

use crate::support::gaussian_net::Truth;
use crate::support::path::Path;
use crate::support::truths::*;

/// Residuals at the truth are some 1e-14 of rounding; this is their square with room to spare.
const ZERO_LOSS: f64 = 1e-20;
/// A gradient is residual times derivative, so first order in the rounding.
const ZERO_GRADIENT: f64 = 1e-11;
/// Two ways to the same numbers.
const ROUNDING: f64 = 1e-11;

const AYF_LAGRANGIAN: AlignYourFlow = AlignYourFlow { law: AyfLaw::Lagrangian, ..AlignYourFlow::BARE };
const BARE_SCD: Scm = Scm { velocity: ScmVelocity::Teacher, warmup: 0, norm_offset: 0.0 };
const BARE_SCT: Scm = Scm { velocity: ScmVelocity::Data, ..BARE_SCD };

/// Distillation whose residual is zero at the truth; the last one takes the trigonometric interpolant.
const DISTILLATION: [Objective; 10] = [
    Objective::Lmd(Lmd { stop: LmdStop::None }),
    Objective::Lmd(Lmd { stop: LmdStop::Teacher }),
    Objective::Emd(Emd { stop: EmdStop::None }),
    Objective::Emd(Emd { stop: EmdStop::Advection }),
    Objective::AlignYourFlow(AlignYourFlow::BARE),
    Objective::AlignYourFlow(AlignYourFlow { norm_offset: 0.1, ..AlignYourFlow::BARE }),
    Objective::AlignYourFlow(AYF_LAGRANGIAN),
    Objective::Pfmm(Pfmm { n_steps: 2 }),
    Objective::Pfmm(Pfmm { n_steps: 5 }),
    Objective::Scm(BARE_SCD),
];

fn applies(objective: &Objective, path: Path) -> bool {
    !matches!(objective, Objective::Scm(_)) || path == Path::Trigonometric
}

fn exact_flow(truth: &Truth) -> GaussianFlow {
    let covariance = Covariance::Diagonal(truth.sd.clone());
    GaussianFlow::new(truth.path.interpolant(), truth.sigma0, truth.mean.clone(), &covariance).unwrap()
}

fn field(truth: &Truth) -> Teacher {
    Teacher::Field(Arc::new(ExactField::new(exact_flow(truth))))
}

fn map(truth: &Truth) -> Teacher {
    Teacher::Map(Arc::new(truth.frozen()))
}

/// The losses of samples of `truth` for a model, with its own frozen copy for stopped terms.
fn losses(
    objective: &Objective,
    model: &dyn AverageVelocity,
    frozen: &dyn AverageVelocity,
    known: Option<&Teacher>,
    truth: &Truth,
    times: &Times,
) -> PerSample {
    let (x0, x1) = pairs(truth, times.s.host().len());
    let interpolant = truth.path.interpolant();
    let batch =
        Batch { x0: &x0, x1: &x1, condition: Condition::default(), interpolant: &interpolant, unit: 1.0 };
    let context = Context { teacher: known, ..Context::default() };
    objective
        .loss(&Pass::new(FlowMap::new(model), FlowMap::new(frozen), &batch, times).within(context))
        .unwrap()
}

/// The largest loss of a sample and the largest component of the gradient.
fn largest(losses: &PerSample, params: &Params) -> (f64, f64) {
    let gradients = losses.mean().unwrap().backward().unwrap();
    let gradient = |var: &Var| gradients.get(var).map_or(0.0, max_abs);
    (max_abs(losses.tensor()), params.vars().values().map(gradient).fold(0.0, f64::max))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn distillation_and_its_gradient_vanish_at_the_truth(truth in truths(), times in ordered_times()) {
        let (model, params) = truth.trainable();
        let frozen = truth.frozen();
        for objective in DISTILLATION.iter().filter(|o| applies(o, truth.path)) {
            let needs_map = matches!(objective, Objective::Pfmm(_));
            for known in [map(&truth), field(&truth)].iter().take(if needs_map { 1 } else { 2 }) {
                let losses = losses(objective, &model, &frozen, Some(known), &truth, &triples(&times));
                let (loss, gradient) = largest(&losses, &params);
                prop_assert!(loss < ZERO_LOSS, "{objective:?}, {known:?}: loss {loss:e}");
                prop_assert!(gradient < ZERO_GRADIENT, "{objective:?}, {known:?}: gradient {gradient:e}");
            }
        }
    }

    #[test]
    fn inversion_term_vanishes_at_the_truth(truth in truths(), times in ordered_times()) {
        let (model, params) = truth.trainable();
        for law in [FmmLaw::Lagrangian, FmmLaw::Eulerian] {
            let of = |inversion| {
                losses(&Objective::Fmm(Fmm { law, inversion }), &model, &model, None, &truth, &triples(&times))
            };
            let inversion = of(1e3).add(&of(0.0).scale(-1.0).unwrap()).unwrap();
            let (loss, gradient) = largest(&inversion, &params);
            // The difference of two sums has their rounding.
            prop_assert!(loss < 1e-12 * (1.0 + max_abs(of(0.0).tensor())), "{law:?}: loss {loss:e}");
            prop_assert!(gradient < 1e-9, "{law:?}: gradient {gradient:e}");
        }
    }
}

#[test]
fn every_wrong_map_costs_every_distillation() {
    for path in Path::ALL {
        let truth = example(path);
        let wrongs = [
            Truth { mean: vec![1.6, -0.5], ..truth.clone() },
            Truth { sd: vec![0.5, 1.2], ..truth.clone() },
            Truth { defect: 0.1, ..truth.clone() },
        ];
        for wrong in &wrongs {
            let (model, params) = wrong.trainable();
            for objective in DISTILLATION.iter().filter(|o| applies(o, path)) {
                let losses =
                    losses(objective, &model, &wrong.frozen(), Some(&map(&truth)), &truth, &inner_times(32));
                let (loss, gradient) = largest(&losses, &params);
                assert!(loss > 1e-5 && gradient > 1e-5, "{objective:?}: {loss:e}, {gradient:e}");
            }
        }
    }
}

/// The gradient of the exact field in reverse is that of the same field made of tensor operations.
#[test]
fn exact_field_is_differentiated_like_a_network() {
    for path in Path::ALL {
        let truth = example(path);
        let wrong = Truth { mean: vec![1.2, 0.3], defect: 0.2, ..truth.clone() };
        let (model, params) = wrong.trainable();
        let gradients = |known: &Teacher| {
            let objective = Objective::Lmd(Lmd { stop: LmdStop::None });
            let losses = losses(&objective, &model, &wrong.frozen(), Some(known), &truth, &inner_times(16));
            losses.mean().unwrap().backward().unwrap()
        };
        let (of_field, of_map) = (gradients(&field(&truth)), gradients(&map(&truth)));
        for (name, var) in params.vars() {
            let (found, expected) = (of_field.get(var).unwrap(), of_map.get(var).unwrap());
            let error = max_abs(&(found - expected).unwrap()) / max_abs(expected);
            assert!(error < ROUNDING, "{path:?}: gradient of {name} is off by {error:e}");
        }
    }
}

/// The exact average velocity of a mixture, values only.
struct ExactMap(MixtureFlow);

impl AverageVelocity for ExactMap {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, _: Condition<'_>) -> flowmap_nn::Result<Dual> {
        let (s, t) = (s.primal().to_vec1::<f64>()?, t.primal().to_vec1::<f64>()?);
        let rows = x.primal().to_vec2::<f64>()?;
        let v_st = |(i, x): (usize, &Vec<f64>)| self.0.average_velocity(s[i], t[i], x);
        let rows = rows.iter().enumerate().map(v_st).collect::<flowmap_core::Result<Vec<_>>>()?;
        Ok(Dual::constant(Tensor::new(rows, &Device::Cpu)?))
    }
}

/// The laws that compare maps with maps need no derivative: they hold for the flow map of any law.
#[test]
fn maps_of_a_mixture_have_no_semigroup_residual() {
    /// The integrator's 1e-10 a step, squared, with room to spare.
    const INTEGRATED: f64 = 1e-15;
    let component = |x: f64, weight: f64| Component {
        weight,
        mean: vec![x, 0.5],
        covariance: Covariance::Full(vec![vec![0.3, 0.1], vec![0.1, 0.2]]),
    };
    for path in Path::ALL {
        let parts = [component(-1.0, 2.0), component(1.0, 1.0)];
        let net = || ExactMap(MixtureFlow::new(path.interpolant(), 0.8, &parts).unwrap());
        let known = Teacher::Map(Arc::new(net()));
        for objective in [
            Objective::Psd(Psd { form: PsdForm::Velocity, stop: PsdStop::Target }),
            Objective::Psd(Psd { form: PsdForm::Map, stop: PsdStop::None }),
            Objective::Shortcut(Shortcut { n_steps: 1 << 31, ..Shortcut::PAPER }),
            Objective::Pfmm(Pfmm { n_steps: 2 }),
            Objective::Pfmm(Pfmm { n_steps: 3 }),
        ] {
            let known = Some(&known);
            let losses = losses(&objective, &net(), &net(), known, &example(path), &inner_times(16));
            let loss = max_abs(losses.tensor());
            assert!(loss < INTEGRATED, "{path:?}, {objective:?}: loss {loss:e}");
        }
    }
}

#[test]
fn solvers_have_their_orders() {
    let truth = example(Path::Trigonometric);
    let (model, _) = truth.trainable();
    for (solver, order) in [(OdeSolver::Euler, 1.0), (OdeSolver::Heun, 2.0), (OdeSolver::Rk4, 4.0)] {
        let error = |n_steps| {
            let objective = Objective::MapDistillation(MapDistillation { solver, n_steps });
            let losses = losses(&objective, &model, &model, Some(&field(&truth)), &truth, &inner_times(8));
            losses.mean().unwrap().to_scalar::<f64>().unwrap().sqrt()
        };
        let slope = (error(16) / error(32)).log2();
        assert!((slope - order).abs() < 0.3, "{solver:?}: slope {slope}");
        assert!(error(64) < 0.05);
    }
}

/// With the exact flow's trajectories, consistency at the truth has the error of one solver step and no other.
#[test]
fn consistency_along_the_teacher_has_the_error_of_one_step() {
    let truth = example(Path::Linear);
    let (model, _) = truth.trainable();
    let error = |objective: &Objective, width: f64| {
        let times = triples(&[[0.1, 0.1 + width, 0.9], [0.4, 0.4 + width, 1.0], [0.6, 0.6 + width, 1.0]]);
        let losses = losses(objective, &model, &truth.frozen(), Some(&field(&truth)), &truth, &times);
        losses.mean().unwrap().to_scalar::<f64>().unwrap().sqrt()
    };
    let orders = [(Trajectory::Euler, 2.0), (Trajectory::Heun, 3.0), (Trajectory::Rk4, 5.0)];
    for (trajectory, order) in orders {
        for objective in [
            Objective::Consistency(Consistency { trajectory, n_steps: 8 }),
            Objective::Ctm(Ctm { trajectory }),
        ] {
            let slope = (error(&objective, 0.1) / error(&objective, 0.05)).log2();
            assert!((slope - order).abs() < 0.4, "{objective:?}: slope {slope}");
        }
    }
}

const N_SAMPLES: usize = 20_000;
/// One over the time between the points of consistency training: its bias is far below the standard error.
const FINE: f64 = 65_536.0;

/// A regression: what it is called, and its conditional variance at (s, t), already scaled.
type Expected = fn(&Truth, f64, f64) -> f64;

/// Σ_i Var(İ_s | I_s)_i · (sd_t/sd_s)²_i: noise of İ_s carried by ∇X_{s,t}.
fn carried(truth: &Truth, s: f64, t: f64) -> f64 {
    let stretch = |sd: &f64| variances(truth, t, *sd) / variances(truth, s, *sd);
    conditional_variance(truth, s).iter().zip(&truth.sd).map(|(v, sd)| v * stretch(sd)).sum()
}

/// The same with half of the noise carried and half of it left as it is: β = ½.
fn half_carried(truth: &Truth, s: f64, t: f64) -> f64 {
    let stretch = |sd: &f64| (variances(truth, t, *sd) / variances(truth, s, *sd)).sqrt();
    let part = |sd: &f64| (0.5 + 0.5 * stretch(sd)).powi(2);
    conditional_variance(truth, s).iter().zip(&truth.sd).map(|(v, sd)| v * part(sd)).sum()
}

fn at_start(truth: &Truth, s: f64, _t: f64) -> f64 {
    conditional_variance(truth, s).iter().sum()
}

fn at_end(truth: &Truth, _s: f64, t: f64) -> f64 {
    conditional_variance(truth, t).iter().sum()
}

/// cos² τ (2/π)²/D times the noise carried to t = 1.
fn trigflow(truth: &Truth, s: f64, _t: f64) -> f64 {
    let tau = std::f64::consts::FRAC_PI_2 * (1.0 - s);
    (tau.cos() / std::f64::consts::FRAC_PI_2).powi(2) / 2.0 * carried(truth, s, 1.0)
}

#[test]
fn regressions_at_the_truth_are_the_conditional_variance_and_their_mean_gradient_vanishes() {
    let fmm = |law| Objective::Fmm(Fmm { law, inversion: 1.0 });
    let every_step = SoFlow { first: FINE.recip(), last: FINE.recip(), end: 1 };
    let half = MeanFlow { beta: 0.5, ..MeanFlow::default() };
    let regressions: [(Objective, f64, Expected); 9] = [
        (Objective::MeanFlow(half), 1.0, half_carried),
        (Objective::SoFlow(every_step), FINE.sqrt(), carried),
        (Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Data, beta: 1.0 }), 1.0, carried),
        (Objective::ImprovedMeanFlow(ImprovedMeanFlow {}), 1.0, at_start),
        (fmm(FmmLaw::Lagrangian), 1.0, at_end),
        (fmm(FmmLaw::Eulerian), 1.0, at_end),
        (Objective::Tvm(Tvm {}), 1.0, at_end),
        (Objective::Consistency(Consistency { trajectory: Trajectory::Data, n_steps: 1 }), FINE, carried),
        (Objective::Scm(BARE_SCT), 1.0, trigflow),
    ];
    for path in Path::ALL {
        let truth = example(path);
        let times = regression_times();
        let (model, params) = truth.trainable_per_sample(N_SAMPLES);
        for (objective, scale, expected) in regressions.iter().filter(|(o, ..)| applies(o, path)) {
            let what = format!("{path:?}, {objective:?}");
            let losses = losses(objective, &model, &truth.frozen(), None, &truth, &times);
            let values: Vec<f64> = losses.scale(scale * scale).unwrap().tensor().to_vec1().unwrap();
            let pairs = times.s.host().iter().zip(times.t.host());
            let excess: Vec<f64> =
                values.iter().zip(pairs).map(|(loss, (s, t))| loss - expected(&truth, *s, *t)).collect();
            mean_is(0.0, &excess, &format!("{what}: excess over the conditional variance"));
            assert!(values.iter().sum::<f64>() / N_SAMPLES as f64 > 0.1, "{what}: far from zero");

            let sum = losses.scale(*scale).unwrap().tensor().sum_all().unwrap();
            let gradients = sum.backward().unwrap();
            for name in ["mean", "sd", "defect"] {
                let gradient = gradients.get(&params.vars()[name]).unwrap().t().unwrap();
                for (i, values) in gradient.to_vec2::<f64>().unwrap().iter().enumerate() {
                    // Terminal velocity matching has no noise in its off-diagonal term.
                    if name == "defect" && *objective == (Objective::Tvm(Tvm {})) {
                        assert!(values.iter().all(|g| g.abs() < ZERO_GRADIENT), "{what}: {name}[{i}]");
                        continue;
                    }
                    assert!(values.iter().any(|g| g.abs() > 1e-2), "{what}: {name}[{i}] has no gradient");
                    mean_is(0.0, values, &format!("{what}: gradient of {name}[{i}]"));
                }
            }
        }
    }
}

/// Times inside the triangle, u a small step after s.
fn regression_times() -> Times {
    let stream = NoiseStream::new(SEED, Stream::Times);
    let pair = |i| {
        let mut noise = stream.at(i);
        let (a, b) = (noise.uniform(), noise.uniform());
        (0.9 * a.min(b), 0.05 + 0.95 * a.max(b))
    };
    let (s, t): (Vec<f64>, Vec<f64>) = (0..N_SAMPLES as u64).map(pair).unzip();
    let column = |host| TimeColumn::new(host, DType::F64, &Device::Cpu).unwrap();
    let u = s.iter().map(|s| s + 1.0 / FINE).collect();
    Times::of(column(s), column(u), column(t))
}

#[test]
fn missing_teachers_are_named() {
    let truth = example(Path::Trigonometric);
    let (x0, x1) = pairs(&truth, 2);
    let (times, interpolant) = (inner_times(2), truth.path.interpolant());
    let batch =
        Batch { x0: &x0, x1: &x1, condition: Condition::default(), interpolant: &interpolant, unit: 1.0 };
    let net = truth.frozen();
    let model = FlowMap::new(&net);
    for objective in &DISTILLATION {
        assert!(objective.needs().teacher.is_some());
        let error = objective.loss(&Pass::new(model, model, &batch, &times)).unwrap_err().to_string();
        assert_eq!(error, "the objective needs a teacher to distill from, found none");
    }
    let known = field(&truth);
    let context = Context { teacher: Some(&known), ..Context::default() };
    let error =
        Objective::Pfmm(Pfmm { n_steps: 2 }).loss(&Pass::new(model, model, &batch, &times).within(context));
    let expected = "the objective needs a flow map to distill from, found a velocity field";
    assert_eq!(error.unwrap_err().to_string(), expected);
    let linear = Batch { interpolant: &InterpolantKind::Linear, ..batch };
    let error =
        Objective::Scm(BARE_SCT).loss(&Pass::new(model, model, &linear, &times)).unwrap_err().to_string();
    assert!(error.starts_with("the objective needs the trigonometric interpolant, found one with beta("));
}
