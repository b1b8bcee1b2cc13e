//! Axes: the range of the data, the ticks and their labels.

/// Values beyond this are cut, so that the length of an axis stays finite.
const HUGE: f64 = 1e300;
/// A tick is near the end of an axis within this share of its length.
const NEAR: f64 = 0.02;
/// The least value on a logarithmic axis.
const TINY: f64 = 1e-300;

/// How values are spread along the vertical axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scale {
    /// Equal differences take equal room.
    Linear,
    /// Equal ratios take equal room; data with a value of 0 or less falls back to [`Scale::Linear`].
    Log,
}

/// A mark on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    pub(crate) label: String,
}

/// A range of values with its ticks.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    scale: Scale,
    pub(crate) ticks: Vec<Tick>,
}

impl Axis {
    /// Exactly the range from `low` to `high` with at most `n_ticks` + 1 round ticks.
    pub(crate) fn linear(low: f64, high: f64, n_ticks: usize) -> Self {
        let (low, high) = ordered(low, high);
        let (low, high) = (low.clamp(-HUGE, HUGE), high.clamp(-HUGE, HUGE));
        let (low, high) = if high - low > 1e-9 * low.abs().max(high.abs()) {
            (low, high)
        } else {
            // A constant gets room around it.
            let margin = if low == 0.0 { 1.0 } else { 0.1 * low.abs() };
            (low - margin, high + margin)
        };
        let scale = Scale::Linear;
        let ticks = linear_ticks(low, high, n_ticks);
        Self { low, high, scale, ticks }
    }

    /// As [`Axis::linear`], but up to the next tick if that is near: to 20 000 for steps 0 to 19 990.
    pub(crate) fn to_tick(low: f64, high: f64, n_ticks: usize) -> Self {
        let axis = Self::linear(low, high, n_ticks);
        let step = round_step(axis.low, axis.high, n_ticks);
        let next = (axis.high / step - 1e-6).ceil() * step;
        if next - axis.high < NEAR * (axis.high - axis.low) {
            Self::linear(axis.low, next, n_ticks)
        } else {
            axis
        }
    }

    /// As [`Axis::linear`] for positive values on a logarithmic scale.
    pub(crate) fn log(low: f64, high: f64, n_ticks: usize) -> Self {
        let (low, high) = ordered(low, high);
        let (low, high) = (low.clamp(TINY, HUGE), high.clamp(TINY, HUGE));
        let (low, high) = if high / low > 1.02 { (low, high) } else { (low / 1.1, high * 1.1) };
        let scale = Scale::Log;
        let ticks = log_ticks(low, high, n_ticks);
        Self { low, high, scale, ticks }
    }

    /// A logarithmic axis for positive `values`, with a tick at each of them.
    pub(crate) fn log_at(values: &[f64]) -> Self {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        let mut axis = if low <= high {
            // Room for half a doubling on both sides.
            Self::log(low / 2.0_f64.sqrt(), high * 2.0_f64.sqrt(), 2)
        } else {
            Self::log(1.0, 16.0, 2)
        };
        axis.ticks = values.iter().map(|value| Tick { value: *value, label: value.to_string() }).collect();
        axis
    }

    /// Place of `value` along the axis: 0 at its low, 1 at its high end.
    pub(crate) fn share(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.ln() - self.low.ln()) / (self.high.ln() - self.low.ln()),
        }
    }
}

/// `low` and `high` in order; [0, 1] if one of them is not a number.
fn ordered(low: f64, high: f64) -> (f64, f64) {
    if low.is_nan() || high.is_nan() { (0.0, 1.0) } else { (low.min(high), low.max(high)) }
}

