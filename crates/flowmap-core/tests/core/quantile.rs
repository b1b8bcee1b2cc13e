//! The one-dimensional flow by quantiles against closed forms, Monte Carlo and the integrator.

use flowmap_core::exact::{Component, Covariance, ExactFlow, MixtureFlow, Part, QuantileFlow};
use flowmap_core::{Dop853, Error, Interpolant, InterpolantKind, Linear, normal};

use crate::checks::assert_close;
use crate::checks::monte_carlo::velocity_is_the_conditional_mean;

/// What the module states for places where the density is not small.
const MAP_TOLERANCE: f64 = 1e-12;

const UNIFORM: Part = Part::Uniform { low: -1.0, high: 2.0 };

fn uniform_flow(interpolant: InterpolantKind) -> QuantileFlow {
    QuantileFlow::new(interpolant, 0.8, &[(1.0, UNIFORM)]).unwrap()
}

#[test]
fn base_goes_to_a_uniform_target_by_its_distribution_function() {
    for kind in InterpolantKind::ALL {
        let flow = uniform_flow(kind);
        for i in -50..=50 {
            let z = f64::from(i) / 10.0;
            let x1 = flow.flow_map(0.0, 1.0, &[0.8 * z]).unwrap();
            assert_close(&x1, &[-1.0 + 3.0 * normal::cdf(z)], MAP_TOLERANCE);
        }
    }
}

#[test]
fn normal_parts_give_the_map_that_the_integrator_finds() {
    let (parts, components): (Vec<_>, Vec<_>) = [(1.0, -1.0, 0.5), (2.0, 0.8, 0.3)]
        .map(|(weight, mean, std)| {
            let component = Component { weight, mean: vec![mean], covariance: Covariance::Isotropic(std) };
            ((weight, Part::Normal { mean, std }), component)
        })
        .into_iter()
        .unzip();
    for kind in InterpolantKind::ALL {
        let quantile = QuantileFlow::new(kind.clone(), 0.8, &parts).unwrap();
        let mixture = MixtureFlow::new(kind, 0.8, &components).unwrap();
        let mixture = mixture.with_solver(Dop853::new(1e-13, 1e-14).unwrap());
        for x in [-2.5, -1.0, 0.0, 0.3, 2.0] {
            for (s, t) in [(0.0, 1.0), (0.0, 0.4), (0.3, 0.9), (1.0, 0.0)] {
                let (by_quantile, by_steps) = (quantile.flow_map(s, t, &[x]), mixture.flow_map(s, t, &[x]));
                assert_close(&by_steps.unwrap(), &by_quantile.unwrap(), 1e-10); // of the integrator
            }
            for t in [0.0, 0.5, 1.0] {
                let of = |flow: &dyn ExactFlow| {
                    [
                        flow.velocity(t, &[x]).unwrap()[0],
                        flow.score(t, &[x]).unwrap()[0],
                        flow.divergence(t, &[x]).unwrap(),
                        flow.log_density(t, &[x]).unwrap(),
                    ]
                };
                assert_close(&of(&quantile), &of(&mixture), MAP_TOLERANCE);
            }
        }
    }
}

#[test]
fn velocity_is_the_conditional_mean_of_the_interpolant_velocity() {
    for kind in InterpolantKind::ALL {
        for (t, x) in [(0.05, -0.5), (0.3, 0.4), (0.6, 1.4), (0.8, -0.7)] {
            let target = |noise: &mut flowmap_core::Noise| vec![-1.0 + 3.0 * noise.uniform()];
            velocity_is_the_conditional_mean(&uniform_flow(kind.clone()), &kind, 0.8, target, t, &[x]);
        }
    }
}

#[test]
fn quantities_are_continuous_up_to_the_data() {
    for kind in InterpolantKind::ALL {
        let flow = uniform_flow(kind.clone());
        for x in [-0.7, 0.4, 1.6] {
            // At t = 1 the noise has no part in I_t, so b_1(x) = β̇_1 x.
            assert_close(&flow.velocity(1.0, &[x]).unwrap(), &[kind.beta_dot(1.0) * x], MAP_TOLERANCE);
            let before = 1.0 - 1e-9; // the change over it is below 1e-8
            assert_close(&flow.velocity(before, &[x]).unwrap(), &flow.velocity(1.0, &[x]).unwrap(), 1e-8);
            let (left, right) = (flow.divergence(before, &[x]).unwrap(), flow.divergence(1.0, &[x]).unwrap());
            assert_close(&[left], &[right], 1e-8);
            assert_close(&[flow.log_density(1.0, &[x]).unwrap()], &[-(3f64.ln())], MAP_TOLERANCE);
            assert_eq!(flow.score(1.0, &[x]).unwrap(), [0.0]);
        }
    }
}

