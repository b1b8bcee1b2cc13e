//! Methods that are one another in disguise, to rounding: their losses, their gradients, or both.

use candle_core::{DType, Device, Tensor};
use flowmap_core::{InterpolantKind, TimeDistribution};
use flowmap_dual::Dual;
use flowmap_nn::loss::Norm;
use flowmap_nn::method::*;
use flowmap_nn::method::{
    Consistency, Context, Ctm, Emd, Esd, FlowMatching, Lmd, Lsd, MeanFlow, Method, Pass, Pfmm, Psd, Tvm,
};
use flowmap_nn::{Condition, FlowMap, Times};

use crate::support::setting::*;

const MEAN_FLOW: Objective = Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Data, beta: 1.0 });

#[test]
fn shortcut_is_progressive_self_distillation_at_the_midpoint_of_the_dyadic_grid() {
    for interpolant in [InterpolantKind::Linear, InterpolantKind::Trigonometric] {
        // Widths down to 1/8 on a grid whose smallest is 1/16: all have half steps of their own.
        let setting = Setting::new(interpolant, &TimeDistribution::dyadic(8));
        let shortcut = setting.losses(Objective::Shortcut(Shortcut { n_steps: 16, ..Shortcut::PAPER }));
        let psd = setting.losses(Objective::Psd(Psd { form: PsdForm::Velocity, stop: PsdStop::Target }));
        setting.assert_same(&shortcut, &psd, "shortcut, PSD-M");
    }
}

#[test]
fn gradient_of_mean_flow_is_that_of_the_eulerian_law_with_the_pairs_own_velocity() {
    for setting in Setting::both() {
        let di_s = setting.batch().di(&setting.times.s).unwrap();
        let semigradient = setting.semigradient(&di_s, None);
        setting.assert_same_gradients(&setting.losses(MEAN_FLOW), &semigradient, "Mean Flow");
        // With b_s = v_{s,s} in its place the same form is self-distillation.
        let i_s = setting.batch().i(&setting.times.s).unwrap();
        let b_s = FlowMap::new(&setting.frozen).velocity(setting.times.s.tensor(), &i_s).unwrap();
        let own =
            setting.losses(Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Model, beta: 1.0 }));
        setting.assert_same_gradients(
            &own,
            &setting.semigradient(&b_s, None),
            "Mean Flow of its own velocity",
        );
    }
}

/// ... and its value is that of ESD, whose residual is the same: v − target = −(∂_s X + ∇X b_s).
#[test]
fn value_of_mean_flow_with_its_own_velocity_is_that_of_eulerian_self_distillation() {
    for setting in Setting::both() {
        let own =
            setting.losses(Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Model, beta: 1.0 }));
        let esd = setting.losses(Objective::Esd(Esd { stop: EsdStop::Advection }));
        let error = max_abs(&(own - &esd).unwrap()) / max_abs(&esd);
        assert!(error < ROUNDING, "off by {error:e}");
    }
}

#[test]
fn bare_align_your_flow_is_eulerian_distillation_with_all_but_the_map_stopped() {
    for setting in Setting::both() {
        let i_s = setting.batch().i(&setting.times.s).unwrap();
        let q_s = setting.known.velocity(setting.times.s.tensor(), &i_s, Condition::default()).unwrap();
        let ayf = setting.losses(Objective::AlignYourFlow(AlignYourFlow::BARE));
        setting.assert_same_gradients(&ayf, &setting.semigradient(&q_s, None), "AYF-EMD");
        let emd = setting.losses(Objective::Emd(Emd { stop: EmdStop::None }));
        let error = max_abs(&(ayf - &emd).unwrap()) / max_abs(&emd);
        assert!(error < ROUNDING, "AYF-EMD and EMD have one residual, off by {error:e}");
    }
}

