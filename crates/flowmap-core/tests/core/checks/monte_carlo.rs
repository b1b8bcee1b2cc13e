//! b_t(x) = E[İ_t | I_t = x] against Monte Carlo.

use flowmap_core::exact::ExactFlow;
use flowmap_core::{Interpolant, Noise, NoiseStream, Stream};

const N_DRAWS: u64 = 40_000;

/// The draws are keyed, so a comparison at this many standard errors holds always or never.
const N_STANDARD_ERRORS: f64 = 4.0;

/// Compares the velocity with the conditional mean, by self-normalized importance sampling:
/// given x_1, I_t = x means x_0 = (x − β_t x_1) / α_t, with a likelihood proportional to
/// exp(−|x_0|² / 2 σ0²).
#[track_caller]
pub fn velocity_is_the_conditional_mean(
    flow: &dyn ExactFlow,
    interpolant: &dyn Interpolant,
    sigma0: f64,
    target: impl Fn(&mut Noise) -> Vec<f64>,
    t: f64,
    x: &[f64],
) {
    let (alpha, beta) = (interpolant.alpha(t), interpolant.beta(t));
    let (alpha_dot, beta_dot) = (interpolant.alpha_dot(t), interpolant.beta_dot(t));
    let stream = NoiseStream::new(99, Stream::Evaluation);
    let weighted: Vec<(f64, Vec<f64>)> = (0..N_DRAWS)
        .map(|index| {
            let x1 = target(&mut stream.at(index));
            let x0: Vec<f64> = x.iter().zip(&x1).map(|(x, x1)| (x - beta * x1) / alpha).collect();
            let weight = (-0.5 * x0.iter().map(|x0| x0 * x0).sum::<f64>() / (sigma0 * sigma0)).exp();
            let di_t = x0.iter().zip(&x1).map(|(x0, x1)| alpha_dot * x0 + beta_dot * x1).collect();
            (weight, di_t)
        })
        .collect();
    let total: f64 = weighted.iter().map(|(w, _)| w).sum();
    let b_t = flow.velocity(t, x).unwrap();
    for (i, b) in b_t.iter().enumerate() {
        let mean = weighted.iter().map(|(w, di_t)| w * di_t[i]).sum::<f64>() / total;
        let squares: f64 = weighted.iter().map(|(w, di_t)| (w * (di_t[i] - mean)).powi(2)).sum();
        let bound = N_STANDARD_ERRORS * squares.sqrt() / total;
        assert!((b - mean).abs() <= bound, "t = {t}, x = {x:?}: b = {b}, mean {mean} +- {bound:e}");
        assert!(bound < 0.1 * (1.0 + b.abs()), "t = {t}, x = {x:?}: bound {bound:e} says nothing");
    }
}
