//! Regressions at the exact flow map of a mixture of Gaussians, whose conditional laws are skewed.
//!
//! At the truth the loss is the conditional variance of İ, carried by ∇X_{s,t} where the target carries it, and only
//! the mean gradient vanishes; away from it the mean exceeds the variance.

use std::f64::consts::FRAC_PI_2;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{Interpolant, NoiseStream, Stream};
use flowmap_dual::Dual;
use flowmap_nn::loss::Norm;
use flowmap_nn::method::*;
use flowmap_nn::method::{Consistency, FlowMatching, Fmm, ImprovedMeanFlow, MeanFlow, Tvm};
use flowmap_nn::{AverageVelocity, Batch, Condition, FlowMap, Params, PerSample, TimeColumn, Times};

use crate::support::measure::*;
use crate::support::mixture_net::{Mixture, THETA, applies, losses};
use crate::support::path::Path;

const BARE_SCT: Scm = Scm { velocity: ScmVelocity::Data, warmup: 0, norm_offset: 0.0 };
const N_SAMPLES: usize = 2_500;
/// Steps of the integrator that err far less than a standard error of the mean of [`N_SAMPLES`].
const COARSE: u32 = 2;
/// What the integrator's error in the residual of terminal velocity matching makes of a gradient that is zero.
const NEARLY_SILENT: f64 = 1e-3;
/// One over the time between the points of consistency training: its bias is far below the standard error.
const FINE: f64 = 65_536.0;

/// Cov(İ_t | I_t = x): within each component σ0² sd² (α β̇ − α̇ β)²/var_t, and between their velocities.
fn conditional_covariance(mixture: &Mixture, t: f64, x: &[f64]) -> [[f64; 2]; 2] {
    let path = mixture.path.interpolant();
    let (a, b, a_dot, b_dot) = (path.alpha(t), path.beta(t), path.alpha_dot(t), path.beta_dot(t));
    let noise = mixture.sigma0.powi(2);
    let mut parts = Vec::new();
    for ((weight, mean), sd) in mixture.weights.iter().zip(&mixture.means).zip(&mixture.sds) {
        let (mut log, mut velocity, mut inner) = (weight.ln(), [0.0; 2], [0.0; 2]);
        for i in 0..2 {
            let lambda = sd[i].powi(2);
            let (variance, y) = (a * a * noise + b * b * lambda, x[i] - b * mean[i]);
            log -= 0.5 * (y * y / variance + variance.ln());
            velocity[i] = b_dot * mean[i] + y * (a * a_dot * noise + b * b_dot * lambda) / variance;
            inner[i] = noise * lambda * (a * b_dot - a_dot * b).powi(2) / variance;
        }
        parts.push((log.exp(), velocity, inner));
    }
    let total: f64 = parts.iter().map(|part| part.0).sum();
    let mean = |f: &dyn Fn(&[f64; 2], &[f64; 2]) -> f64| -> f64 {
        parts.iter().map(|(weight, velocity, inner)| weight / total * f(velocity, inner)).sum()
    };
    let b_t = [0, 1].map(|i| mean(&|velocity, _| velocity[i]));
    [0, 1].map(|i| {
        [0, 1].map(|j| {
            let within = if i == j { mean(&|_, inner| inner[i]) } else { 0.0 };
            within + mean(&|velocity, _| (velocity[i] - b_t[i]) * (velocity[j] - b_t[j]))
        })
    })
}

/// Whose conditional variance a regression is.
#[derive(Clone, Copy, Debug)]
enum Variance {
    /// Of İ_s.
    Start,
    /// Of İ_t.
    End,
    /// Of ∇X_{s,t} İ_s.
    Carried,
    /// Of ∇X_{s,1} İ_s, times cos² τ (2/π)²/D.
    Trigflow,
}

