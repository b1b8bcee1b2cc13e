//! Guidance with its scale as an input: what the guided target is at the exact field, and what it is at w = 1.
//!
//! Two overlapping Gaussians are the classes and their mixture is all data, so b(x|c), b(x|∅) and with them
//! b^w(x|c) = b(x|∅) + w (b(x|c) − b(x|∅)) are exact.

use candle_core::{DType, Device, Tensor};
use flowmap_core::exact::{Component, Covariance, ExactFlow, GaussianFlow, GuidedFlow, MixtureFlow};
use flowmap_core::{Linear, NoiseStream, Stream};
use flowmap_dual::Dual;
use flowmap_nn::loss::{Combination, Term};
use flowmap_nn::method::{Context, FlowMatching, GuidedMeanFlow, Lsd, LsdStop, Method, Objective, Pass};
use flowmap_nn::net::Mlp;
use flowmap_nn::{
    AverageVelocity, Batch, Condition, Error, FlowMap, Init, OwnedCondition, ParamBuilder, Params, Result,
    StepKey, TimeColumn, Times, loss_and_gradient,
};

use crate::support::mlps::{Case, cases, normals};

const SEED: u64 = 11;
const SIGMA0: f64 = 0.9;
const SD: f64 = 0.6;
const MEANS: [[f64; 2]; 2] = [[0.7, 0.2], [-0.7, -0.2]];
/// The label for "none".
const NULL: u32 = 2;
/// Means are believed within this many standard errors.
const N_STANDARD_ERRORS: f64 = 4.0;
/// Two orders of summation of the same numbers.
const ROUNDING: f64 = 1e-12;

fn class(c: usize) -> GaussianFlow {
    GaussianFlow::new(Linear, SIGMA0, MEANS[c].to_vec(), &Covariance::Isotropic(SD)).unwrap()
}

fn all_data() -> MixtureFlow {
    let component = |mean: [f64; 2]| Component {
        weight: 1.0,
        mean: mean.to_vec(),
        covariance: Covariance::Isotropic(SD),
    };
    MixtureFlow::new(Linear, SIGMA0, &MEANS.map(component)).unwrap()
}

/// A network that knows b^w on the diagonal, with parameters of every sample that are zero at the truth:
/// v_{t,t}(x | c, w) = b^{f w}_t(x | c) + offset + slope · x, with f = 1 at the truth.
struct Truth {
    factor: f64,
    offset: Tensor,
    slope: Tensor,
}

impl Truth {
    fn new(n: usize, factor: f64) -> (Self, Params) {
        let mut builder = ParamBuilder::fresh(1, DType::F64, &Device::Cpu);
        let mut zeros = |name| builder.param(name, (n, 2), Init::Zeros).unwrap();
        let truth = Self { factor, offset: zeros("offset"), slope: zeros("slope") };
        (truth, builder.finish().unwrap())
    }
}

impl AverageVelocity for Truth {
    fn average_velocity(&self, _s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        let t: Vec<f64> = t.primal().to_vec1()?;
        let labels: Vec<u32> = condition.labels.unwrap().to_vec1()?;
        let scales: Vec<f64> = condition.guidance.unwrap().to_vec1()?;
        let b = |(i, x): (usize, &Vec<f64>)| match labels[i] {
            NULL => all_data().velocity(t[i], x),
            c => GuidedFlow::new(all_data(), class(c as usize), self.factor * scales[i]).velocity(t[i], x),
        };
        let b = x.primal().to_vec2::<f64>()?.iter().enumerate().map(b).collect::<Result<Vec<_>, _>>()?;
        let b = Tensor::from_vec(b.concat(), x.dims(), &Device::Cpu)?;
        Ok(Dual::constant(((b + &self.offset)? + (&self.slope * x.primal())?)?))
    }
}

/// Pairs of noise and of a sample of the row's class, a third of them with hidden labels, w from 1 to 3.
struct Rows {
    x0: Tensor,
    x1: Tensor,
    condition: OwnedCondition,
    labels: Vec<u32>,
    scales: Vec<f64>,
    times: Times,
}