/// Theorem 3.3, away from the truth: the gradient of sg[ ∂_t X − q_t(X) ] · X, as that of the Eulerian law above.
#[test]
fn bare_lagrangian_align_your_flow_is_lagrangian_distillation_with_all_but_the_map_stopped() {
    let lagrangian = AlignYourFlow { law: AyfLaw::Lagrangian, ..AlignYourFlow::BARE };
    for setting in Setting::both() {
        let (s, t) = (setting.times.s.tensor(), setting.times.t.tensor());
        let i_s = setting.batch().i(&setting.times.s).unwrap();
        let (x_st, dt_x_st) = FlowMap::new(&setting.frozen).jump_dt(s, t, &i_s).unwrap();
        let q_t = setting.known.velocity(t, &x_st, Condition::default()).unwrap();
        let residual = (dt_x_st - q_t).unwrap().detach(); // sg[ ∂_t X − q_t(X) ]
        let x_st = FlowMap::new(&setting.model).jump(s, t, &i_s).unwrap();
        let products = (residual * x_st).unwrap().sum(1).unwrap();
        let weights = ((t - s).unwrap().recip().unwrap() * 2.0).unwrap();
        let ayf = setting.losses(Objective::AlignYourFlow(lagrangian));
        setting.assert_same_gradients(&ayf, &(products * weights).unwrap(), "AYF-LMD");
        let lmd = setting.losses(Objective::Lmd(Lmd { stop: LmdStop::None }));
        let error = max_abs(&(ayf - &lmd).unwrap()) / max_abs(&lmd);
        assert!(error < ROUNDING, "AYF-LMD and LMD have one residual, off by {error:e}");
    }
}

/// With an average behind the stop: the target is v⁻ + g/(|g| + c), all of it of the average, which pulls v back to it.
#[test]
fn stopped_terms_of_align_your_flow_and_scm_are_all_of_the_average() {
    let c = 0.1;
    let normalized = |g: &Tensor| {
        let norm = (g.sqr().unwrap().sum_keepdim(1).unwrap().sqrt().unwrap() + c).unwrap();
        g.broadcast_div(&norm).unwrap()
    };
    for law in [AyfLaw::Eulerian, AyfLaw::Lagrangian] {
        for setting in Setting::both().map(Setting::with_another_average) {
            let (s, t) = (setting.times.s.tensor(), setting.times.t.tensor());
            let i_s = setting.batch().i(&setting.times.s).unwrap();
            let average = FlowMap::new(&setting.frozen);
            let v_minus = average.average_velocity(s, t, &i_s).unwrap();
            // g = −(∂_s X + ∇X q) or q(X) − ∂_t X, up to the factor of v in X.
            let q = |t: &Tensor, x: &Tensor| setting.known.velocity(t, x, Condition::default()).unwrap();
            let g = match law {
                AyfLaw::Eulerian => {
                    let along = Dual::new(i_s.clone(), q(s, &i_s)).unwrap();
                    let x_st =
                        average.jump_dual(&Dual::variable(s.clone()).unwrap(), &t.into(), &along).unwrap();
                    x_st.tangent_or_zeros().unwrap()
                }
                AyfLaw::Lagrangian => {
                    let (x_st, dt_x_st) = average.jump_dt(s, t, &i_s).unwrap();
                    (q(t, &x_st) - dt_x_st).unwrap()
                }
            };
            let v_st = FlowMap::new(&setting.model).average_velocity(s, t, &i_s).unwrap();
            let target = (v_minus + normalized(&g)).unwrap().detach();
            let expected = (v_st - target).unwrap().sqr().unwrap().sum(1).unwrap();
            let choices = AlignYourFlow { law, norm_offset: c, ..AlignYourFlow::BARE };
            setting.assert_same(&setting.losses(Objective::AlignYourFlow(choices)), &expected, "AYF");
        }
    }
    let times = TimeDistribution::FixedEnd {};
    let setting = Setting::new(InterpolantKind::Trigonometric, &times).with_another_average();
    let (s, t) = (setting.times.s.tensor(), setting.times.t.tensor());
    let i_s = setting.batch().i(&setting.times.s).unwrap();
    let average = FlowMap::new(&setting.frozen);
    let along = Dual::new(i_s.clone(), setting.batch().di(&setting.times.s).unwrap()).unwrap();
    let residual = average.jump_dual(&Dual::variable(s.clone()).unwrap(), &t.into(), &along).unwrap();
    let residual = residual.tangent_or_zeros().unwrap();
    let half_pi = std::f64::consts::FRAC_PI_2;
    let column = |f: &dyn Fn(f64) -> f64| {
        let values: Vec<f64> = setting.times.s.host().iter().map(|s| f(half_pi * (1.0 - s))).collect();
        Tensor::from_vec(values, (N, 1), &Device::Cpu).unwrap()
    };
    let g = residual.broadcast_mul(&column(&|tau| -tau.cos() / half_pi)).unwrap(); // −(2/π) cos τ R
    let v = |net: FlowMap<'_>| net.average_velocity(s, t, &i_s).unwrap();
    // F − F⁻ = −c_v (v − v⁻), c_v = (1 − s)/sin τ.
    let change = (v(FlowMap::new(&setting.model)) - v(average).detach()).unwrap();
    let change = change.broadcast_mul(&column(&|tau| -tau / half_pi / tau.sin())).unwrap();
    let expected = (change - normalized(&g).detach()).unwrap().sqr().unwrap().mean(1).unwrap();
    let choices = Scm { warmup: 0, norm_offset: c, ..Scm::default() };
    setting.assert_same(&setting.losses(Objective::Scm(choices)), &expected, "sCM");
}