#[test]
fn both_tails_are_equally_precise() {
    let flow = QuantileFlow::new(Linear, 1.0, &[(1.0, Part::Uniform { low: -1.0, high: 1.0 })]).unwrap();
    for x in [0.5, 2.0, 5.0, 10.0, 15.0] {
        for t in [0.02, 0.3, 0.5] {
            let (left, right) = (flow.velocity(t, &[-x]).unwrap()[0], flow.velocity(t, &[x]).unwrap()[0]);
            assert_close(&[-left], &[right], MAP_TOLERANCE);
            let (left, right) = (flow.score(t, &[-x]).unwrap()[0], flow.score(t, &[x]).unwrap()[0]);
            assert_close(&[-left], &[right], MAP_TOLERANCE);
        }
    }
}

#[test]
fn far_tails_come_back() {
    for kind in InterpolantKind::ALL {
        let flow = uniform_flow(kind);
        for z in [-30.0, -8.0, 8.0, 30.0] {
            let x = 0.8 * z;
            let x_half = flow.flow_map(0.0, 0.5, &[x]).unwrap();
            assert_close(&flow.flow_map(0.5, 0.0, &x_half).unwrap(), &[x], MAP_TOLERANCE);
        }
    }
}

#[test]
fn gap_between_parts_is_jumped() {
    let parts =
        [(1.0, Part::Uniform { low: -2.0, high: -1.0 }), (1.0, Part::Uniform { low: 1.0, high: 2.0 })];
    let flow = QuantileFlow::new(Linear, 1.0, &parts).unwrap();
    for z in [-2.0, -1e-6, 1e-6, 2.0] {
        let x1 = flow.flow_map(0.0, 1.0, &[z]).unwrap()[0];
        assert_eq!(x1.signum(), z.signum());
        assert!((1.0 - 1e-12..=2.0).contains(&x1.abs()), "{z} went to {x1}");
        assert_close(&flow.flow_map(1.0, 0.0, &[x1]).unwrap(), &[z], MAP_TOLERANCE);
    }
    assert_eq!(flow.log_density(1.0, &[0.0]), Err(Error::NoMass { t: 1.0, x: 0.0 }));
}

#[test]
fn bad_arguments_are_refused_with_what_is_wrong() {
    let make = |sigma0, part| QuantileFlow::new(Linear, sigma0, &[(1.0, part)]);
    assert_eq!(QuantileFlow::new(Linear, 1.0, &[]).err(), Some(Error::NoComponents));
    assert!(make(0.0, UNIFORM).is_err());
    assert!(make(1.0, Part::Uniform { low: 1.0, high: 1.0 }).is_err());
    assert!(make(1.0, Part::Uniform { low: 0.0, high: f64::INFINITY }).is_err());
    assert!(make(1.0, Part::Normal { mean: f64::NAN, std: 1.0 }).is_err());
    assert!(make(1.0, Part::Normal { mean: 0.0, std: 0.0 }).is_err());
    assert!(QuantileFlow::new(Linear, 1.0, &[(-1.0, UNIFORM)]).is_err());
    let flow = make(1.0, UNIFORM).unwrap();
    assert_eq!(flow.flow_map(1.0, 0.0, &[2.5]), Err(Error::NoMass { t: 1.0, x: 2.5 }));
    assert_eq!(flow.flow_map(0.0, 1.0, &[-60.0]), Err(Error::NoMass { t: 0.0, x: -60.0 }));
    assert!(flow.flow_map(0.0, 1.0, &[f64::NAN]).is_err());
    assert_eq!(flow.velocity(0.5, &[0.0, 1.0]), Err(Error::Dimension { expected: 1, found: 2 }));
}
