//! The laws of flow maps on every exact flow, interpolant and pair of times.

use std::sync::Arc;

use flowmap_core::exact::{Component, Covariance, GaussianFlow, MixtureFlow, Part, QuantileFlow};
use flowmap_core::{Custom, Dop853, Interpolant, Linear, Trigonometric, VariancePreserving};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::checks;
use crate::checks::Case;

/// The same cases in every run; `PROPTEST_CASES` asks for more of them.
fn config() -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(20), ..ProptestConfig::default() }
}

fn smoothstep() -> Custom {
    let half = |t: f64| t * t * (3.0 - 2.0 * t);
    let rate = |t: f64| 6.0 * t * (1.0 - t);
    Custom::new(move |t| 1.0 - half(t), half, move |t| -rate(t), rate).unwrap()
}

fn interpolant() -> impl Strategy<Value = Arc<dyn Interpolant>> {
    prop_oneof![
        Just(Arc::new(Linear) as Arc<dyn Interpolant>),
        Just(Arc::new(Trigonometric) as Arc<dyn Interpolant>),
        Just(Arc::new(VariancePreserving) as Arc<dyn Interpolant>),
        Just(Arc::new(smoothstep()) as Arc<dyn Interpolant>),
    ]
}

fn full_covariance(dim: usize) -> impl Strategy<Value = Covariance> {
    // R Rᵀ + 0.15 I has no direction narrower than 0.38.
    vec(vec(-0.7..0.7f64, dim), dim).prop_map(move |r| {
        let entry = |i: usize, j: usize| {
            let product: f64 = r[i].iter().zip(&r[j]).map(|(a, b)| a * b).sum();
            product + 0.15 * f64::from(i == j)
        };
        Covariance::Full((0..dim).map(|i| (0..dim).map(|j| entry(i, j)).collect()).collect())
    })
}

fn covariance(dim: usize) -> impl Strategy<Value = Covariance> {
    prop_oneof![
        (0.4..1.0f64).prop_map(Covariance::Isotropic),
        vec(0.4..1.0f64, dim).prop_map(Covariance::Diagonal),
        full_covariance(dim),
    ]
}

fn gaussian() -> impl Strategy<Value = Case> {
    let target = (1..4usize).prop_flat_map(|dim| (vec(-2.0..2.0f64, dim), covariance(dim)));
    (interpolant(), 0.5..1.5f64, target).prop_map(|(interpolant, sigma0, (mean, covariance))| {
        let flow = GaussianFlow::new(interpolant, sigma0, mean, &covariance).unwrap();
        Case { sigma0, name: format!("{flow:?}"), flow: Box::new(flow) }
    })
}

fn component(dim: usize) -> impl Strategy<Value = Component> {
    (0.2..1.0f64, vec(-1.2..1.2f64, dim), covariance(dim)).prop_map(|(weight, mean, covariance)| Component {
        weight,
        mean,
        covariance,
    })
}

fn mixture() -> impl Strategy<Value = Case> {
    let components = (1..3usize).prop_flat_map(|dim| vec(component(dim), 1..4));
    (interpolant(), 0.5..1.5f64, components).prop_map(|(interpolant, sigma0, components)| {
        let tight = Dop853::new(1e-13, 1e-14).unwrap();
        let flow = MixtureFlow::new(interpolant, sigma0, &components).unwrap().with_solver(tight);
        Case { sigma0, name: format!("{flow:?}"), flow: Box::new(flow) }
    })
}

fn part() -> impl Strategy<Value = (f64, Part)> {
    let normal = (-1.2..1.2f64, 0.4..1.0f64).prop_map(|(mean, std)| Part::Normal { mean, std });
    let uniform = (-1.5..1.0f64, 0.5..2.0f64).prop_map(|(low, l)| Part::Uniform { low, high: low + l });
    (0.2..1.0f64, prop_oneof![normal, uniform])
}

