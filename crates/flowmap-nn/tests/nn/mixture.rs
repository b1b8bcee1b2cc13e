//! The exact flow map of a mixture of Gaussians: what the objectives say at the truth, and away from it.
//!
//! Its maps are nonlinear, which those of a single Gaussian are not.
//! At the truth every residual is zero for every sample, and so is its gradient.

use std::sync::Arc;

use candle_core::Var;
use flowmap_core::exact::ExactFlow;
use flowmap_nn::method::*;
use flowmap_nn::method::{Consistency, Ctm, Emd, Esd, Fmm, Lmd, Lsd, MapDistillation, MeanFlow, Pfmm, Psd};
use flowmap_nn::{ExactField, FlowMap, Params, PerSample, Teacher, Times};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::support::measure::*;
use crate::support::mixture_net::{Mixture, applies, losses};
use crate::support::path::Path;

/// Steps of the extrapolated integrator where residuals are to be zero.
const N_STEPS: u32 = 10;
/// Twice the steps move no average velocity by more than this; the worst of 40 random mixtures had 2e-11.
const INTEGRATED: f64 = 1e-10;
/// The integrator of flowmap-core has 1e-10 a step.
const INTEGRATED_IN_CORE: f64 = 1e-8;
/// The square of what derivatives of the integrator's error add up to in a residual: of 40 random mixtures most had
/// 1e-20, the worst, Mean Flow at a start where the curve bends, 9e-16.
const ZERO_LOSS: f64 = 1e-14;
/// A gradient is residual times derivative, so first order in that error; the worst had 4e-9.
const ZERO_GRADIENT: f64 = 1e-7;
const BARE_SCD: Scm = Scm { velocity: ScmVelocity::Teacher, warmup: 0, norm_offset: 0.0 };

/// Everything whose residual is zero at the truth.
const RESIDUALS: [Objective; 24] = [
    Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Model, beta: 1.0 }),
    Objective::Shortcut(Shortcut { n_steps: 1 << 31, ..Shortcut::PAPER }),
    Objective::Lsd(Lsd { stop: LsdStop::Target }),
    Objective::Lsd(Lsd { stop: LsdStop::None }),
    Objective::Esd(Esd { stop: EsdStop::Advection }),
    Objective::Esd(Esd { stop: EsdStop::Velocity }),
    Objective::Esd(Esd { stop: EsdStop::None }),
    Objective::Psd(Psd { form: PsdForm::Velocity, stop: PsdStop::Target }),
    Objective::Psd(Psd { form: PsdForm::Velocity, stop: PsdStop::None }),
    Objective::Psd(Psd { form: PsdForm::Map, stop: PsdStop::Target }),
    Objective::Psd(Psd { form: PsdForm::Map, stop: PsdStop::None }),
    Objective::Lmd(Lmd { stop: LmdStop::None }),
    Objective::Lmd(Lmd { stop: LmdStop::Teacher }),
    Objective::Emd(Emd { stop: EmdStop::None }),
    Objective::Emd(Emd { stop: EmdStop::Advection }),
    Objective::AlignYourFlow(AlignYourFlow::BARE),
    Objective::AlignYourFlow(AlignYourFlow { norm_offset: 0.1, ..AlignYourFlow::BARE }),
    Objective::AlignYourFlow(AlignYourFlow { law: AyfLaw::Lagrangian, ..AlignYourFlow::BARE }),
    Objective::Pfmm(Pfmm { n_steps: 2 }),
    Objective::Pfmm(Pfmm { n_steps: 3 }),
    Objective::Scm(BARE_SCD),
    Objective::Consistency(Consistency { trajectory: Trajectory::Rk4, n_steps: 1 }),
    Objective::Ctm(Ctm { trajectory: Trajectory::Rk4 }),
    Objective::MapDistillation(MapDistillation { solver: OdeSolver::Rk4, n_steps: 256 }),
];

/// The truth as the flow to distill from: its field from flowmap-core, its map if asked for.
fn known(mixture: &Mixture, objective: &Objective) -> Teacher {
    match objective {
        Objective::Pfmm(_) => Teacher::Map(Arc::new(mixture.frozen(0.0, N_STEPS))),
        _ => Teacher::Field(Arc::new(ExactField::new(mixture.flow()))),
    }
}

/// With the step of one solver step so short that the solver's trajectory is the exact one, to rounding.
fn times_for(objective: &Objective, times: &[[f64; 3]]) -> Times {
    const SHORT: f64 = 1e-3;
    let one_step = matches!(objective, Objective::Consistency(_) | Objective::Ctm(_));
    let near = |&[s, u, t]: &[f64; 3]| [s, if one_step { s + SHORT * (u - s) } else { u }, t];
    triples(&times.iter().map(near).collect::<Vec<_>>())
}

/// The largest loss of a sample and the largest component of the gradient in θ.
fn largest(losses: &PerSample, params: &Params) -> (f64, f64) {
    let gradients = losses.mean().unwrap().backward().unwrap();
    let gradient = |var: &Var| gradients.get(var).map_or(0.0, max_abs);
    (max_abs(losses.tensor()), params.vars().values().map(gradient).fold(0.0, f64::max))
}

