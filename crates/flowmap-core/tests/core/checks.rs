//! The laws of an exact flow as check functions, and the finite differences they use.

#![allow(clippy::unwrap_used, clippy::panic)]

pub mod monte_carlo;

use flowmap_core::exact::ExactFlow;

/// Step of the central differences of order 4.
///
/// Velocities change over times and lengths of 0.1 or more in the cases drawn, so that the truncation
/// (h / 0.1)⁴ / 30 and the noise of the map over h, at most 1e-11 / h, are both below 1e-8.
pub const STEP: f64 = 1e-3;

/// Relative tolerance of a derivative: room for the sharpest case drawn, fifth derivatives up to 1e5.
pub const DERIVATIVE_TOLERANCE: f64 = 1e-6;

/// Relative tolerance between two maps that are both exact to 1e-12 a step or better.
pub const MAP_TOLERANCE: f64 = 1e-8;

/// A flow together with the spread of its base.
pub struct Case {
    pub flow: Box<dyn ExactFlow>,
    pub sigma0: f64,
    pub name: String,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Case {
    /// The point at time s that a standard normal z flows to, so that it always lies where the mass is.
    pub fn point(&self, s: f64, z: &[f64]) -> Vec<f64> {
        let x0: Vec<f64> = z[..self.flow.dim()].iter().map(|z| self.sigma0 * z).collect();
        self.flow.flow_map(0.0, s, &x0).unwrap()
    }
}

/// f′(at) by the central difference of order 4.
pub fn derivative(f: impl Fn(f64) -> Vec<f64>, at: f64) -> Vec<f64> {
    let [far_left, left, right, far_right] = [-2.0, -1.0, 1.0, 2.0].map(|steps| f(at + steps * STEP));
    (0..left.len())
        .map(|i| (far_left[i] - far_right[i] + 8.0 * (right[i] - left[i])) / (12.0 * STEP))
        .collect()
}

/// x + h v.
fn moved(x: &[f64], h: f64, v: &[f64]) -> Vec<f64> {
    x.iter().zip(v).map(|(x, v)| x + h * v).collect()
}

/// The derivative of f at x along v.
pub fn along(f: impl Fn(&[f64]) -> Vec<f64>, x: &[f64], v: &[f64]) -> Vec<f64> {
    derivative(|h| f(&moved(x, h, v)), 0.0)
}

fn unit(dim: usize, i: usize) -> Vec<f64> {
    (0..dim).map(|j| f64::from(i == j)).collect()
}

/// Row i is the derivative of f along coordinate i: the transposed Jacobian.
fn jacobian(f: impl Fn(&[f64]) -> Vec<f64>, x: &[f64]) -> Vec<Vec<f64>> {
    (0..x.len()).map(|i| along(&f, x, &unit(x.len(), i))).collect()
}

/// ln |det| by Gaussian elimination with row pivots.
fn log_abs_det(mut rows: Vec<Vec<f64>>) -> f64 {
    let n = rows.len();
    let mut sum = 0.0;
    for column in 0..n {
        let pivot = (column..n).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()));
        rows.swap(column, pivot.unwrap());
        sum += rows[column][column].abs().ln();
        let (done, below) = rows.split_at_mut(column + 1);
        for row in below {
            let factor = row[column] / done[column][column];
            row.iter_mut().zip(&done[column]).for_each(|(entry, pivot)| *entry -= factor * pivot);
        }
    }
    sum
}

#[track_caller]
pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    let size = expected.iter().map(|e| e.abs()).fold(1.0, f64::max);
    for (f, e) in found.iter().zip(expected) {
        let error = (f - e).abs() / size;
        assert!(error <= tolerance, "found {found:?}, expected {expected:?}: relative error {error:e}");
    }
}

/// X_{t,t} = id, to the bit.
pub fn identity(case: &Case, t: f64, z: &[f64]) {
    let x = case.point(t, z);
    assert_eq!(case.flow.flow_map(t, t, &x).unwrap(), x);
    assert_close(&case.flow.average_velocity(t, t, &x).unwrap(), &case.flow.velocity(t, &x).unwrap(), 0.0);
}

/// X_{u,t} ∘ X_{s,u} = X_{s,t}.
pub fn semigroup(case: &Case, [s, u, t]: [f64; 3], z: &[f64]) {
    let x = case.point(s, z);
    let x_su = case.flow.flow_map(s, u, &x).unwrap();
    let through_u = case.flow.flow_map(u, t, &x_su).unwrap();
    assert_close(&through_u, &case.flow.flow_map(s, t, &x).unwrap(), MAP_TOLERANCE);
}