#[test]
fn tangent_of_align_your_flow_warms_up_and_is_normalized() {
    for setting in Setting::both() {
        let ayf =
            |choices, step| setting.losses_with(Objective::AlignYourFlow(choices), &setting.known, step);
        let warming = AlignYourFlow { warmup: 100, ..AlignYourFlow::BARE };
        // r = 0 leaves q_s − v_{s,t}; in between r is the share of the steps.
        let half = AlignYourFlow { r: 0.5, ..AlignYourFlow::BARE };
        setting.assert_same(&ayf(warming, 50), &ayf(half, 0), "half warm");
        setting.assert_same(&ayf(warming, 100), &ayf(AlignYourFlow::BARE, 0), "warm");
        setting.assert_same(&ayf(warming, 1000), &ayf(AlignYourFlow::BARE, 0), "warm");
        let normal = ayf(AlignYourFlow { norm_offset: 0.1, ..AlignYourFlow::BARE }, 0);
        let bare = ayf(AlignYourFlow::BARE, 0).to_vec1::<f64>().unwrap();
        for (normal, bare) in normal.to_vec1::<f64>().unwrap().into_iter().zip(bare) {
            let expected = (bare.sqrt() / (bare.sqrt() + 0.1)).powi(2); // (|g|/(|g| + c))²
            assert!((normal - expected).abs() < ROUNDING, "{normal}, expected {expected}");
        }
    }
}

/// sCM = the Eulerian law at t = 1 on the trigonometric interpolant, each sample weighed by its angle.
#[test]
fn bare_scm_is_the_eulerian_law_at_the_end_of_the_trigonometric_interpolant() {
    let setting = Setting::new(InterpolantKind::Trigonometric, &TimeDistribution::FixedEnd {});
    let i_s = setting.batch().i(&setting.times.s).unwrap();
    let velocities = [
        (ScmVelocity::Data, setting.batch().di(&setting.times.s).unwrap()),
        (
            ScmVelocity::Teacher,
            setting.known.velocity(setting.times.s.tensor(), &i_s, Condition::default()).unwrap(),
        ),
    ];
    // (2/D) g·∂F with F = −c_v v − c_x x, g = −(2/π) cos τ R, and X = x + (1 − s) v.
    let weight = |s: &f64| {
        let half_pi = std::f64::consts::FRAC_PI_2;
        let tau = half_pi * (1.0 - s);
        let c_v = (1.0 - s) / tau.sin();
        -2.0 * c_v * tau.cos() / half_pi / 2.0 / (1.0 - s)
    };
    let weights: Vec<f64> = setting.times.s.host().iter().map(weight).collect();
    let weights = Tensor::from_vec(weights, N, &Device::Cpu).unwrap();
    for (velocity, tangent) in velocities {
        let scm = setting.losses(Objective::Scm(Scm { velocity, warmup: 0, norm_offset: 0.0 }));
        let semigradient = setting.semigradient(&tangent, Some(weights.clone()));
        setting.assert_same_gradients(&scm, &semigradient, &format!("sCM, {velocity:?}"));
    }
    // The same on Mean Flow's side: their gradients differ by a factor of the time alone.
    let scm = setting.losses(Objective::Scm(Scm { warmup: 0, norm_offset: 0.0, ..Scm::default() }));
    let width = (setting.times.t.tensor() - setting.times.s.tensor()).unwrap();
    let factor = ((weights * width).unwrap() * -0.5).unwrap();
    let mean_flow = (setting.losses(MEAN_FLOW) * factor).unwrap();
    setting.assert_same_gradients(&scm, &mean_flow, "sCM, Mean Flow");
}

