//! The flow to a Gaussian against what is known about it by other means.

use flowmap_core::exact::{Covariance, ExactFlow, GaussianFlow};
use flowmap_core::{Error, Interpolant, InterpolantKind, Linear, NoiseStream, NoisyLinear, Stream};

use crate::checks::assert_close;
use crate::checks::monte_carlo::velocity_is_the_conditional_mean;

/// A few roundings.
const EXACT: f64 = 1e-14;

fn tilted() -> (Vec<f64>, Covariance) {
    (vec![1.0, -0.5], Covariance::Full(vec![vec![1.0, 0.6], vec![0.6, 0.8]]))
}

fn tilted_flow(interpolant: InterpolantKind) -> GaussianFlow {
    let (mean, covariance) = tilted();
    GaussianFlow::new(interpolant, 0.7, mean, &covariance).unwrap()
}

#[test]
fn one_dimensional_map_is_the_ratio_of_deviations() {
    let (sigma0, mean, std) = (0.7, 2.0, 0.3);
    for kind in InterpolantKind::ALL {
        let flow = GaussianFlow::new(kind.clone(), sigma0, vec![mean], &Covariance::Isotropic(std)).unwrap();
        let sd = |t| (kind.alpha(t) * sigma0).hypot(kind.beta(t) * std);
        for (s, t, x) in [(0.0, 1.0, 0.4), (0.2, 0.9, -1.0), (0.8, 0.1, 1.5)] {
            let expected = kind.beta(t) * mean + sd(t) / sd(s) * (x - kind.beta(s) * mean);
            assert_close(&flow.flow_map(s, t, &[x]).unwrap(), &[expected], EXACT);
        }
    }
}

#[test]
fn one_dimensional_density_is_the_normal_density() {
    let flow = GaussianFlow::new(Linear, 1.0, vec![2.0], &Covariance::Isotropic(0.5)).unwrap();
    // I_½ ~ N(1, ¼ + 1/16).
    let z = (1.3 - 1.0) / 0.3125f64.sqrt();
    let expected = (flowmap_core::normal::pdf(z) / 0.3125f64.sqrt()).ln();
    assert_close(&[flow.log_density(0.5, &[1.3]).unwrap()], &[expected], EXACT);
    assert_close(&flow.score(0.5, &[1.3]).unwrap(), &[-0.3 / 0.3125], EXACT);
}

#[test]
fn three_forms_of_a_covariance_give_the_same_flow() {
    let full = Covariance::Full(vec![vec![0.25, 0.0], vec![0.0, 0.25]]);
    let flows = [Covariance::Isotropic(0.5), Covariance::Diagonal(vec![0.5, 0.5]), full]
        .map(|covariance| GaussianFlow::new(Linear, 1.0, vec![1.0, 2.0], &covariance).unwrap());
    let x = [0.3, -0.8];
    for flow in &flows[1..] {
        assert_close(&flow.flow_map(0.1, 0.8, &x).unwrap(), &flows[0].flow_map(0.1, 0.8, &x).unwrap(), EXACT);
        assert_close(&flow.velocity(0.3, &x).unwrap(), &flows[0].velocity(0.3, &x).unwrap(), EXACT);
        assert_close(&flow.score(0.3, &x).unwrap(), &flows[0].score(0.3, &x).unwrap(), EXACT);
    }
}

#[test]
fn samples_of_the_map_have_the_mean_and_covariance_of_the_target() {
    const N_SAMPLES: u64 = 50_000;
    const TOLERANCE: f64 = 0.025; // 4 standard errors: 4 √(2 / N)
    let flow = tilted_flow(InterpolantKind::Trigonometric);
    let base = NoiseStream::new(4, Stream::Base);
    let samples: Vec<Vec<f64>> = (0..N_SAMPLES)
        .map(|index| {
            let mut noise = base.at(index);
            let x0 = [0.7 * noise.normal(), 0.7 * noise.normal()];
            flow.flow_map(0.0, 1.0, &x0).unwrap()
        })
        .collect();
    let mean = |f: &dyn Fn(&[f64]) -> f64| samples.iter().map(|x| f(x)).sum::<f64>() / N_SAMPLES as f64;
    let (m0, m1) = (mean(&|x| x[0]), mean(&|x| x[1]));
    let covariance = [
        mean(&|x| (x[0] - m0).powi(2)),
        mean(&|x| (x[0] - m0) * (x[1] - m1)),
        mean(&|x| (x[1] - m1).powi(2)),
    ];
    assert_close(&[m0, m1], &[1.0, -0.5], TOLERANCE);
    assert_close(&covariance, &[1.0, 0.6, 0.8], TOLERANCE);
}

