//! How fast each sampler converges on an exact flow, forwards and backwards, and that jumps need no convergence.

use std::num::NonZeroU32;

use candle_core::{Device, Tensor};
use flowmap_core::exact::ExactFlow;
use flowmap_core::ode::{ButcherTableau, EULER, HEUN, MIDPOINT, RK4};
use flowmap_core::{Stream, TimeGrid};
use flowmap_nn::{AverageVelocity, Condition, FlowMap};
use flowmap_sample::{FlowMapJump, RungeKutta, Sampler, sample, trajectory};

use crate::support::exact_gaussian;
use crate::support::exact_gaussian::{DIM, ExactGaussian, normals};
use crate::support::two_gaussians;
use crate::support::two_gaussians::TwoGaussians;

/// What is allowed between the slope of the error and the order of the method.
const SLOPE_TOLERANCE: f64 = 0.3;
/// Rounding of at most a few tens of steps in f64.
const EXACT: f64 = 1e-12;
const N: usize = 16;

fn model() -> FlowMap<'static> {
    FlowMap::new(&ExactGaussian as &dyn AverageVelocity)
}

fn uniform(n_steps: u32) -> TimeGrid {
    TimeGrid::uniform(NonZeroU32::new(n_steps).unwrap())
}

fn max_error(found: &Tensor, expected: &Tensor) -> f64 {
    let error = (found - expected).unwrap().abs().unwrap();
    error.flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

/// Where the Gaussian flow takes each row of `x` from time `s` to time `t`.
fn flowed(s: f64, t: f64, x: &Tensor) -> Tensor {
    flowed_by(&exact_gaussian::reference(), s, t, x)
}

fn flowed_by(flow: &dyn ExactFlow, s: f64, t: f64, x: &Tensor) -> Tensor {
    let rows = x.to_vec2::<f64>().unwrap();
    let ends: Vec<f64> = rows.iter().flat_map(|x| flow.flow_map(s, t, x).unwrap()).collect();
    Tensor::from_vec(ends, (rows.len(), DIM), &Device::Cpu).unwrap()
}

/// The slope of the least-squares line through the points (x, y).
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (x_mean, y_mean) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
    let xy: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    xy / points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum::<f64>()
}

/// The slope of log error over log step on the grids that `make` gives for 16, 32, 64 and 128 steps.
fn order_on(
    flow: &dyn ExactFlow,
    net: &dyn AverageVelocity,
    tableau: ButcherTableau,
    make: impl Fn(u32) -> TimeGrid,
) -> f64 {
    let x = normals(Stream::Base, N);
    let grid = make(1);
    let expected = flowed_by(flow, grid.times()[0], grid.times()[1], &x);
    let error = |n_steps: u32| {
        let end = sample(&RungeKutta(tableau), FlowMap::new(net), &x, &make(n_steps)).unwrap();
        (f64::from(n_steps).recip().ln(), max_error(&end, &expected).ln())
    };
    slope(&[16, 32, 64, 128].map(error))
}

/// Checks the order on a velocity field that is linear neither in x nor in t, which would hide errors of the method.
fn converges_with_its_order(tableau: ButcherTableau, make: impl Fn(u32) -> TimeGrid) {
    let found = order_on(&two_gaussians::reference(), &TwoGaussians, tableau, make);
    let order = tableau.order;
    assert!((found - order as f64).abs() < SLOPE_TOLERANCE, "{tableau:?}: slope {found}, order {order}");
}

/// Why the order is not read off a Gaussian flow along the linear interpolant.
///
/// There ẋ = a x with a = (ln var)'/2 and var a parabola in t, and the midpoint method's leading error
/// h² ∫ (a''/24 + a a'/4 + a³/6) dt is zero over every interval.
#[test]
fn midpoint_gains_an_order_on_the_gaussian_flow() {
    for tableau in [EULER, MIDPOINT, HEUN] {
        let found = order_on(&exact_gaussian::reference(), &ExactGaussian, tableau, uniform);
        let order = if tableau.c == MIDPOINT.c { 3.0 } else { tableau.order as f64 };
        assert!((found - order).abs() < SLOPE_TOLERANCE, "{tableau:?}: slope {found}");
    }
}

#[test]
fn euler_converges_with_order_1() {
    assert_eq!(EULER.order, 1);
    converges_with_its_order(EULER, uniform);
}

#[test]
fn midpoint_converges_with_order_2() {
    assert_eq!(MIDPOINT.order, 2);
    converges_with_its_order(MIDPOINT, uniform);
}