#[test]
fn distillation_from_oneself_is_self_distillation() {
    for setting in Setting::both() {
        let itself = setting.itself();
        let pairs = [
            (Objective::Lmd(Lmd { stop: LmdStop::Teacher }), Objective::Lsd(Lsd { stop: LsdStop::Target })),
            (
                Objective::Emd(Emd { stop: EmdStop::Advection }),
                Objective::Esd(Esd { stop: EsdStop::Advection }),
            ),
            (Objective::Emd(Emd { stop: EmdStop::None }), Objective::Esd(Esd { stop: EsdStop::Velocity })),
            (
                Objective::Pfmm(Pfmm { n_steps: 2 }),
                Objective::Psd(Psd { form: PsdForm::Map, stop: PsdStop::Target }),
            ),
            (
                Objective::AlignYourFlow(AlignYourFlow::BARE),
                Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Model, beta: 1.0 }),
            ),
        ];
        for (distillation, own) in pairs {
            let found = setting.losses_with(distillation.clone(), &itself, 0);
            setting.assert_same(&found, &setting.losses(own.clone()), &format!("{distillation:?}, {own:?}"));
        }
    }
}

#[test]
fn terminal_velocity_matching_is_lagrangian_self_distillation_and_flow_matching() {
    for setting in Setting::both() {
        let lsd = setting.losses(Objective::Lsd(Lsd { stop: LsdStop::Target }));
        let sum = (lsd + setting.losses(Objective::FlowMatching(FlowMatching {}))).unwrap();
        setting.assert_same(&setting.losses(Objective::Tvm(Tvm {})), &sum, "TVM");
    }
}

#[test]
fn alpha_flow_ends_as_mean_flow_and_tends_to_it() {
    for setting in Setting::both() {
        let choices = AlphaFlow { begin: 10, end: 20, ..AlphaFlow::default() };
        let of = |choices, step| setting.losses_with(Objective::AlphaFlow(choices), &setting.known, step);
        setting.assert_same(&of(choices, 20), &setting.losses(MEAN_FLOW), "the end");
        // A small α differs from the limit by terms of its own order.
        let small = AlphaFlow { clamp: 1e-9, gamma: 1.0, begin: 0, end: 1 };
        let gradient = |losses: Tensor| {
            let gradients = losses.sum_all().unwrap().backward().unwrap();
            gradients.get(&setting.params.vars()["layers.0.weight"]).unwrap().clone()
        };
        let limit = gradient(setting.losses(MEAN_FLOW));
        let error = |step| max_abs(&(gradient(of(small, step)) - &limit).unwrap()) / max_abs(&limit);
        // α = e^{½ − k}, nearly.
        let (coarse, fine) = (error(6), error(9));
        assert!(fine < 1e-2 && fine < 0.2 * coarse, "{coarse:e}, {fine:e}");
    }
}

