//! The closed-form flow map of a Gaussian: what the objectives say at the truth, and away from it.
//!
//! At the truth the residual of LSD, ESD and PSD is zero for every sample, and so is every gradient.
//! Flow matching is not zero there: its minimum is the conditional variance
//! E|İ_t − b_t(I_t)|² = Σ_i σ0² sd_i² (α β̇ − α̇ β)² / var_t,i, and only its mean gradient vanishes.

use candle_core::{DType, Device};
use flowmap_core::exact::{Covariance, ExactFlow, GaussianFlow};
use flowmap_core::{NoiseStream, Stream};
use flowmap_nn::method::{
    Esd, EsdStop, FlowMatching, Lsd, LsdStop, MeanFlow, MeanFlowVelocity, Method, Objective, Pass, Psd,
    PsdForm, PsdStop, Shortcut, SplitMeanFlow,
};
use flowmap_nn::{AverageVelocity, Batch, Condition, FlowMap, Params, TimeColumn, Times};
use proptest::prelude::*;

use crate::support::gaussian_net::Truth;
use crate::support::path::Path;
use crate::support::truths::*;

/// Residuals at the truth are some 1e-14 of rounding; this is their square with room to spare.
const ZERO_LOSS: f64 = 1e-20;
/// A gradient is residual times derivative, so first order in the rounding.
const ZERO_GRADIENT: f64 = 1e-11;
/// Rounding of the two closed forms.
const CLOSED_FORM: f64 = 1e-11;
const SELF_DISTILLATION: [Objective; 15] = [
    Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Model, beta: 1.0 }),
    Objective::Shortcut(Shortcut { n_steps: 1 << 31, ..Shortcut::PAPER }),
    Objective::Lsd(Lsd { stop: LsdStop::Target }),
    Objective::Lsd(Lsd { stop: LsdStop::Parameters }),
    Objective::Lsd(Lsd { stop: LsdStop::None }),
    Objective::Esd(Esd { stop: EsdStop::Advection }),
    Objective::Esd(Esd { stop: EsdStop::Velocity }),
    Objective::Esd(Esd { stop: EsdStop::None }),
    Objective::Psd(Psd { form: PsdForm::Velocity, stop: PsdStop::Target }),
    Objective::Psd(Psd { form: PsdForm::Velocity, stop: PsdStop::None }),
    Objective::Psd(Psd { form: PsdForm::Velocity, stop: PsdStop::Parameters }),
    Objective::Psd(Psd { form: PsdForm::Map, stop: PsdStop::Parameters }),
    Objective::SplitMeanFlow(SplitMeanFlow {}),
    Objective::Psd(Psd { form: PsdForm::Map, stop: PsdStop::Target }),
    Objective::Psd(Psd { form: PsdForm::Map, stop: PsdStop::None }),
];

/// Whether the objective compares the model with the teacher, not with itself.
fn has_teacher(objective: &Objective) -> bool {
    !matches!(
        objective,
        Objective::Lsd(Lsd { stop: LsdStop::None })
            | Objective::Esd(Esd { stop: EsdStop::None })
            | Objective::Psd(Psd { stop: PsdStop::None, .. })
    )
}

/// The largest loss of a sample, and the largest component of its gradient; none where nothing is on the tape.
fn loss_and_gradient(
    objective: &Objective,
    (model, params): (&dyn AverageVelocity, &Params),
    teacher: &dyn AverageVelocity,
    truth: &Truth,
    times: &Times,
) -> (f64, f64) {
    let (x0, x1) = pairs(truth, times.s.host().len());
    let interpolant = truth.path.interpolant();
    let batch =
        Batch { x0: &x0, x1: &x1, condition: Condition::default(), interpolant: &interpolant, unit: 1.0 };
    let losses =
        objective.loss(&Pass::new(FlowMap::new(model), FlowMap::new(teacher), &batch, times)).unwrap();
    let gradients = losses.mean().unwrap().backward().unwrap();
    let largest = |var| gradients.get(var).map_or(0.0, max_abs);
    (max_abs(losses.tensor()), params.vars().values().map(|v| largest(v.as_tensor())).fold(0.0, f64::max))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn self_distillation_and_its_gradient_vanish_at_the_truth(truth in truths(), times in ordered_times()) {
        let (model, params) = truth.trainable();
        for objective in &SELF_DISTILLATION {
            let (loss, gradient) =
                loss_and_gradient(objective, (&model, &params), &truth.frozen(), &truth, &triples(&times));
            prop_assert!(loss < ZERO_LOSS, "{objective:?}: loss {loss:e}");
            prop_assert!(gradient < ZERO_GRADIENT, "{objective:?}: gradient {gradient:e}");
        }
    }

    #[test]
    fn jumps_and_velocities_are_those_of_the_exact_flow(truth in truths(), times in ordered_times()) {
        let net = truth.frozen();
        let (x0, _) = pairs(&truth, times.len());
        let (s, t): (Vec<f64>, Vec<f64>) = times.iter().map(|&[s, _, t]| (s, t)).unzip();
        let jump = FlowMap::new(&net).jump(&column(&s), &column(&t), &x0).unwrap().to_vec2::<f64>().unwrap();
        let velocity = FlowMap::new(&net).velocity(&column(&t), &x0).unwrap().to_vec2::<f64>().unwrap();
        let covariance = Covariance::Diagonal(truth.sd.clone());
        let flow =
            GaussianFlow::new(truth.path.interpolant(), truth.sigma0, truth.mean.clone(), &covariance).unwrap();
        for (row, x) in x0.to_vec2::<f64>().unwrap().iter().enumerate() {
            let x_st = flow.flow_map(s[row], t[row], x).unwrap();
            let b_t = flow.velocity(t[row], x).unwrap();
            for i in 0..2 {
                prop_assert!((jump[row][i] - x_st[i]).abs() < CLOSED_FORM);
                prop_assert!((velocity[row][i] - b_t[i]).abs() < CLOSED_FORM);
            }
        }
    }
}

