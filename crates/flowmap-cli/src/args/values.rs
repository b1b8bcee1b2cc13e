//! Values of options that are more than a number or a word.

use std::num::NonZeroU32;

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
