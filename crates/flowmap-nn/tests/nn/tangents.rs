//! The norms of tangents that objectives pass on: which have one, and that it is the derivative it says.

use std::sync::Arc;

use candle_core::Tensor;
use flowmap_nn::method::{
    AlignYourFlow, AlphaFlow, Consistency, Context, Ctm, Emd, EmdStop, Esd, EsdStop, FlowMatching, Fmm,
    FmmLaw, ImprovedMeanFlow, Lmd, LmdStop, Lsd, LsdStop, MapDistillation, MeanFlow, MeanFlowVelocity,
    Method, Objective, OdeSolver, Pass, Pfmm, Psd, PsdForm, PsdStop, Scm, Shortcut, Trajectory, Tvm,
};
use flowmap_nn::{Batch, Condition, FlowMap, PerSample, Teacher, TimeColumn, Times};

use crate::support::gaussian_net::Truth;
use crate::support::path::Path;
use crate::support::truths::*;

/// The error of a central difference of step 1e-4, h² |f'''|/6, with room to spare.
const DIFFERENCE: f64 = 1e-5;
const H: f64 = 1e-4;

/// A map that is not the truth, so that no tangent vanishes.
fn wrong() -> Truth {
    Truth { mean: vec![1.7, -0.2], defect: 0.3, ..example(Path::Trigonometric) }
}

fn losses(objective: Objective, times: &Times) -> PerSample {
    let (truth, net) = (example(Path::Trigonometric), wrong().frozen());
    let (x0, x1) = pairs(&truth, times.s.host().len());
    let interpolant = truth.path.interpolant();
    let batch =
        Batch { x0: &x0, x1: &x1, condition: Condition::default(), interpolant: &interpolant, unit: 1.0 };
    let teacher = Teacher::Map(Arc::new(truth.frozen()));
    let context = Context { teacher: Some(&teacher), step: 1_000_000, ..Context::default() };
    objective.loss(&Pass::new(FlowMap::new(&net), FlowMap::new(&net), &batch, times).within(context)).unwrap()
}

fn norms(objective: Objective, times: &Times) -> Option<Vec<f64>> {
    losses(objective, times).tangent_norms().unwrap().map(|norms| norms.to_vec1().unwrap())
}

#[test]
fn objectives_that_take_a_derivative_pass_it_on() {
    let times = inner_times(20);
    let n_steps = 2;
    for (objective, has_tangent) in [
        (Objective::FlowMatching(FlowMatching {}), false),
        (Objective::Lsd(Lsd { stop: LsdStop::Target }), true),
        (Objective::Esd(Esd { stop: EsdStop::Advection }), true),
        (Objective::Psd(Psd { form: PsdForm::Velocity, stop: PsdStop::Target }), false),
        (Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Data, beta: 1.0 }), true),
        (Objective::ImprovedMeanFlow(ImprovedMeanFlow {}), true),
        (Objective::Shortcut(Shortcut { n_steps: 8, ..Shortcut::PAPER }), false),
        // At this step α is 0.
        (Objective::AlphaFlow(AlphaFlow::default()), true),
        (Objective::AlphaFlow(AlphaFlow { begin: 2_000_000, end: 3_000_000, ..AlphaFlow::default() }), false),
        (Objective::Tvm(Tvm {}), true),
        (Objective::Consistency(Consistency { trajectory: Trajectory::Data, n_steps: 8 }), false),
        (Objective::Scm(Scm::default()), true),
        (Objective::Ctm(Ctm { trajectory: Trajectory::Data }), false),
        (Objective::Fmm(Fmm { law: FmmLaw::Lagrangian, inversion: 1.0 }), true),
        (Objective::Fmm(Fmm { law: FmmLaw::Eulerian, inversion: 1.0 }), true),
        (Objective::Lmd(Lmd { stop: LmdStop::None }), true),
        (Objective::Emd(Emd { stop: EmdStop::None }), true),
        (Objective::AlignYourFlow(AlignYourFlow::default()), true),
        (Objective::Pfmm(Pfmm { n_steps }), false),
        (Objective::MapDistillation(MapDistillation { solver: OdeSolver::Heun, n_steps }), false),
    ] {
        let norms = norms(objective.clone(), &times);
        assert_eq!(norms.is_some(), has_tangent, "{objective:?}");
        assert!(norms.is_none_or(|n| n.len() == 20 && n.iter().all(|x| *x > 0.0)), "{objective:?}");
    }
}

#[test]
fn tangent_of_lsd_and_lmd_is_the_derivative_of_the_map_in_its_end() {
    let times = inner_times(30);
    let (truth, net) = (example(Path::Trigonometric), wrong().frozen());
    let (x0, x1) = pairs(&truth, 30);
    let interpolant = truth.path.interpolant();
    let batch =
        Batch { x0: &x0, x1: &x1, condition: Condition::default(), interpolant: &interpolant, unit: 1.0 };
    let x = batch.i(&times.s).unwrap();
    let at = |shift: f64| -> Tensor {
        let host = times.t.host().iter().map(|t| t + shift).collect();
        let t = TimeColumn::new(host, x.dtype(), x.device()).unwrap();
        FlowMap::new(&net).jump(times.s.tensor(), t.tensor(), &x).unwrap()
    };
    let slope = ((at(H) - at(-H)).unwrap() / (2.0 * H)).unwrap();
    let expected: Vec<f64> = slope.sqr().unwrap().sum(1).unwrap().sqrt().unwrap().to_vec1().unwrap();
    for objective in
        [Objective::Lsd(Lsd { stop: LsdStop::None }), Objective::Lmd(Lmd { stop: LmdStop::Teacher })]
    {
        for (found, expected) in norms(objective.clone(), &times).unwrap().into_iter().zip(&expected) {
            assert!((found - expected).abs() < DIFFERENCE, "{objective:?}: {found}, expected {expected}");
        }
    }
}

#[test]
fn tangent_of_esd_is_its_residual() {
    let times = inner_times(10);
    let losses = losses(Objective::Esd(Esd { stop: EsdStop::Velocity }), &times);
    let norms: Vec<f64> = losses.tangent_norms().unwrap().unwrap().to_vec1().unwrap();
    for (loss, norm) in losses.tensor().to_vec1::<f64>().unwrap().into_iter().zip(norms) {
        assert!((loss - norm * norm).abs() < 1e-12 * (1.0 + loss));
    }
}
