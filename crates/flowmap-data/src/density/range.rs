//! Ranges that the values of a config must lie in.

use crate::{Error, Result};

/// Lengths above this would leave the range where f32 has detail, and the plane of any plot.
pub(super) const MAX_LENGTH: f64 = 1e6;

/// The value, if it is a length above 0.
pub(super) fn positive(key: &str, value: f64) -> Result<f64> {
    let is_in = value > 0.0 && value <= MAX_LENGTH;
    within(key, value, is_in, "a number above 0 and at most 1e6")
}

/// The value, if it is a length of 0 or more.
pub(super) fn not_negative(key: &str, value: f64) -> Result<f64> {
    let is_in = (0.0..=MAX_LENGTH).contains(&value);
    within(key, value, is_in, "a number from 0 to 1e6")
}

/// The value, if it is a coordinate.
pub(super) fn coordinate(key: &str, value: f64) -> Result<f64> {
    let is_in = value.abs() <= MAX_LENGTH;
    within(key, value, is_in, "a number from -1e6 to 1e6")
}

fn within(key: &str, value: f64, is_in: bool, expected: &'static str) -> Result<f64> {
    let error = || Error::Config { key: key.into(), expected, found: value.to_string() };
    is_in.then_some(value).ok_or_else(error)
}
