//! Values of options that are more than a number or a word.

use std::num::NonZeroU32;

use flowmap_core::TimeGrid;
use flowmap_train::{Sampling, Weights};

/// The most sampling steps: single precision tells no more times apart.
const MAX_SAMPLING_STEPS: u32 = 1 << 24;

/// A time such as `60s`, `2m`, `1h` or `90`, in seconds.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let units = [("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, unit) = units
        .into_iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))
        .unwrap_or((text, 1.0));
    match number.trim().parse::<f64>() {
        Ok(time) if time > 0.0 && time.is_finite() => Ok(time * unit),
        _ => Err("expected a positive time such as 60s, 2m or 90".into()),
    }
}

/// A whole number of at least one.
pub(super) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1".into()),
        Ok(n) => Ok(n),
        Err(_) => Err("expected a whole number of at least 1".into()),
    }
}

/// A number of sampling steps.
pub(super) fn sampling_steps(text: &str) -> Result<NonZeroU32, String> {
    let steps = text.parse().ok().filter(|steps: &NonZeroU32| steps.get() <= MAX_SAMPLING_STEPS);
    steps.ok_or_else(|| format!("expected a whole number from 1 to {MAX_SAMPLING_STEPS}"))
}

/// A number of optimizer steps, which a config can hold.
pub(super) fn training_steps(text: &str) -> Result<u64, String> {
    let steps = text.parse().ok().filter(|steps| (1..=i64::MAX as u64).contains(steps));
    steps.ok_or_else(|| format!("expected a whole number from 1 to {}", i64::MAX))
}

/// A seed.
pub(super) fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a whole number from 0 to {}", u64::MAX))
}

/// Times that rise from the noise at 0 toward the data.
pub(super) fn times(text: &str) -> Result<TimeGrid, String> {
    let grid: TimeGrid = text.parse().map_err(|error: flowmap_core::Error| error.to_string())?;
    match grid.times().first() {
        Some(0.0) => Ok(grid),
        _ => Err("expected times that rise from 0, the time of the noise".into()),
    }
}

/// A sampler by its name.
pub(super) fn sampler(text: &str) -> Result<Sampling, String> {
    text.parse().map_err(|error: flowmap_sample::Error| error.to_string())
}

/// A scale of guidance.
pub(super) fn guidance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if scale.is_finite() => Ok(scale),
        _ => Err("expected a finite number".into()),
    }
}

/// An interval of times.
pub(super) fn interval(text: &str) -> Result<[f64; 2], String> {
    let ends = text.split_once(',').and_then(|(a, b)| Some([a.trim().parse().ok()?, b.trim().parse().ok()?]));
    ends.filter(|[a, b]: &[f64; 2]| (0.0..=1.0).contains(a) && (*a..=1.0).contains(b))
        .ok_or_else(|| "expected two times A,B with 0 <= A <= B <= 1".into())
}

/// The decay of a moving average, or `none`.
pub(super) fn ema(text: &str) -> Result<Weights, String> {
    match text {
        "none" => Ok(Weights::Live),
        decay => match decay.parse() {
            Ok(decay) => Ok(Weights::Ema(decay)),
            Err(_) => Err("expected a decay such as 0.999, or `none`".into()),
        },
    }
}