/// The same cases in every run; `PROPTEST_CASES` asks for more of them.
fn config() -> ProptestConfig {
    let cases =
        if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 3 };
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(20),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// One to three components, none so narrow or so far that the integrator would need more steps.
fn mixtures() -> impl Strategy<Value = Mixture> {
    let component = (0.2..1.0f64, prop::array::uniform2(-1.0..1.0f64), prop::array::uniform2(0.6..1.0f64));
    let components = prop::collection::vec(component, 1..4);
    (prop::sample::select(Path::ALL.to_vec()), 0.7..1.2f64, components).prop_map(|(path, sigma0, parts)| {
        let sum: f64 = parts.iter().map(|part| part.0).sum();
        Mixture {
            path,
            sigma0,
            weights: parts.iter().map(|part| part.0 / sum).collect(),
            means: parts.iter().map(|part| part.1).collect(),
            sds: parts.iter().map(|part| part.2).collect(),
        }
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn network_is_the_flow_of_the_mixture(mixture in mixtures(), times in ordered_times()) {
        let (net, finer) = (mixture.frozen(0.0, N_STEPS), mixture.frozen(0.0, 2 * N_STEPS));
        let (x, _) = mixture.pairs(SEED, times.len());
        let flow = mixture.flow();
        // Jumps back in time too.
        for [from, to] in [[0, 2], [2, 0]] {
            let (s, t): (Vec<f64>, Vec<f64>) = times.iter().map(|times| (times[from], times[to])).unzip();
            let v_st = FlowMap::new(&net).average_velocity(&column(&s), &column(&t), &x).unwrap();
            let refined = FlowMap::new(&finer).average_velocity(&column(&s), &column(&t), &x).unwrap();
            let error = max_abs(&(&v_st - refined).unwrap());
            prop_assert!(error < INTEGRATED, "twice the steps move it by {error:e}");
            let x_st = FlowMap::new(&net).jump(&column(&s), &column(&t), &x).unwrap().to_vec2::<f64>().unwrap();
            for (row, point) in x.to_vec2::<f64>().unwrap().iter().enumerate() {
                let exact = flow.flow_map(s[row], t[row], point).unwrap();
                for (found, exact) in x_st[row].iter().zip(exact) {
                    prop_assert!((found - exact).abs() < INTEGRATED_IN_CORE, "{found}, core has {exact}");
                }
            }
        }
    }

    #[test]
    fn residuals_and_their_gradients_vanish_at_the_map_of_a_mixture(
        mixture in mixtures(), times in ordered_times(),
    ) {
        let (model, params) = mixture.trainable(0.0, N_STEPS);
        let frozen = mixture.frozen(0.0, N_STEPS);
        for objective in RESIDUALS.iter().filter(|o| applies(o, mixture.path)) {
            let known = known(&mixture, objective);
            let times = times_for(objective, &times);
            let losses = losses(objective, (&model, &frozen), Some(&known), &mixture, &times);
            let (loss, gradient) = largest(&losses, &params);
            prop_assert!(loss < ZERO_LOSS, "{objective:?}: loss {loss:e}");
            prop_assert!(gradient < ZERO_GRADIENT, "{objective:?}: gradient {gradient:e}");
        }
    }

    #[test]
    fn inversion_term_vanishes_at_the_map_of_a_mixture(mixture in mixtures(), times in ordered_times()) {
        let (model, params) = mixture.trainable(0.0, N_STEPS);
        for law in [FmmLaw::Lagrangian, FmmLaw::Eulerian] {
            let of = |inversion| {
                let objective = Objective::Fmm(Fmm { law, inversion });
                losses(&objective, (&model, &model), None, &mixture, &triples(&times))
            };
            let (whole, law_alone) = (of(1e6), of(0.0));
            let inversion = whole.add(&law_alone.scale(-1.0).unwrap()).unwrap().scale(1e-6).unwrap();
            let (loss, gradient) = largest(&inversion, &params);
            prop_assert!(loss < 1e-18 * (1.0 + max_abs(law_alone.tensor())), "{law:?}: loss {loss:e}");
            prop_assert!(gradient < ZERO_GRADIENT, "{law:?}: gradient {gradient:e}");
        }
    }
}

#[test]
fn perturbed_map_of_a_mixture_costs_every_residual() {
    let times: Vec<[f64; 3]> = vec![[0.1, 0.3, 0.8], [0.3, 0.6, 0.7], [0.0, 0.5, 1.0], [0.5, 0.7, 0.9]];
    for path in Path::ALL {
        let mixture = Mixture::example(path);
        let (model, params) = mixture.trainable(0.1, N_STEPS);
        let frozen = mixture.frozen(0.1, N_STEPS);
        for objective in RESIDUALS.iter().filter(|o| applies(o, path)) {
            let known = known(&mixture, objective);
            let losses = losses(objective, (&model, &frozen), Some(&known), &mixture, &triples(&times));
            let (loss, gradient) = largest(&losses, &params);
            assert!(loss > 1e-4 && gradient > 1e-4, "{path:?}, {objective:?}: {loss:e}, {gradient:e}");
        }
    }
}