impl Rows {
    fn draw(n: usize) -> Self {
        let (mut x0, mut x1, mut t) = (Vec::new(), Vec::new(), Vec::new());
        let (mut labels, mut scales) = (Vec::new(), Vec::new());
        for i in 0..n as u64 {
            let mut noise = NoiseStream::new(SEED, Stream::Data).at(i);
            let c = noise.below(2) as usize;
            x0.extend([SIGMA0 * noise.normal(), SIGMA0 * noise.normal()]);
            x1.extend(MEANS[c].map(|m| m + SD * noise.normal()));
            t.push(noise.uniform());
            let is_hidden = noise.below(3) == 0;
            labels.push(if is_hidden { NULL } else { c as u32 });
            scales.push(if is_hidden { 1.0 } else { 1.0 + 2.0 * noise.uniform() });
        }
        let tensor = |values: Vec<f64>| Tensor::from_vec(values, (n, 2), &Device::Cpu).unwrap();
        let time = || TimeColumn::new(t.clone(), DType::F64, &Device::Cpu).unwrap();
        let condition = OwnedCondition {
            labels: Some(Tensor::new(&labels[..], &Device::Cpu).unwrap()),
            guidance: Some(Tensor::new(&scales[..], &Device::Cpu).unwrap()),
            ..OwnedCondition::default()
        };
        let times = Times::of(time(), time(), time());
        Self { x0: tensor(x0), x1: tensor(x1), condition, labels, scales, times }
    }

    fn batch(&self) -> Batch<'_> {
        Batch {
            x0: &self.x0,
            x1: &self.x1,
            condition: (&self.condition).into(),
            interpolant: &Linear,
            unit: 1.0,
        }
    }
}

fn context() -> Context<'static> {
    Context { null_label: Some(NULL), ..Context::default() }
}

/// Checks that the mean of `values` is zero within [`N_STANDARD_ERRORS`].
#[track_caller]
fn mean_is_zero(values: &[f64], what: &str) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let error = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n / n).sqrt();
    assert!(error > 0.0 && mean.abs() <= N_STANDARD_ERRORS * error, "{what}: {mean}, standard error {error}");
}

/// The guided target is unbiased: E[İ^w_t | I_t, c] = b^w_t(I_t | c), so at the exact field, with the exact field as its
/// own teacher, every parameter has mean gradient zero, for rows with labels and for rows without.
#[test]
fn mean_gradient_of_guided_flow_matching_vanishes_at_the_guided_field() {
    let n = 30_000;
    let rows = Rows::draw(n);
    let (truth, params) = Truth::new(n, 1.0);
    let map = FlowMap::given(&truth, &rows.condition);
    for (name, objective) in [
        ("flow matching", Objective::FlowMatching(FlowMatching {})),
        // At t = s it is a regression on its mixed target.
        (
            "guided Mean Flow",
            Objective::GuidedMeanFlow(GuidedMeanFlow { kappa: 0.4, ..GuidedMeanFlow::default() }),
        ),
    ] {
        let losses =
            objective.loss(&Pass::new(map, map, &rows.batch(), &rows.times).within(context())).unwrap();
        let gradients = losses.tensor().sum_all().unwrap().backward().unwrap();
        for (parameter, var) in params.vars() {
            let gradient = gradients.get(var).unwrap().t().unwrap().to_vec2::<f64>().unwrap();
            for (i, values) in gradient.iter().enumerate() {
                let of = |keep: &dyn Fn(usize) -> bool| -> Vec<f64> {
                    values.iter().enumerate().filter(|(row, _)| keep(*row)).map(|(_, g)| *g).collect()
                };
                let what = format!("{name}: gradient of {parameter}[{i}]");
                mean_is_zero(&of(&|row| rows.labels[row] == NULL), &format!("{what} without a label"));
                mean_is_zero(&of(&|row| rows.labels[row] == 0), &format!("{what} of class 0"));
                mean_is_zero(&of(&|row| rows.labels[row] == 1), &format!("{what} of class 1"));
                let strong = |row: usize| rows.labels[row] != NULL && rows.scales[row] > 2.0;
                mean_is_zero(&of(&strong), &format!("{what} at w > 2"));
            }
        }
    }
}