#[test]
fn heun_converges_with_order_2() {
    assert_eq!(HEUN.order, 2);
    converges_with_its_order(HEUN, uniform);
}

#[test]
fn rk4_converges_with_order_4() {
    assert_eq!(RK4.order, 4);
    converges_with_its_order(RK4, uniform);
}

#[test]
fn order_holds_backwards_and_on_uneven_grids() {
    for tableau in [EULER, MIDPOINT, HEUN, RK4] {
        converges_with_its_order(tableau, |n| uniform(n).reversed());
        converges_with_its_order(tableau, |n| TimeGrid::cosine(NonZeroU32::new(n).unwrap()).unwrap());
        converges_with_its_order(tableau, |n| {
            TimeGrid::power(NonZeroU32::new(n).unwrap(), 2.0).unwrap().reversed()
        });
    }
}

#[test]
fn evaluations_are_counted_as_they_are_made() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use flowmap_dual::Dual;
    struct Counted(AtomicUsize);
    impl AverageVelocity for Counted {
        fn average_velocity(
            &self,
            s: &Dual,
            t: &Dual,
            x: &Dual,
            condition: Condition<'_>,
        ) -> flowmap_nn::Result<Dual> {
            self.0.fetch_add(1, Ordering::Relaxed);
            ExactGaussian.average_velocity(s, t, x, condition)
        }
    }
    for kind in flowmap_sample::SamplerKind::ALL {
        let (sampler, net) = (kind.build(), Counted(AtomicUsize::new(0)));
        sample(&*sampler, FlowMap::new(&net as &dyn AverageVelocity), &normals(Stream::Base, N), &uniform(3))
            .unwrap();
        assert_eq!(net.0.into_inner(), 3 * sampler.evaluations_per_step(), "{kind}");
    }
}

/// Grids of one step, of several, of uneven and of tiny ones.
fn grids() -> Vec<TimeGrid> {
    let times = |times: &[f64]| TimeGrid::from_times(times.to_vec()).unwrap();
    vec![
        uniform(1),
        uniform(7),
        times(&[0.0, 0.9, 1.0]),
        times(&[0.0, 1e-9, 0.3, 0.3 + 1e-9, 1.0]),
        times(&[0.2, 0.6]),
        TimeGrid::power(NonZeroU32::new(5).unwrap(), 7.0).unwrap(),
    ]
}

#[test]
fn jumps_are_exact_on_any_grid() {
    let x = normals(Stream::Base, N);
    for grid in grids() {
        let (s, t) = (grid.times()[0], *grid.times().last().unwrap());
        let end = sample(&FlowMapJump, model(), &x, &grid).unwrap();
        let error = max_error(&end, &flowed(s, t, &x));
        assert!(error < EXACT, "{grid:?}: off by {error:e}");
    }
}

#[test]
fn jumps_back_along_a_reversed_grid_return_to_the_start() {
    let x = normals(Stream::Base, N);
    for grid in grids() {
        for back in [
            grid.reversed(),
            TimeGrid::from_times(vec![*grid.times().last().unwrap(), grid.times()[0]]).unwrap(),
        ] {
            let end = sample(&FlowMapJump, model(), &x, &grid).unwrap();
            let start = sample(&FlowMapJump, model(), &end, &back).unwrap();
            let error = max_error(&start, &x);
            assert!(error < EXACT, "{grid:?}, back by {back:?}: off by {error:e}");
        }
    }
}

#[test]
fn trajectory_starts_with_the_noise_and_ends_with_the_sample() {
    let x = normals(Stream::Base, N);
    let values = |x: &Tensor| x.to_vec2::<f64>().unwrap();
    let samplers: [&dyn Sampler; 3] = [&FlowMapJump, &RungeKutta(HEUN), &RungeKutta(RK4)];
    for sampler in samplers {
        for grid in grids() {
            let path = trajectory(sampler, model(), &x, &grid).unwrap();
            assert_eq!(path.len(), grid.times().len());
            assert_eq!(values(&path[0]), values(&x));
            let end = sample(sampler, model(), &x, &grid).unwrap();
            assert_eq!(values(path.last().unwrap()), values(&end), "{sampler:?} on {grid:?}");
        }
    }
}

#[test]
fn every_point_of_a_trajectory_of_jumps_lies_on_the_flow() {
    let x = normals(Stream::Base, N);
    for grid in grids() {
        let path = trajectory(&FlowMapJump, model(), &x, &grid).unwrap();
        for (t, x_t) in grid.times().iter().zip(&path) {
            assert!(max_error(x_t, &flowed(grid.times()[0], *t, &x)) < EXACT, "{grid:?} at {t}");
        }
    }
}