#[test]
fn path_that_keeps_some_noise_ends_at_the_target_with_that_noise() {
    let (sigma0, mean, std, sigma_min) = (0.7, 2.0, 0.3, 0.1);
    let noisy = NoisyLinear::new(sigma_min).unwrap();
    let flow = GaussianFlow::new(noisy, sigma0, vec![mean], &Covariance::Isotropic(std)).unwrap();
    // I_1 ~ N(m, λ + σ_min² σ0²), and the map from the base is affine.
    let end = std.hypot(sigma_min * sigma0);
    assert_close(&flow.flow_map(0.0, 1.0, &[0.4]).unwrap(), &[mean + end / sigma0 * 0.4], EXACT);
    // Points, which the path without noise reaches with an unbounded velocity, are left again.
    let point = GaussianFlow::new(noisy, sigma0, vec![mean], &Covariance::Isotropic(0.0)).unwrap();
    let x1 = point.flow_map(0.0, 1.0, &[0.4]).unwrap();
    assert_close(&x1, &[mean + sigma_min * 0.4], EXACT);
    assert_close(&point.flow_map(1.0, 0.0, &x1).unwrap(), &[0.4], EXACT);
    // İ_t = x_1 − (1 − σ_min) x_0 for the one x_0 that leads there.
    assert_close(&point.velocity(1.0, &x1).unwrap(), &[mean - (1.0 - sigma_min) * 0.4], EXACT);
}

#[test]
fn velocity_is_the_conditional_mean_of_the_interpolant_velocity() {
    // x_1 = m + L z with the Cholesky factor of the covariance, a way the library does not go.
    let l = [1.0, 0.6, (0.8f64 - 0.36).sqrt()];
    for kind in InterpolantKind::ALL {
        for (t, x) in [(0.2, [0.3, 0.4]), (0.5, [1.0, -0.6]), (0.8, [0.2, -0.9])] {
            velocity_is_the_conditional_mean(
                &tilted_flow(kind.clone()),
                &kind,
                0.7,
                |noise| {
                    let (z0, z1) = (noise.normal(), noise.normal());
                    vec![1.0 + l[0] * z0, -0.5 + l[1] * z0 + l[2] * z1]
                },
                t,
                &x,
            );
        }
    }
}

#[test]
fn degenerate_target_is_reached_but_not_left() {
    // All mass on the line x_2 = x_1, where t = 1 has no density.
    let line = Covariance::Full(vec![vec![1.0, 1.0], vec![1.0, 1.0]]);
    let flow = GaussianFlow::new(Linear, 1.0, vec![0.0, 0.0], &line).unwrap();
    let x1 = flow.flow_map(0.0, 1.0, &[0.3, -0.9]).unwrap();
    assert_close(&[x1[0]], &[x1[1]], EXACT);
    for refused in [
        flow.flow_map(1.0, 0.5, &x1).err(),
        flow.velocity(1.0, &x1).err(),
        flow.score(1.0, &x1).err(),
        flow.log_density(1.0, &x1).err(),
        flow.divergence(1.0, &x1).err(),
    ] {
        assert_eq!(refused, Some(Error::Degenerate { t: 1.0 }));
    }
    assert_eq!(flow.flow_map(1.0, 1.0, &x1).unwrap(), x1);
    let point = GaussianFlow::new(Linear, 1.0, vec![2.0], &Covariance::Isotropic(0.0)).unwrap();
    assert_eq!(point.flow_map(0.3, 1.0, &[0.1]).unwrap(), [2.0]);
}

#[test]
fn bad_arguments_are_refused_with_what_is_wrong() {
    let flow = tilted_flow(InterpolantKind::Linear);
    assert_eq!(flow.velocity(0.5, &[0.0]), Err(Error::Dimension { expected: 2, found: 1 }));
    assert_eq!(flow.divergence(0.5, &[]), Err(Error::Dimension { expected: 2, found: 0 }));
    assert_eq!(flow.flow_map(0.5, 0.5, &[0.0; 3]), Err(Error::Dimension { expected: 2, found: 3 }));
    assert_eq!(flow.flow_map(-0.1, 0.5, &[0.0; 2]), Err(Error::TimeOutOfRange { name: "t", found: -0.1 }));
    let (mean, covariance) = tilted();
    for sigma0 in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(GaussianFlow::new(Linear, sigma0, mean.clone(), &covariance).is_err());
    }
    assert!(GaussianFlow::new(Linear, 1.0, vec![f64::NAN, 0.0], &covariance).is_err());
    let error = GaussianFlow::new(Linear, 1.0, vec![0.0; 3], &covariance).unwrap_err();
    assert_eq!(error.to_string(), "dimension mismatch: expected 3, found 2");
}
