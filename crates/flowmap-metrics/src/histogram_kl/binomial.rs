//! Expectations under a binomial law, by summation.
//!
//! E f(C) = Σ_k f(k) w_k / Σ_k w_k,  w_{k+1} = w_k (n − k)/(k + 1) · p/(1 − p)
//!
//! The weights start at 1 at the mode, so no factorial is needed, and the sum ends where they have vanished.
//! Cost: O(√(n p (1 − p))) evaluations of f.

/// Weights below this share of the largest one are left out; f grows at most like k log k.
const NEGLIGIBLE: f64 = 1e-24;

/// E f(C) of C ~ Binomial(n, p), p in [0, 1].
pub(super) fn binomial_expectation(n: u64, p: f64, f: impl Fn(f64) -> f64) -> f64 {
    if p <= 0.0 {
        return f(0.0);
    }
    if p >= 1.0 {
        return f(n as f64);
    }
    let odds = p / (1.0 - p);
    let mode = (((n as f64 + 1.0) * p) as u64).min(n);
    let (mut total, mut sum) = (1.0, f(mode as f64));
    let mut weight = 1.0;
    for k in mode..n {
        weight *= (n - k) as f64 / (k + 1) as f64 * odds;
        if weight < NEGLIGIBLE {
            break;
        }
        total += weight;
        sum += weight * f((k + 1) as f64);
    }
    weight = 1.0;
    for k in (1..=mode).rev() {
        weight *= k as f64 / (n - k + 1) as f64 / odds;
        if weight < NEGLIGIBLE {
            break;
        }
        total += weight;
        sum += weight * f((k - 1) as f64);
    }
    sum / total
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding of some hundred terms.
    const TOLERANCE: f64 = 1e-12;

    #[test]
    fn first_two_moments_are_those_of_the_binomial_law() {
        for (n, p) in [(1, 0.3), (10, 0.5), (100_000, 1.0 / 2048.0), (1_000_000, 1e-9), (64_000, 0.9999)] {
            let mean = n as f64 * p;
            let variance = mean * (1.0 - p);
            let first = binomial_expectation(n, p, |k| k);
            let second = binomial_expectation(n, p, |k| (k - mean) * (k - mean));
            assert!((first / mean - 1.0).abs() < TOLERANCE, "{n} {p} {first}");
            assert!((second / variance - 1.0).abs() < TOLERANCE, "{n} {p} {second}");
        }
    }

    #[test]
    fn certain_outcomes_are_exact() {
        assert_eq!(binomial_expectation(7, 0.0, |k| k), 0.0);
        assert_eq!(binomial_expectation(7, 1.0, |k| k), 7.0);
    }
}
