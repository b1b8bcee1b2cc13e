//! The flow to a mixture of Gaussians against Monte Carlo, the Gaussian flow and itself.

use flowmap_core::exact::{Component, Covariance, ExactFlow, GaussianFlow, MixtureFlow};
use flowmap_core::{Dop853, Error, InterpolantKind, Linear, NoiseStream, Stream};

use crate::checks::assert_close;
use crate::checks::monte_carlo::velocity_is_the_conditional_mean;

/// A few roundings.
const EXACT: f64 = 1e-13;

fn components() -> Vec<Component> {
    let full = Covariance::Full(vec![vec![0.3, 0.1], vec![0.1, 0.2]]);
    vec![
        Component { weight: 1.0, mean: vec![-1.0, 0.5], covariance: Covariance::Isotropic(0.4) },
        Component { weight: 2.0, mean: vec![1.0, 0.0], covariance: full },
        Component { weight: 1.0, mean: vec![0.0, -1.0], covariance: Covariance::Diagonal(vec![0.3, 0.6]) },
    ]
}

fn flow(interpolant: InterpolantKind) -> MixtureFlow {
    MixtureFlow::new(interpolant, 0.8, &components()).unwrap()
}

#[test]
fn velocity_is_the_conditional_mean_of_the_interpolant_velocity() {
    for kind in InterpolantKind::ALL {
        let flow = flow(kind.clone());
        for (t, x) in [(0.2, [0.3, 0.4]), (0.5, [0.0, 0.0]), (0.7, [0.6, -0.3])] {
            velocity_is_the_conditional_mean(&flow, &kind, 0.8, |noise| flow.sample(noise), t, &x);
        }
    }
}

#[test]
fn samples_have_the_moments_of_the_mixture() {
    const N_SAMPLES: u64 = 50_000;
    const TOLERANCE: f64 = 0.025; // 4 standard errors of a quantity with variance up to 2
    let (flow, stream) = (flow(InterpolantKind::Linear), NoiseStream::new(3, Stream::Data));
    let samples: Vec<Vec<f64>> = (0..N_SAMPLES).map(|index| flow.sample(&mut stream.at(index))).collect();
    let mean = |f: &dyn Fn(&[f64]) -> f64| samples.iter().map(|x| f(x)).sum::<f64>() / N_SAMPLES as f64;
    let first = [mean(&|x| x[0]), mean(&|x| x[1])];
    assert_close(&first, &[0.25, -0.125], TOLERANCE);
    let second = [mean(&|x| x[0] * x[0]), mean(&|x| x[0] * x[1]), mean(&|x| x[1] * x[1])];
    // Σ_k w_k (C_k + m_k m_kᵀ)
    assert_close(
        &second,
        &[0.25 * 1.16 + 0.5 * 1.3 + 0.25 * 0.09, -0.125 + 0.05, 0.1025 + 0.1 + 0.34],
        TOLERANCE,
    );
}

#[test]
fn one_component_is_the_gaussian_flow() {
    let covariance = Covariance::Full(vec![vec![0.3, 0.1], vec![0.1, 0.2]]);
    for kind in InterpolantKind::ALL {
        let gaussian = GaussianFlow::new(kind.clone(), 0.8, vec![1.0, 0.0], &covariance).unwrap();
        let mixture = MixtureFlow::new(kind, 0.8, &components()[1..2]).unwrap();
        let x = [0.4, -0.2];
        for t in [0.0, 0.3, 1.0] {
            assert_close(&mixture.velocity(t, &x).unwrap(), &gaussian.velocity(t, &x).unwrap(), EXACT);
            assert_close(&mixture.score(t, &x).unwrap(), &gaussian.score(t, &x).unwrap(), EXACT);
            assert_close(
                &[mixture.log_density(t, &x).unwrap(), mixture.divergence(t, &x).unwrap()],
                &[gaussian.log_density(t, &x).unwrap(), gaussian.divergence(t, &x).unwrap()],
                EXACT,
            );
        }
        for (s, t) in [(0.0, 1.0), (1.0, 0.0), (0.3, 0.6)] {
            // The tolerance a step of the integrator is 1e-10.
            assert_close(&mixture.flow_map(s, t, &x).unwrap(), &gaussian.flow_map(s, t, &x).unwrap(), 1e-9);
        }
    }
}