/// The least of 1, 2, 2.5 and 5 times a power of ten that makes at most `n_ticks` steps.
fn round_step(low: f64, high: f64, n_ticks: usize) -> f64 {
    let raw = (high - low) / n_ticks.max(1) as f64;
    let power = 10.0_f64.powf(raw.log10().floor());
    [1.0, 2.0, 2.5, 5.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= raw * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// Multiples of a round step.
fn linear_ticks(low: f64, high: f64, n_ticks: usize) -> Vec<Tick> {
    let step = round_step(low, high, n_ticks);
    // The slack keeps ticks at the ends in spite of rounding.
    let first = (low / step - 1e-6).ceil();
    let last = (high / step + 1e-6).floor();
    let n_marks = (last - first).clamp(0.0, 100.0) as usize + 1;
    let largest = first.abs().max(last.abs()) * step;
    (0..n_marks)
        .map(|k| (first + k as f64) * step)
        .map(|value| Tick { value, label: linear_label(value, step, largest) })
        .collect()
}

/// Decades; their 1, 2 and 5 multiples if there are few; round steps if the range is narrow.
fn log_ticks(low: f64, high: f64, n_ticks: usize) -> Vec<Tick> {
    let decades = |multiples: &[f64]| -> Vec<f64> {
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        (first..=last)
            .flat_map(|k| multiples.iter().map(move |m| m * 10.0_f64.powi(k)))
            .filter(|v| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(v))
            .collect()
    };
    let mut values = decades(&[1.0]);
    if values.len() > n_ticks.max(2) {
        let stride = values.len().div_ceil(n_ticks.max(2));
        values = values.into_iter().step_by(stride).collect();
    } else if values.len() < 3 {
        values = decades(&[1.0, 2.0, 5.0]);
    }
    if values.len() < 3 {
        return linear_ticks(low, high, n_ticks);
    }
    values.into_iter().map(|value| Tick { value, label: log_label(value) }).collect()
}

/// Plain digits, thousands (k), millions (M) or powers of ten, by the largest tick of the axis.
fn linear_label(value: f64, step: f64, largest: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let (unit, suffix) = match largest {
        m if (1e-3..1e4).contains(&m) => (1.0, ""),
        m if (1e4..1e6).contains(&m) => (1e3, "k"),
        m if (1e6..1e9).contains(&m) => (1e6, "M"),
        _ => {
            let exponent = largest.log10().floor();
            let unit = 10.0_f64.powf(exponent);
            let digits = fixed(value / unit, step / unit);
            return format!("{digits}×10{}", raised(exponent as i32));
        }
    };
    fixed(value / unit, step / unit) + suffix
}

/// `value` with as many decimals as multiples of `step` need.
fn fixed(value: f64, step: f64) -> String {
    let n_decimals = (0..6)
        .find(|n| {
            let scaled = step * 10.0_f64.powi(*n);
            (scaled - scaled.round()).abs() < 1e-6 * scaled.max(1e-300)
        })
        .unwrap_or(6) as usize;
    format!("{value:.n_decimals$}").replace('-', "−")
}

/// Plain digits near 1, powers of ten elsewhere; `value` is 1, 2 or 5 times a power of ten.
fn log_label(value: f64) -> String {
    let exponent = (value.log10() + 1e-9).floor();
    let factor = (value / 10.0_f64.powf(exponent)).round();
    if (-3.0..=3.0).contains(&exponent) {
        let n_decimals = (-exponent).max(0.0) as usize;
        return format!("{value:.n_decimals$}");
    }
    let power = format!("10{}", raised(exponent as i32));
    if factor == 1.0 { power } else { format!("{factor}×{power}") }
}

/// An integer in raised digits.
fn raised(exponent: i32) -> String {
    let digits = exponent.to_string();
    digits
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            '4' => '⁴',
            '5' => '⁵',
            '6' => '⁶',
            '7' => '⁷',
            '8' => '⁸',
            '9' => '⁹',
            _ => '⁰',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn linear_ticks_are_round() {
        let cases: [(f64, f64, &[&str]); 7] = [
            (0.0, 1.0, &["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (0.0, 20_000.0, &["0", "5k", "10k", "15k", "20k"]),
            (-4.0, 4.0, &["−4", "−2", "0", "2", "4"]),
            (0.26, 0.34, &["0.26", "0.28", "0.30", "0.32", "0.34"]),
            (0.0, 1e-5, &["0", "0.2×10⁻⁵", "0.4×10⁻⁵", "0.6×10⁻⁵", "0.8×10⁻⁵", "1.0×10⁻⁵"]),
            (0.0, 3e6, &["0", "1M", "2M", "3M"]),
            (0.0, 0.0, &["−1.0", "−0.5", "0", "0.5", "1.0"]),
        ];
        for (low, high, expected) in cases {
            let shown = Axis::linear(low, high, 5);
            assert_eq!(labels(&shown), expected);
        }
    }

    #[test]
    fn axis_ends_at_a_near_tick() {
        assert_eq!(labels(&Axis::to_tick(0.0, 19_990.0, 5)), ["0", "5k", "10k", "15k", "20k"]);
        assert_eq!(Axis::to_tick(0.0, 17_000.0, 5).high, 17_000.0);
    }

    #[test]
    fn log_ticks_follow_the_range() {
        assert_eq!(labels(&Axis::log(0.01, 10.0, 6)), ["0.01", "0.1", "1", "10"]);
        assert_eq!(labels(&Axis::log(0.04, 0.6, 6)), ["0.05", "0.1", "0.2", "0.5"]);
        assert_eq!(labels(&Axis::log(1e-6, 1e-4, 6)), ["10⁻⁶", "10⁻⁵", "10⁻⁴"]);
        assert_eq!(labels(&Axis::log(0.30, 0.34, 4)), ["0.30", "0.31", "0.32", "0.33", "0.34"]);
        assert!(Axis::log(1e-250, 1e250, 6).ticks.len() <= 7);
    }

    #[test]
    fn axes_survive_what_data_may_hold() {
        for (low, high) in
            [(f64::NAN, 1.0), (f64::NEG_INFINITY, f64::INFINITY), (5.0, 5.0), (-1e-320, 1e-320), (3.0, -3.0)]
        {
            for axis in [Axis::linear(low, high, 5), Axis::log(low, high, 5)] {
                assert!(axis.high > axis.low, "{low} {high}: {axis:?}");
                assert!(axis.ticks.len() < 20, "{low} {high}: {axis:?}");
                assert!((axis.share(axis.low)).abs() < 1e-9);
                assert!((axis.share(axis.high) - 1.0).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn log_axis_at_values_marks_each_of_them() {
        let axis = Axis::log_at(&[1.0, 2.0, 4.0, 8.0, 16.0]);
        assert_eq!(labels(&axis), ["1", "2", "4", "8", "16"]);
        let gaps: Vec<f64> =
            axis.ticks.windows(2).map(|w| axis.share(w[1].value) - axis.share(w[0].value)).collect();
        assert!(gaps.iter().all(|gap| (gap - gaps[0]).abs() < 1e-12));
        assert!(Axis::log_at(&[]).ticks.is_empty());
    }
}
