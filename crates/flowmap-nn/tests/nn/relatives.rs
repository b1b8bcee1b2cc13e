//! Methods that are another one with other choices, or the same derivative by other means.

use candle_core::Tensor;
use flowmap_core::{InterpolantKind, MiddleTime, TimeDistribution};
use flowmap_nn::loss::{Combination, Term};
use flowmap_nn::method::{
    Emd, Esd, EsdStop, Fmm, ImprovedMeanFlow, Lmd, LmdStop, Lsd, LsdStop, MeanFlow, Method, Objective, Psd,
    SoFlow, SplitMeanFlow, Tvm,
};
use flowmap_nn::{Derivative, FlowMap, StepKey};

use crate::support::setting::*;

/// ε² of central differences, and what the third derivative of the network multiplies it by.
const CENTRAL: f64 = 2e-3;
const SEED: u64 = 3;

fn setting() -> Setting {
    Setting::new(InterpolantKind::Linear, &TimeDistribution::Uniform {})
}

fn relative(found: &Tensor, expected: &Tensor) -> f64 {
    max_abs(&(found - expected).unwrap()) / max_abs(expected)
}

/// The largest difference of two gradients of a parameter, relative to the largest component.
fn gradients_differ(setting: &Setting, found: &Tensor, expected: &Tensor) -> f64 {
    let gradients = |losses: &Tensor| losses.sum_all().unwrap().backward().unwrap();
    let (found, expected) = (gradients(found), gradients(expected));
    let differ = |var: &Tensor| relative(found.get(var).unwrap(), expected.get(var).unwrap());
    setting.params.vars().values().map(|var| differ(var)).fold(0.0, f64::max)
}

/// The loss is computed in velocities; the paper has it in maps, over both widths.
#[test]
fn soflow_compares_maps_over_the_widths_of_step_and_jump() {
    let r = 0.07;
    let setting = setting();
    let soflow = setting.losses(SoFlow { first: r, last: r, end: 1 });
    let by_hand = {
        let (s, t) = (setting.times.s.tensor(), setting.times.t.tensor());
        let width = (t - s).unwrap();
        let u = (s + (&width * r).unwrap()).unwrap();
        let (i_s, di_s) = (setting.batch().i(&setting.times.s), setting.batch().di(&setting.times.s));
        let (i_s, di_s) = (i_s.unwrap(), di_s.unwrap());
        let step = di_s.broadcast_mul(&(&u - s).unwrap().unsqueeze(1).unwrap()).unwrap();
        let x_ut = FlowMap::new(&setting.frozen).jump(&u, t, &(&i_s + step).unwrap()).unwrap();
        let residual = (FlowMap::new(&setting.model).jump(s, t, &i_s).unwrap() - x_ut.detach()).unwrap();
        let weight = ((&u - s).unwrap() * &width).unwrap();
        (residual.sqr().unwrap().sum(1).unwrap() / weight).unwrap()
    };
    assert!(relative(&soflow, &by_hand) < ROUNDING, "{:e}", relative(&soflow, &by_hand));
    assert!(gradients_differ(&setting, &soflow, &by_hand) < ROUNDING);
}

#[test]
fn split_mean_flow_is_progressive_self_distillation() {
    let setting = setting();
    setting.assert_same(&setting.losses(SplitMeanFlow {}), &setting.losses(Psd::default()), "SplitMeanFlow");
    assert_eq!(SplitMeanFlow {}.middle(), MiddleTime::Uniform);
}

#[test]
fn minimal_stop_of_lsd_is_distillation_from_the_frozen_model() {
    let setting = setting();
    let lmd = setting.losses_with(Lmd { stop: LmdStop::None }, &setting.itself(), 0);
    setting.assert_same(&setting.losses(Lsd { stop: LsdStop::Parameters }), &lmd, "LSD, LMD");
    // The argument carries a gradient that the whole stop cuts.
    let [minimal, whole] = [LsdStop::Parameters, LsdStop::Target].map(|stop| setting.losses(Lsd { stop }));
    assert!(relative(&minimal, &whole) < ROUNDING);
    assert!(gradients_differ(&setting, &minimal, &whole) > 1e-3);
}

#[test]
fn mean_flow_along_the_model_alone_has_the_gradient_of_improved_mean_flow() {
    let setting = setting();
    let along_the_model = setting.losses(MeanFlow { beta: 0.0, ..MeanFlow::default() });
    setting.assert_same(&along_the_model, &setting.losses(ImprovedMeanFlow {}), "Mean Flow, β = 0");
}

/// A combination of one term whose derivatives are taken so.
fn taken(derivative: Derivative, objective: &Objective, setting: &Setting) -> Tensor {
    let term = Term { derivative, ..Term::new(objective.clone(), 1.0) };
    let teacher = setting.itself();
    let combination = Combination::new(vec![term]).unwrap().with_teacher(teacher);
    let key = StepKey { seed: SEED, ..StepKey::default() };
    combination.loss(&setting.model, &setting.frozen, &setting.batch(), key).unwrap().total
}

#[test]
fn central_differences_give_the_losses_and_gradients_of_duals() {
    let setting = setting();
    for objective in [
        Objective::Lsd(Lsd::default()),
        Objective::Lsd(Lsd { stop: LsdStop::Parameters }),
        Objective::Esd(Esd { stop: EsdStop::Velocity }),
        Objective::Esd(Esd { stop: EsdStop::None }),
        Objective::MeanFlow(MeanFlow::default()),
        Objective::ImprovedMeanFlow(ImprovedMeanFlow {}),
        Objective::Tvm(Tvm {}),
        Objective::Fmm(Fmm::default()),
        Objective::Lmd(Lmd::default()),
        Objective::Emd(Emd::default()),
    ] {
        let [dual, central] =
            [Derivative::Dual, Derivative::Central].map(|how| taken(how, &objective, &setting));
        let error = relative(&central, &dual);
        assert!(error < CENTRAL, "{objective:?}: {error:e}");
        let error = gradients_differ(&setting, &central, &dual);
        assert!(error < 10.0 * CENTRAL, "{objective:?}: gradients differ by {error:e}");
        assert!(error > 0.0, "{objective:?} takes no derivative");
    }
}