fn quantile() -> impl Strategy<Value = Case> {
    (interpolant(), 0.5..1.5f64, vec(part(), 1..4)).prop_map(|(interpolant, sigma0, parts)| {
        let flow = QuantileFlow::new(interpolant, sigma0, &parts).unwrap();
        Case { sigma0, name: format!("{flow:?}"), flow: Box::new(flow) }
    })
}

fn flow() -> impl Strategy<Value = Case> {
    prop_oneof![gaussian(), mixture(), quantile()]
}

/// Any time.
fn time() -> impl Strategy<Value = f64> {
    prop_oneof![1 => Just(0.0), 1 => Just(1.0), 6 => 0.0..1.0f64]
}

/// Times that leave room for a difference stencil, and where a blurred edge is wider than the stencil.
fn inner_time() -> impl Strategy<Value = f64> {
    0.01..0.75f64
}

fn z() -> impl Strategy<Value = Vec<f64>> {
    vec(-2.5..2.5f64, 3)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn map_from_a_time_to_itself_is_the_identity(case in flow(), t in inner_time(), z in z()) {
        checks::identity(&case, t, &z);
    }

    #[test]
    fn maps_compose(case in flow(), s in time(), u in time(), t in time(), z in z()) {
        checks::semigroup(&case, [s, u, t], &z);
    }

    #[test]
    fn map_is_inverted_by_the_map_back(case in flow(), s in time(), t in time(), z in z()) {
        checks::invertibility(&case, [s, t], &z);
    }

    #[test]
    fn lagrangian_equation_holds(case in flow(), s in time(), t in inner_time(), z in z()) {
        checks::lagrangian(&case, [s, t], &z);
    }

    #[test]
    fn eulerian_equation_holds(case in flow(), s in inner_time(), t in inner_time(), z in z()) {
        checks::eulerian(&case, [s, t], &z);
    }

    /// Not for uniform parts: at t = 1 the map has a kink at each of their edges.
    #[test]
    fn eulerian_equation_holds_up_to_the_data(
        case in prop_oneof![gaussian(), mixture()], s in inner_time(), t in time(), z in z(),
    ) {
        checks::eulerian(&case, [s, t], &z);
    }

    #[test]
    fn tangent_condition_holds(case in flow(), t in inner_time(), z in z()) {
        checks::tangent(&case, t, &z);
    }

    #[test]
    fn continuity_equation_holds(case in flow(), t in inner_time(), z in z()) {
        checks::continuity(&case, t, &z);
    }

    #[test]
    fn velocity_is_differentiated_in_reverse(case in flow(), t in inner_time(), z in z()) {
        checks::velocity_vjp(&case, t, &z);
    }

    #[test]
    fn divergence_is_the_trace_of_the_jacobian(case in flow(), t in inner_time(), z in z()) {
        checks::divergence(&case, t, &z);
    }

    #[test]
    fn score_is_the_gradient_of_the_log_density(case in flow(), t in inner_time(), z in z()) {
        checks::score(&case, t, &z);
    }

    #[test]
    fn map_pushes_the_base_to_the_density(case in flow(), t in inner_time(), z in z()) {
        checks::pushforward(&case, t, &z);
    }

    #[test]
    fn interpolants_obey_their_laws_at_any_time(interpolant in interpolant(), t in 0.01..0.99f64) {
        let coefficients = |t| vec![interpolant.alpha(t), interpolant.beta(t)];
        let derivatives = [interpolant.alpha_dot(t), interpolant.beta_dot(t)];
        // h⁴ f⁗′ / 30 for the fifth derivative of a cosine of a cosine, and ε / h.
        checks::assert_close(&checks::derivative(coefficients, t), &derivatives, 1e-10);
        prop_assert_eq!(coefficients(0.0), [1.0, 0.0]);
        prop_assert_eq!(coefficients(1.0), [0.0, 1.0]);
        prop_assert!(coefficients(t).iter().all(|c| (0.0..=1.0).contains(c)));
    }
}