/// The minimum of guided flow matching is w² times the conditional variance of the class,
/// Σ_i σ0² sd² / var_t for the linear interpolant, var_t = (1 − t)² σ0² + t² sd².
#[test]
fn guided_flow_matching_at_the_guided_field_is_the_conditional_variance_times_the_square_of_the_scale() {
    let n = 30_000;
    let rows = Rows::draw(n);
    let (truth, _) = Truth::new(n, 1.0);
    let map = FlowMap::given(&truth, &rows.condition);
    let losses = Objective::FlowMatching(FlowMatching {})
        .loss(&Pass::new(map, map, &rows.batch(), &rows.times).within(context()));
    let losses: Vec<f64> = losses.unwrap().tensor().to_vec1().unwrap();
    let excess = |row: usize| {
        let (t, w) = (rows.times.t.host()[row], rows.scales[row]);
        let variance = ((1.0 - t) * SIGMA0).powi(2) + (t * SD).powi(2);
        losses[row] - w * w * 2.0 * (SIGMA0 * SD).powi(2) / variance
    };
    let labelled = (0..n).filter(|row| rows.labels[*row] != NULL);
    mean_is_zero(&labelled.map(excess).collect::<Vec<_>>(), "excess over w² times the conditional variance");
}

/// A guided field that is wrong has a mean gradient: the tests above can fail.
#[test]
fn mean_gradient_shows_a_field_that_is_guided_too_far() {
    let n = 4_000;
    let rows = Rows::draw(n);
    let (wrong, params) = Truth::new(n, 1.3);
    let map = FlowMap::given(&wrong, &rows.condition);
    let losses = Objective::FlowMatching(FlowMatching {})
        .loss(&Pass::new(map, map, &rows.batch(), &rows.times).within(context()));
    let gradients = losses.unwrap().tensor().sum_all().unwrap().backward().unwrap();
    let gradient = gradients.get(&params.vars()["offset"]).unwrap().to_vec2::<f64>().unwrap();
    let of_class_0 = (0..n).filter(|row| rows.labels[*row] == 0).map(|row| gradient[row][0]);
    let values: Vec<f64> = of_class_0.collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    assert!(mean > 0.1, "{mean}");
}

const N: usize = 24;

fn guided_case() -> Case {
    cases().into_iter().find(|case| case.name == "guidance with time features").unwrap()
}

fn networks(dtype: DType) -> (Mlp, Mlp, Params) {
    let case = guided_case();
    let (model, params) = case.fresh(dtype);
    let teacher = case.build(ParamBuilder::frozen(params.tensors(), dtype, &Device::Cpu)).0;
    (model, teacher, params)
}

fn times(n: usize) -> Times {
    let draw = |i| {
        let mut noise = NoiseStream::new(3, Stream::Times).at(i);
        let mut times = [noise.uniform(), noise.uniform(), noise.uniform()];
        times.sort_by(f64::total_cmp);
        flowmap_core::Times::forward(times[0], times[1], times[2]).unwrap()
    };
    Times::new(&(0..n as u64).map(draw).collect::<Vec<_>>(), DType::F64, &Device::Cpu).unwrap()
}

#[test]
fn scale_of_one_is_flow_matching_to_the_last_bit() {
    let (model, teacher, _) = networks(DType::F64);
    let labels = guided_case().labels(N).unwrap();
    let ones = Tensor::ones(N, DType::F64, &Device::Cpu).unwrap();
    let condition = Condition::labels(&labels).with_guidance(&ones);
    let (x0, x1) = (normals(Stream::Base, N, DType::F64), normals(Stream::Data, N, DType::F64));
    let (batch, times) = (Batch { x0: &x0, x1: &x1, condition, interpolant: &Linear, unit: 1.0 }, times(N));
    let context = Context { null_label: Some(guided_case().null_label()), ..Context::default() };
    let (model, teacher) = (FlowMap::given(&model, condition), FlowMap::given(&teacher, condition));
    let guided = Objective::FlowMatching(FlowMatching {})
        .loss(&Pass::new(model, teacher, &batch, &times).within(context))
        .unwrap();
    // The regression on İ_t, without guidance.
    let v_tt = model.velocity(times.t.tensor(), &batch.i(&times.t).unwrap()).unwrap();
    let plain = batch.squared_norm(&(v_tt - batch.di(&times.t).unwrap()).unwrap()).unwrap();
    assert_eq!(guided.tensor().to_vec1::<f64>().unwrap(), plain.tensor().to_vec1::<f64>().unwrap());
}

