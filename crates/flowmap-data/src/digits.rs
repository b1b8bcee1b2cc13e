//! The digits of scikit-learn: 1797 real handwritten digits of 8 x 8 pixels, shipped with this crate.
//!
//! E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
//! as packed by scikit-learn; the license is in assets/digits.LICENSE.txt.
//! Pixels count the ink in 4 x 4 blocks of a bitmap, 0 to 16; here p/8 − 1, so that they lie in [−1, 1].

use std::io::Read;

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};

use crate::{FiniteSet, Result};

/// A line for each image: 64 pixels, row by row, and the label, separated by commas.
static DIGITS_CSV_GZ: &[u8] = include_bytes!("../assets/digits.csv.gz");

/// Images in the file, for the size of the buffers.
const N_IMAGES: usize = 1797;

/// Height and width of an image.
const SIDE: usize = 8;

/// The shipped digits; there is nothing to choose.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigitsConfig {}

/// The 1797 digits, of shape `[1, 8, 8]`, pixels in [−1, 1], labels 0 to 9; unpacked at each call.
///
/// ```
/// use flowmap_data::DataSet;
///
/// let digits = flowmap_data::digits()?;
/// assert_eq!((digits.shape(), digits.n_samples()), (&[1, 8, 8][..], Some(1797)));
/// # Ok::<(), flowmap_data::Error>(())
/// ```
///
/// # Errors
/// None in practice: the file is part of the program and a test reads it.
pub fn digits() -> Result<FiniteSet> {
    let mut text = String::new();
    GzDecoder::new(DIGITS_CSV_GZ).read_to_string(&mut text).expect("the shipped file unpacks, as tested");
    let mut values = Vec::with_capacity(N_IMAGES * SIDE * SIDE);
    let mut labels = Vec::with_capacity(N_IMAGES);
    for line in text.lines() {
        let numbers = line.split(',').filter_map(|field| field.parse::<u8>().ok());
        values.extend(numbers.clone().take(SIDE * SIDE).map(|pixel| f32::from(pixel) / 8.0 - 1.0));
        labels.extend(numbers.skip(SIDE * SIDE).map(u32::from));
    }
    let digits = FiniteSet::new("digits", vec![1, SIDE, SIDE], values, Some(labels))?;
    Ok(digits.with_class_names((0..10).map(|digit| digit.to_string())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::DataSet;

    /// Sums of f64 in another order.
    const TOLERANCE: f64 = 1e-12;

    #[test]
    fn digits_are_those_of_scikit_learn() {
        let digits = digits().unwrap();
        assert_eq!((digits.n_samples(), digits.n_classes()), (Some(1797), 10));
        assert_eq!((digits.shape(), digits.extent()), (&[1, 8, 8][..], None));
        // Class counts, mean and standard deviation of all pixels as NumPy gives them for the same file.
        let mut counts = [0; 10];
        digits.labels().unwrap().iter().for_each(|label| counts[*label as usize] += 1);
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        let mean = digits.values().iter().map(|v| f64::from(*v)).sum::<f64>() / digits.values().len() as f64;
        assert!((mean - MEAN).abs() < TOLERANCE, "mean {mean}");
        assert!((digits.sigma() - SIGMA).abs() < TOLERANCE, "sigma {}", digits.sigma());
        assert!(digits.values().iter().all(|v| (-1.0..=1.0).contains(v) && (v * 8.0).fract() == 0.0));
        // The first image is a zero.
        assert_eq!(digits.values()[..8], [-1.0, -1.0, -0.375, 0.625, 0.125, -0.875, -1.0, -1.0]);
        assert_eq!(digits.labels().unwrap()[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    const MEAN: f64 = -0.3894794275180857;
    const SIGMA: f64 = 0.7520984435840296;
}
