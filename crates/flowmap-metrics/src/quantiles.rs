//! Transport in one dimension, between the quantile functions of two sets of any two sizes.

/// ∫₀¹ c( F_x⁻¹(u) − F_y⁻¹(u) ) du for two sorted sets, exactly: both quantile functions are steps.
///
/// Positions count in units of 1/(n m), where the steps are.
pub(crate) fn transport(x: &[f64], y: &[f64], cost: impl Fn(f64) -> f64) -> f64 {
    let (n, m) = (x.len() as u128, y.len() as u128);
    let (mut i, mut j, mut from) = (0, 0, 0_u128);
    let mut integral = 0.0;
    while i < x.len() && j < y.len() {
        let (end_x, end_y) = ((i as u128 + 1) * m, (j as u128 + 1) * n);
        let to = end_x.min(end_y);
        integral += (to - from) as f64 * cost(x[i] - y[j]);
        from = to;
        i += usize::from(end_x == to);
        j += usize::from(end_y == to);
    }
    integral / (n * m) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_steps_of_unequal_sets_are_matched_exactly() {
        // Repeating each point the same number of times does not change a measure.
        let (x, y) = ([0.0, 1.0, 5.0], [0.5, 2.0]);
        let repeat = |values: &[f64], times| -> Vec<f64> {
            values.iter().flat_map(|v| std::iter::repeat_n(*v, times)).collect()
        };
        let square = |gap: f64| gap * gap;
        assert_eq!(transport(&x, &y, square), transport(&repeat(&x, 2), &repeat(&y, 3), square));
        // ⅓ (0.5) + ⅙ (0.5) + ⅙ (1) + ⅓ (3)
        assert!((transport(&x, &y, f64::abs) - (0.25 + 1.0 / 6.0 + 1.0)).abs() < 1e-15);
    }
}