/// The conditional variance of each sample, with the Jacobian of `model` where it is carried.
fn variances(
    of: Variance,
    mixture: &Mixture,
    model: &dyn AverageVelocity,
    batch: &Batch<'_>,
    times: &Times,
) -> Vec<f64> {
    let time = if matches!(of, Variance::End) { &times.t } else { &times.s };
    let x = batch.i(time).unwrap();
    let end = match of {
        Variance::Trigflow => times.t.tensor().ones_like().unwrap(),
        _ => times.t.tensor().clone(),
    };
    // Columns of the Jacobian, `(B, 2)` each.
    let column = |i: usize| -> Vec<Vec<f64>> {
        let unit = [[1.0, 0.0], [0.0, 1.0]][i];
        let direction = Tensor::new(&[unit], &Device::Cpu).unwrap().broadcast_as(x.shape()).unwrap();
        match of {
            Variance::Start | Variance::End => direction,
            Variance::Carried | Variance::Trigflow => {
                FlowMap::new(model)
                    .jvp(times.s.tensor(), &end, &x, &direction.contiguous().unwrap())
                    .unwrap()
                    .1
            }
        }
        .to_vec2()
        .unwrap()
    };
    let columns = [column(0), column(1)];
    let rows = x.to_vec2::<f64>().unwrap();
    let of_row = |(row, x): (usize, &Vec<f64>)| {
        let covariance = conditional_covariance(mixture, time.host()[row], x);
        let product = |i: usize, j: usize| -> f64 {
            columns[i][row].iter().zip(&columns[j][row]).map(|(a, b)| a * b).sum()
        };
        let pairs = [(0, 0), (0, 1), (1, 0), (1, 1)];
        let trace: f64 = pairs.into_iter().map(|(i, j)| covariance[i][j] * product(i, j)).sum();
        match of {
            Variance::Trigflow => {
                let tau = FRAC_PI_2 * (1.0 - time.host()[row]);
                (tau.cos() / FRAC_PI_2).powi(2) / 2.0 * trace
            }
            _ => trace,
        }
    };
    rows.iter().enumerate().map(of_row).collect()
}

/// Every jump is Euler's step, v_{s,t}(x) = v_{s,s}(x): where α-Flow begins.
struct EulerStep<M>(M);

impl<M: AverageVelocity> AverageVelocity for EulerStep<M> {
    fn average_velocity(
        &self,
        s: &Dual,
        _t: &Dual,
        x: &Dual,
        condition: Condition<'_>,
    ) -> flowmap_nn::Result<Dual> {
        self.0.average_velocity(s, s, x, condition)
    }
}

/// Regressions, each with what its gradient is scaled by and whose variance it is.
fn regressions(path: Path) -> Vec<(Objective, f64, Variance)> {
    let fmm = |law| Objective::Fmm(Fmm { law, inversion: 1.0 });
    let all = [
        (Objective::FlowMatching(FlowMatching {}), 1.0, Variance::End),
        (
            Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Data, beta: 1.0 }),
            1.0,
            Variance::Carried,
        ),
        (Objective::ImprovedMeanFlow(ImprovedMeanFlow {}), 1.0, Variance::Start),
        (fmm(FmmLaw::Lagrangian), 1.0, Variance::End),
        (fmm(FmmLaw::Eulerian), 1.0, Variance::End),
        (Objective::Tvm(Tvm {}), 1.0, Variance::End),
        (
            Objective::Consistency(Consistency { trajectory: Trajectory::Data, n_steps: 1 }),
            FINE,
            Variance::Carried,
        ),
        (Objective::Scm(BARE_SCT), 1.0, Variance::Trigflow),
        (Objective::AlphaFlow(AlphaFlow::default()), 1.0, Variance::Start),
    ];
    all.into_iter().filter(|(objective, ..)| applies(objective, path)).collect()
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

/// The losses of a regression at θ and their excess over the conditional variance.
fn excess(
    (objective, scale, variance): &(Objective, f64, Variance),
    mixture: &Mixture,
    theta: f64,
) -> (PerSample, Params, Vec<f64>) {
    let times = regression_times();
    let (model, params) = mixture.trainable_per_sample(theta, N_SAMPLES, COARSE);
    let frozen = mixture.frozen(theta, COARSE);
    let begins = matches!(objective, Objective::AlphaFlow(_));
    let (x0, x1) = mixture.pairs(SEED, N_SAMPLES);
    let interpolant = mixture.path.interpolant();
    let batch =
        Batch { x0: &x0, x1: &x1, condition: Condition::default(), interpolant: &interpolant, unit: 1.0 };
    let expected = variances(*variance, mixture, &frozen, &batch, &times);
    let nets: [Box<dyn AverageVelocity>; 2] = if begins {
        [Box::new(EulerStep(model)), Box::new(EulerStep(frozen))]
    } else {
        [Box::new(model), Box::new(frozen)]
    };
    let losses = losses(objective, (&nets[0], &nets[1]), None, mixture, &times);
    let values: Vec<f64> = losses.scale(scale * scale).unwrap().tensor().to_vec1().unwrap();
    let excess = values.iter().zip(expected).map(|(loss, variance)| loss - variance).collect();
    (losses.scale(*scale).unwrap(), params, excess)
}