#[test]
fn maps_that_disagree_with_one_another_cost_every_objective() {
    for path in Path::ALL {
        let broken = Truth { defect: 0.1, ..example(path) };
        let (model, params) = broken.trainable();
        for objective in &SELF_DISTILLATION {
            let (loss, gradient) =
                loss_and_gradient(objective, (&model, &params), &broken.frozen(), &broken, &inner_times(32));
            assert!(loss > 1e-4, "{path:?}, {objective:?}: loss {loss:e}");
            assert!(gradient > 1e-4, "{path:?}, {objective:?}: gradient {gradient:e}");
        }
    }
}

/// The flow of another Gaussian is a flow: only a teacher, or flow matching, knows that it is the wrong one.
#[test]
fn wrong_flow_costs_exactly_the_objectives_with_a_teacher() {
    for path in Path::ALL {
        let truth = example(path);
        for wrong in
            [Truth { mean: vec![1.6, -0.5], ..truth.clone() }, Truth { sd: vec![0.5, 1.2], ..truth.clone() }]
        {
            let (model, params) = wrong.trainable();
            for objective in &SELF_DISTILLATION {
                let (loss, gradient) = loss_and_gradient(
                    objective,
                    (&model, &params),
                    &truth.frozen(),
                    &truth,
                    &inner_times(32),
                );
                if has_teacher(objective) {
                    assert!(loss > 1e-4 && gradient > 1e-4, "{objective:?}: {loss:e}, {gradient:e}");
                } else {
                    assert!(loss < ZERO_LOSS && gradient < ZERO_GRADIENT, "{objective:?}: {loss:e}");
                }
            }
        }
    }
}

const N_SAMPLES: usize = 20_000;

#[test]
fn flow_matching_at_the_truth_is_the_conditional_variance_and_its_mean_gradient_vanishes() {
    for path in Path::ALL {
        let truth = example(path);
        let interpolant = path.interpolant();
        let stream = NoiseStream::new(SEED, Stream::Times);
        let t: Vec<f64> = (0..N_SAMPLES as u64).map(|i| stream.at(i).uniform()).collect();
        let time = || TimeColumn::new(t.clone(), DType::F64, &Device::Cpu).unwrap();
        let times = Times::of(time(), time(), time());
        let (x0, x1) = pairs(&truth, N_SAMPLES);
        let batch =
            Batch { x0: &x0, x1: &x1, condition: Condition::default(), interpolant: &interpolant, unit: 1.0 };
        let (model, params) = truth.trainable_per_sample(N_SAMPLES);
        let model = FlowMap::new(&model);
        let losses =
            Objective::FlowMatching(FlowMatching {}).loss(&Pass::new(model, model, &batch, &times)).unwrap();

        let losses_1d: Vec<f64> = losses.tensor().to_vec1().unwrap();
        let excess: Vec<f64> = losses_1d
            .iter()
            .zip(&t)
            .map(|(loss, t)| loss - conditional_variance(&truth, *t).iter().sum::<f64>())
            .collect();
        mean_is(0.0, &excess, "excess of flow matching over the conditional variance");
        let mean = losses_1d.iter().sum::<f64>() / N_SAMPLES as f64;
        assert!(mean > 0.5, "{path:?}: flow matching is {mean}, far from zero");

        let gradients = losses.tensor().sum_all().unwrap().backward().unwrap();
        for name in ["mean", "sd"] {
            let gradient = gradients.get(&params.vars()[name]).unwrap().t().unwrap();
            for (i, values) in gradient.to_vec2::<f64>().unwrap().iter().enumerate() {
                assert!(values.iter().any(|g| g.abs() > 0.1), "{name}[{i}]: no sample has a gradient");
                mean_is(0.0, values, &format!("{path:?}: gradient of {name}[{i}]"));
            }
        }
    }
}