/// At t = s, with κ = 0 the mixed target of Mean Flow is that of guided flow matching.
#[test]
fn guided_mean_flow_on_the_diagonal_is_guided_flow_matching() {
    let (model, teacher, _) = networks(DType::F64);
    let condition = guided_case().condition(N, DType::F64);
    let (x0, x1) = (normals(Stream::Base, N, DType::F64), normals(Stream::Data, N, DType::F64));
    let t = times(N).t;
    let on_diagonal = Times::of(t.clone(), t.clone(), t);
    let batch = Batch { x0: &x0, x1: &x1, condition: (&condition).into(), interpolant: &Linear, unit: 1.0 };
    let context = Context { null_label: Some(guided_case().null_label()), ..Context::default() };
    let (model, teacher) = (FlowMap::given(&model, &condition), FlowMap::given(&teacher, &condition));
    let losses = |objective: Objective| -> Vec<f64> {
        let losses =
            objective.loss(&Pass::new(model, teacher, &batch, &on_diagonal).within(context)).unwrap();
        losses.tensor().to_vec1().unwrap()
    };
    let expected = losses(Objective::FlowMatching(FlowMatching {}));
    let mixed = losses(Objective::GuidedMeanFlow(GuidedMeanFlow { kappa: 0.0, ..GuidedMeanFlow::default() }));
    for (found, expected) in mixed.iter().zip(&expected) {
        assert!((found - expected).abs() < ROUNDING * expected, "{found}, expected {expected}");
    }
    let without =
        Objective::FlowMatching(FlowMatching {}).loss(&Pass::new(model, teacher, &batch, &on_diagonal));
    assert!(matches!(without, Err(Error::Labels { .. })), "the label for none must be known");
}

/// Every row of a batch in tiles keeps its label and its scale.
#[test]
fn labels_and_scales_stay_with_their_rows_through_tiles() {
    let n = 700;
    let (model, teacher, params) = networks(DType::F64);
    let condition = guided_case().condition(n, DType::F64);
    let (x0, x1) = (normals(Stream::Base, n, DType::F64), normals(Stream::Data, n, DType::F64));
    let batch = Batch { x0: &x0, x1: &x1, condition: (&condition).into(), interpolant: &Linear, unit: 1.0 };
    let terms = vec![
        Term::new(Objective::FlowMatching(FlowMatching {}), 0.75),
        Term::new(Objective::Lsd(Lsd { stop: LsdStop::Target }), 0.25),
    ];
    let combination = Combination::new(terms).unwrap().with_null_label(guided_case().null_label());
    let key = StepKey { seed: 1, step: 0, first_row: 7 };
    let tiled = loss_and_gradient(&combination, &model, &teacher, &params, &batch, key).unwrap();
    let whole = combination.loss(&model, &teacher, &batch, key).unwrap();
    let loss = whole.total.to_scalar::<f64>().unwrap();
    let found = tiled.losses.read().unwrap().loss;
    assert!((found - loss).abs() < ROUNDING * loss, "{found} and {loss}");
    let gradients = whole.total.backward().unwrap();
    for (name, var) in params.vars() {
        let (a, b) = (tiled.gradients.get(var).unwrap(), gradients.get(var).unwrap());
        let difference = (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(difference < 10.0 * ROUNDING, "{name}: {difference:e}");
    }
    // One sample at another scale is another loss, so the scales are read.
    let scales = condition.guidance.clone().unwrap().affine(1.01, 0.0).unwrap();
    let other = Batch { condition: batch.condition.with_guidance(&scales), ..batch };
    let other = combination.loss(&model, &teacher, &other, key).unwrap();
    assert_ne!(other.total.to_scalar::<f64>().unwrap(), loss);
}