#[test]
fn regressions_at_the_map_of_a_mixture_are_the_conditional_variance_and_their_mean_gradient_vanishes() {
    for path in Path::ALL {
        let mixture = Mixture::example(path);
        for regression in &regressions(path) {
            let objective = &regression.0;
            let what = format!("{path:?}, {objective:?}");
            let (losses, params, excess) = excess(regression, &mixture, 0.0);
            mean_is(0.0, &excess, &format!("{what}: excess over the conditional variance"));
            let gradients = losses.tensor().sum_all().unwrap().backward().unwrap();
            for name in THETA {
                let gradient = gradients.get(&params.vars()[name]).unwrap().t().unwrap();
                // On the diagonal nothing is stretched, and off it terminal velocity matching has no noise.
                let diagonal = matches!(
                    objective,
                    Objective::FlowMatching(FlowMatching {})
                        | Objective::Tvm(Tvm {})
                        | Objective::AlphaFlow(_)
                );
                for (i, values) in gradient.to_vec2::<f64>().unwrap().iter().enumerate() {
                    if name == "stretch" && diagonal {
                        let mean = values.iter().map(|g| g.abs()).sum::<f64>() / N_SAMPLES as f64;
                        assert!(mean < NEARLY_SILENT, "{what}: {name}[{i}] has a mean gradient of {mean:e}");
                        continue;
                    }
                    assert!(values.iter().any(|g| g.abs() > 1e-2), "{what}: {name}[{i}] has no gradient");
                    mean_is(0.0, values, &format!("{what}: gradient of {name}[{i}]"));
                }
            }
        }
    }
}

#[test]
fn perturbed_map_of_a_mixture_exceeds_the_conditional_variance() {
    for path in Path::ALL {
        for regression in &regressions(path) {
            let (_, _, excess) = excess(regression, &Mixture::example(path), 0.6);
            mean_is_positive(&excess, &format!("{path:?}, {:?}: excess", regression.0));
        }
    }
}

/// |∂_s X + ∇X İ_s|² as it stands also pulls at ∇X, which carries the noise of İ_s: stretching less makes it smaller.
#[test]
fn mean_flow_without_its_stop_is_not_at_rest_at_the_flow_map() {
    for path in Path::ALL {
        let mixture = Mixture::example(path);
        let (model, params) = mixture.trainable_per_sample(0.0, N_SAMPLES, COARSE);
        let (x0, x1) = mixture.pairs(SEED, N_SAMPLES);
        let (times, interpolant) = (regression_times(), path.interpolant());
        let batch =
            Batch { x0: &x0, x1: &x1, condition: Condition::default(), interpolant: &interpolant, unit: 1.0 };
        let along = Dual::new(batch.i(&times.s).unwrap(), batch.di(&times.s).unwrap()).unwrap();
        let s = Dual::variable(times.s.tensor().clone()).unwrap();
        let residual = FlowMap::new(&model).jump_dual(&s, &times.t.tensor().into(), &along).unwrap();
        let losses = PerSample::squared_norm(&residual.tangent_or_zeros().unwrap()).unwrap();
        let gradients = losses.tensor().sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&params.vars()["stretch"]).unwrap().t().unwrap();
        for (i, values) in gradient.to_vec2::<f64>().unwrap().iter().enumerate() {
            mean_is_positive(values, &format!("{path:?}: gradient of stretch[{i}]"));
        }
    }
}

/// With p = ½ a residual counts by its direction: at rest is no mean but a center that outliers pull less.
#[test]
fn adaptive_norm_moves_the_regression_of_a_mixture_and_not_that_of_a_gaussian() {
    // From near the noise the data are seen whole, with their skewness.
    let stream = NoiseStream::new(SEED, Stream::Times);
    let early: Vec<[f64; 3]> = (0..N_SAMPLES as u64).map(|i| [0.5 * stream.at(i).uniform(); 3]).collect();
    let times = triples(&early);
    let skewed = Mixture {
        weights: vec![0.85, 0.15],
        means: vec![[0.3, 0.3], [-1.7, -1.7]],
        sds: vec![[0.4; 2]; 2],
        ..Mixture::example(Path::Linear)
    };
    let single =
        Mixture { weights: vec![1.0], means: vec![[0.7, -0.2]], sds: vec![[0.4, 0.6]], ..skewed.clone() };
    let gradients = |mixture: &Mixture| {
        let (model, params) = mixture.trainable_per_sample(0.0, N_SAMPLES, COARSE);
        let losses =
            losses(&Objective::FlowMatching(FlowMatching {}), (&model, &model), None, mixture, &times);
        let losses = Norm::Adaptive { p: 0.5, eps: 0.01 }.apply(losses).unwrap();
        let gradients = losses.tensor().sum_all().unwrap().backward().unwrap();
        gradients.get(&params.vars()["shift"]).unwrap().t().unwrap().to_vec2::<f64>().unwrap()
    };
    for values in gradients(&single) {
        mean_is(0.0, &values, "gradient of the shift of a Gaussian");
    }
    for values in gradients(&skewed) {
        // The mean of İ lies toward the small component, and v would go up from it.
        let down: Vec<f64> = values.iter().map(|g| -g).collect();
        mean_is_positive(&down, "pull of a skewed mixture");
    }
}