/// X_{t,s} ∘ X_{s,t} = id.
pub fn invertibility(case: &Case, [s, t]: [f64; 2], z: &[f64]) {
    let x = case.point(s, z);
    let x_st = case.flow.flow_map(s, t, &x).unwrap();
    assert_close(&case.flow.flow_map(t, s, &x_st).unwrap(), &x, MAP_TOLERANCE);
}

/// ∂_t X_{s,t}(x) = b_t(X_{s,t}(x)).
pub fn lagrangian(case: &Case, [s, t]: [f64; 2], z: &[f64]) {
    let x = case.point(s, z);
    let dt_x_st = derivative(|t| case.flow.flow_map(s, t, &x).unwrap(), t);
    let x_st = case.flow.flow_map(s, t, &x).unwrap();
    assert_close(&dt_x_st, &case.flow.velocity(t, &x_st).unwrap(), DERIVATIVE_TOLERANCE);
}

/// ∂_s X_{s,t}(x) + ∇X_{s,t}(x) b_s(x) = 0.
pub fn eulerian(case: &Case, [s, t]: [f64; 2], z: &[f64]) {
    let x = case.point(s, z);
    let ds_x_st = derivative(|s| case.flow.flow_map(s, t, &x).unwrap(), s);
    let b_s = case.flow.velocity(s, &x).unwrap();
    let advection = along(|x| case.flow.flow_map(s, t, x).unwrap(), &x, &b_s);
    let minus: Vec<f64> = advection.iter().map(|a| -a).collect();
    assert_close(&ds_x_st, &minus, DERIVATIVE_TOLERANCE);
}

/// lim_{s→t} ∂_t X_{s,t}(x) = b_t(x).
pub fn tangent(case: &Case, t: f64, z: &[f64]) {
    let x = case.point(t, z);
    let dt_x_tt = derivative(|end| case.flow.flow_map(t, end, &x).unwrap(), t);
    assert_close(&dt_x_tt, &case.flow.velocity(t, &x).unwrap(), DERIVATIVE_TOLERANCE);
}

/// ∂_t ρ_t + ∇·(b_t ρ_t) = 0, divided by ρ_t.
pub fn continuity(case: &Case, t: f64, z: &[f64]) {
    let x = case.point(t, z);
    let dt_log_density = derivative(|t| vec![case.flow.log_density(t, &x).unwrap()], t);
    let (b_t, score) = (case.flow.velocity(t, &x).unwrap(), case.flow.score(t, &x).unwrap());
    let transport: f64 = b_t.iter().zip(&score).map(|(b, s)| b * s).sum();
    let inflow = -(case.flow.divergence(t, &x).unwrap() + transport);
    assert_close(&dt_log_density, &[inflow], DERIVATIVE_TOLERANCE);
}

/// ∇·b_t is the trace of the Jacobian of b_t.
pub fn divergence(case: &Case, t: f64, z: &[f64]) {
    let x = case.point(t, z);
    let rows = jacobian(|x| case.flow.velocity(t, x).unwrap(), &x);
    let trace: f64 = (0..rows.len()).map(|i| rows[i][i]).sum();
    assert_close(&[case.flow.divergence(t, &x).unwrap()], &[trace], DERIVATIVE_TOLERANCE);
}

/// The product ∇b_tᵀ g is that of the Jacobian of b_t, for every g of a basis.
pub fn velocity_vjp(case: &Case, t: f64, z: &[f64]) {
    let x = case.point(t, z);
    let rows = jacobian(|x| case.flow.velocity(t, x).unwrap(), &x);
    for i in 0..x.len() {
        let expected: Vec<f64> = rows.iter().map(|row| row[i]).collect();
        let found = case.flow.velocity_vjp(t, &x, &unit(x.len(), i)).unwrap();
        assert_close(&found, &expected, DERIVATIVE_TOLERANCE);
    }
}

/// The score is the gradient of the log density.
pub fn score(case: &Case, t: f64, z: &[f64]) {
    let x = case.point(t, z);
    let gradient = jacobian(|x| vec![case.flow.log_density(t, x).unwrap()], &x).concat();
    assert_close(&case.flow.score(t, &x).unwrap(), &gradient, DERIVATIVE_TOLERANCE);
}

/// X_{0,t} pushes ρ_0 to ρ_t: ln ρ_t(X_{0,t}(x)) + ln |det ∇X_{0,t}(x)| = ln ρ_0(x).
pub fn pushforward(case: &Case, t: f64, z: &[f64]) {
    let x = case.point(0.0, z);
    let x_0t = case.flow.flow_map(0.0, t, &x).unwrap();
    let volume = log_abs_det(jacobian(|x| case.flow.flow_map(0.0, t, x).unwrap(), &x));
    let log_density = case.flow.log_density(t, &x_0t).unwrap() + volume;
    assert_close(&[log_density], &[case.flow.log_density(0.0, &x).unwrap()], DERIVATIVE_TOLERANCE);
}