#[test]
fn default_tolerance_of_the_map_is_what_the_docs_say() {
    let tight = Dop853::new(1e-14, 1e-15).unwrap();
    for kind in InterpolantKind::ALL {
        let (flow, reference) = (flow(kind.clone()), flow(kind).with_solver(tight));
        for x in [[0.0, 0.0], [1.0, -1.0], [-0.3, 0.8], [2.0, 1.0]] {
            let exact = reference.flow_map(0.0, 1.0, &x).unwrap();
            assert_close(&flow.flow_map(0.0, 1.0, &x).unwrap(), &exact, 2e-9); // 20 rtol
        }
    }
}

#[test]
fn sharp_and_distant_components_are_integrated() {
    // The checkerboard scale of a real use: narrow modes far apart, a point that must choose one.
    let component =
        |x: f64| Component { weight: 1.0, mean: vec![x, 0.0], covariance: Covariance::Isotropic(0.02) };
    let flow = MixtureFlow::new(Linear, 1.0, &[component(-4.0), component(4.0)]).unwrap();
    for x in [-1.0, -1e-3, 1e-3, 0.5] {
        let x1 = flow.flow_map(0.0, 1.0, &[x, 0.3]).unwrap();
        assert!((x1[0] - 4.0 * x.signum()).abs() < 0.1, "{x} went to {x1:?}");
    }
    // Far from all mass the densities underflow, their ratios do not.
    assert!(flow.velocity(0.9, &[100.0, 0.0]).unwrap()[0].is_finite());
    assert!(flow.score(1.0, &[100.0, 0.0]).unwrap()[0].is_finite());
}

#[test]
fn point_masses_are_refused_at_the_data_alone() {
    let point = Component { weight: 1.0, mean: vec![1.0], covariance: Covariance::Isotropic(0.0) };
    let flow = MixtureFlow::new(Linear, 1.0, &[point]).unwrap();
    assert_close(&flow.flow_map(0.0, 0.5, &[0.4]).unwrap(), &[0.7], 1e-9);
    assert_eq!(flow.log_density(1.0, &[1.0]), Err(Error::Degenerate { t: 1.0 }));
    assert!(flow.flow_map(0.0, 1.0, &[0.4]).is_err());
}

#[test]
fn bad_arguments_are_refused_with_what_is_wrong() {
    assert_eq!(MixtureFlow::new(Linear, 1.0, &[]).err(), Some(Error::NoComponents));
    let mut uneven = components();
    uneven[1].mean.push(0.0);
    assert_eq!(
        MixtureFlow::new(Linear, 1.0, &uneven).err(),
        Some(Error::Dimension { expected: 2, found: 3 })
    );
    for weight in [0.0, -1.0, f64::NAN] {
        let mut weightless = components();
        weightless[0].weight = weight;
        let error = MixtureFlow::new(Linear, 1.0, &weightless).err();
        assert!(matches!(error, Some(Error::Parameter { name: "weight", .. })));
    }
    let flow = flow(InterpolantKind::Linear);
    assert_eq!(flow.flow_map(0.5, 0.5, &[0.0]), Err(Error::Dimension { expected: 2, found: 1 }));
    assert_eq!(flow.flow_map(0.5, 2.0, &[0.0; 2]), Err(Error::TimeOutOfRange { name: "t", found: 2.0 }));
    assert!(flow.flow_map(0.0, 1.0, &[f64::NAN, 0.0]).is_err());
}

#[test]
fn map_is_as_accurate_for_data_of_any_size() {
    /// The solver's tolerance a step is 1e-10, relative; its steps are the same up to rounding.
    const TOLERANCE: f64 = 1e-11;
    let of = |scale: f64| {
        let components: Vec<Component> = [(-1.0, 0.2), (1.0, 0.3)]
            .map(|(mean, sd)| Component {
                weight: 1.0,
                mean: vec![scale * mean, 0.0],
                covariance: Covariance::Isotropic(scale * sd),
            })
            .to_vec();
        let flow = MixtureFlow::new(Linear, scale, &components).unwrap();
        let end = flow.flow_map(0.0, 1.0, &[0.3 * scale, -0.5 * scale]).unwrap();
        end.into_iter().map(|x| x / scale).collect::<Vec<f64>>()
    };
    for scale in [1e-20, 1e-6, 1e9] {
        assert_close(&of(scale), &of(1.0), TOLERANCE);
    }
}
