//! The range of pixels: which value is black and which is white.

use super::set::Pixels;

/// The share of values that may lie beyond [−1, 1], for the overshoot of samplers and of resizing.
const BEYOND: f64 = 0.01;

/// How far a value may lie beyond [−1, 1] without counting as such.
const SLACK: f32 = 1.05;

/// A doubt about the range of pixels: the observation, and the range that it suggests.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Doubt {
    pub seen: String,
    pub consequence: &'static str,
    pub range: String,
}

impl Doubt {
    /// Looks at all pixels; `None` if they fill their range, as images do.
    pub fn about(pixels: &Pixels) -> Option<Self> {
        match pixels {
            Pixels::Bytes(bytes) => Self::about_bytes(bytes),
            Pixels::Floats(floats) => Self::about_floats(floats),
        }
    }

    fn about_bytes(bytes: &[u8]) -> Option<Self> {
        let (min, max) = bytes.iter().fold((u8::MAX, 0), |(min, max), byte| (min.min(*byte), max.max(*byte)));
        // Pictures without a bright pixel among all of them are masks, bits or other levels than 256.
        (max < 128 && min < max).then(|| Self {
            seen: format!("whole numbers from {min} to {max}"),
            consequence: "0 is read as black and 255 as white, so that all images are dark",
            range: format!("[0, {max}], or to [0, 255] if they are meant so"),
        })
    }

    fn about_floats(floats: &[f32]) -> Option<Self> {
        let (min, max) = floats
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), value| (min.min(*value), max.max(*value)));
        let n_beyond = floats.iter().filter(|value| value.abs() > SLACK).count();
        let range = if n_beyond as f64 > BEYOND * floats.len() as f64 {
            "the values of black and white"
        } else if min >= 0.0 {
            "[0, 1]"
        } else if min.abs().max(max) <= 0.5 {
            "[-0.5, 0.5]"
        } else {
            return None;
        };
        Some(Self {
            seen: format!("values from {min} to {max}"),
            consequence: "-1 is read as black and 1 as white, so that colors are others than meant",
            range: format!("{range}, or to [-1, 1] if they are meant so"),
        })
    }
}

/// Values of which `range` are black and white, brought to [−1, 1].
pub(crate) fn to_unit(values: &mut [f32], [black, white]: [f64; 2]) {
    let scale = 2.0 / (white - black);
    values.iter_mut().for_each(|value| *value = ((f64::from(*value) - black) * scale - 1.0) as f32);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn range(pixels: Pixels) -> Option<(String, String)> {
        Doubt::about(&pixels).map(|doubt| (doubt.seen, doubt.range))
    }

    #[test]
    fn pixels_that_do_not_fill_their_range_are_in_doubt() {
        let of = |values: &[f32]| range(Pixels::Floats(values.to_vec())).map(|(_, range)| range);
        assert_eq!(of(&[-1.0, 0.0, 0.7]), None);
        assert_eq!(of(&[-0.9, -0.2]), None);
        assert!(of(&[0.0, 0.25, 1.0]).unwrap().starts_with("[0, 1], or"));
        assert!(of(&[-0.5, 0.25, 0.5]).unwrap().starts_with("[-0.5, 0.5], or"));
        assert!(of(&[-2.1, 0.1, 2.6]).unwrap().starts_with("the values of black"));
        let mut overshot = vec![-0.9; 200];
        overshot[7] = 1.3;
        assert_eq!(of(&overshot), None);
        let bytes = |bytes: &[u8]| range(Pixels::Bytes(bytes.to_vec()));
        assert_eq!(bytes(&[0, 128]), None);
        assert_eq!(bytes(&[7, 7]), None);
        let (seen, range) = bytes(&[0, 1, 1]).unwrap();
        assert_eq!((seen.as_str(), &range[..6]), ("whole numbers from 0 to 1", "[0, 1]"));
    }

    #[test]
    fn black_and_white_become_minus_one_and_one() {
        let mut values = [0.0, 0.25, 1.0];
        to_unit(&mut values, [0.0, 1.0]);
        assert_eq!(values, [-1.0, -0.5, 1.0]);
        let mut values = [-0.5, 0.0, 0.5];
        to_unit(&mut values, [-0.5, 0.5]);
        assert_eq!(values, [-1.0, 0.0, 1.0]);
    }
}