/// Under every norm: at a small α the gradient is that of Mean Flow under the same norm, so that nothing jumps there.
#[test]
fn alpha_flow_under_a_norm_tends_to_mean_flow_under_it() {
    let norms = [
        Norm::Adaptive { p: 1.0, eps: 1e-2 },
        Norm::Adaptive { p: 0.75, eps: 1e-3 },
        Norm::Cauchy { c: 0.3 },
        Norm::PseudoHuber { c: 0.1 },
    ];
    // The last step before α counts as 0, with the clamp of the paper.
    let choices = AlphaFlow { begin: 0, end: 100_000, ..AlphaFlow::default() };
    let last = (0..100_000).rev().find(|step| choices.alpha(*step) > 0.0).unwrap();
    for setting in Setting::both() {
        for norm in norms {
            let gradient = |step| {
                let context = Context { step, ..Context::default() };
                let (model, frozen) = (FlowMap::new(&setting.model), FlowMap::new(&setting.frozen));
                let objective = Objective::AlphaFlow(choices);
                let (batch, times) = (setting.batch(), &setting.times);
                let losses =
                    objective.loss(&Pass::new(model, frozen, &batch, times).within(context)).unwrap();
                let losses = norm.apply(losses).unwrap();
                let gradients = losses.tensor().sum_all().unwrap().backward().unwrap();
                gradients.get(&setting.params.vars()["layers.0.weight"]).unwrap().clone()
            };
            let (before, after) = (gradient(last), gradient(last + 1));
            let jump = max_abs(&(before - &after).unwrap()) / max_abs(&after);
            // Terms of the order of α = 0.005 are left.
            assert!(jump < 0.05, "{norm:?}: the gradient changes by {jump}");
        }
    }
}

/// α = 1 regresses every v_{s,t} on İ_s: flow matching at s, whatever t is.
#[test]
fn alpha_flow_starts_as_flow_matching_at_the_start_of_every_jump() {
    for setting in Setting::both() {
        let found = setting.losses(Objective::AlphaFlow(AlphaFlow::default()));
        let i_s = setting.batch().i(&setting.times.s).unwrap();
        let di_s = setting.batch().di(&setting.times.s).unwrap();
        let (s, t) = (setting.times.s.tensor(), setting.times.t.tensor());
        let v_st = FlowMap::new(&setting.model).average_velocity(s, t, &i_s).unwrap();
        let expected = (v_st - di_s).unwrap().sqr().unwrap().sum(1).unwrap();
        setting.assert_same(&found, &expected, "α-Flow at α = 1");
    }
}

#[test]
fn trajectory_consistency_to_the_data_is_consistency() {
    for interpolant in [InterpolantKind::Linear, InterpolantKind::Trigonometric] {
        let setting = Setting::new(interpolant, &TimeDistribution::FixedEnd {});
        for trajectory in [Trajectory::Data, Trajectory::Euler, Trajectory::Heun] {
            let ctm = setting.losses(Objective::Ctm(Ctm { trajectory }));
            let consistency = setting.losses(Objective::Consistency(Consistency { trajectory, n_steps: 64 }));
            setting.assert_same(&ctm, &consistency, &format!("CTM, {trajectory:?}"));
        }
    }
}

/// Consistency training over ever shorter times has the gradient of Mean Flow, weighed by (1 − s)/n.
#[test]
fn consistency_training_tends_to_mean_flow_at_the_end() {
    const N_STEPS: f64 = 1e5;
    let mut setting = Setting::new(InterpolantKind::Linear, &TimeDistribution::FixedEnd {});
    let near = |s: &f64| flowmap_core::Times::forward(*s, (s + 1.0 / N_STEPS).min(1.0), 1.0).unwrap();
    let triples: Vec<_> = setting.times.s.host().iter().map(near).collect();
    setting.times = Times::new(&triples, DType::F64, &Device::Cpu).unwrap();
    let gradient = |losses: Tensor| {
        let gradients = losses.sum_all().unwrap().backward().unwrap();
        gradients.get(&setting.params.vars()["layers.0.weight"]).unwrap().clone()
    };
    let consistency = Objective::Consistency(Consistency { trajectory: Trajectory::Data, n_steps: 1 });
    let found = gradient((setting.losses(consistency) * N_STEPS).unwrap());
    let width = (setting.times.t.tensor() - setting.times.s.tensor()).unwrap();
    let expected = gradient((setting.losses(MEAN_FLOW) * width).unwrap());
    let error = max_abs(&(found - &expected).unwrap()) / max_abs(&expected);
    assert!(error < 1e-3, "off by {error:e}");
}
