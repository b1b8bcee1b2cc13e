//! Augmentation: what is done to the images of a training batch, and to no others.
//!
//! EDM's geometric pipeline, as one affine map about the middle of the image: y(p) = x(G⁻¹ p), p in pixels,
//!
//! G⁻¹ = S(s)⁻¹ R(φ) · R(−ψ) diag(1/q, q) R(ψ) · T(−c),   s = 2^(0.2 n₁), q = 2^(0.2 n₂), c = (W n₃, H n₄)/8        (1)
//!
//! with n_i ~ N(0, 1), φ ~ U[−π, π], and ψ ~ U[−π, π] or 0, each with probability ½. Each of the four, and before them
//! the mirror images left to right and top to bottom, takes place with probability `probability`, independently of the others.
//!
//! What was done comes as labels for the network: of each part that may take place, in this order,
//!
//! mirrored, mirrored (0 or 1), n₁, (cos φ − 1, sin φ), (n₂ cos ψ, n₂ sin ψ), (n₃, n₄), zeros where it did not
//!
//! Karras, Aittala, Aila, Laine 2022, arXiv:2206.00364, appendix F.2 and table 6, with the constants of the authors' code.
//! Values between pixels are as there, by wavelets (`affine.rs`).
//! Differs from the paper: the mirror image left to right is left out unless `x_flip` asks for it, since the option `flip`
//! of the data makes one that the network is not told of; EDM's takes place always, which is `x_flip` 1e8.

mod affine;
mod drawn;

use drawn::Drawn;
use flowmap_core::NoiseStream;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// EDM's probability, for CIFAR-10 and ImageNet; 0.15 for FFHQ and AFHQ.
const PROBABILITY: f64 = 0.12;
/// Standard deviation of the binary logarithms of scale and anisotropy.
const LOG_SCALE_STD: f64 = 0.2;
/// Probability that anisotropic scaling is along turned axes.
const TURNED: f64 = 0.5;
/// Labels of all parts.
const N_LABELS: usize = 9;
/// Standard deviation of the translation, in widths and heights of the image.
const TRANSLATION_STD: f64 = 0.125;

/// Augmentation of the images of a training batch; in a file, `kind` names it.
///
/// ```
/// use flowmap_core::{NoiseStream, Stream};
/// use flowmap_data::Augmentation;
///
/// let augmentation: Augmentation = toml::from_str("kind = 'edm'\nprobability = 1.0")?;
/// let augmenter = augmentation.checked(&[1, 4, 4])?;
/// let mut images: Vec<f32> = (0..2 * 16).map(|i| i as f32 / 31.0).collect();
/// let before = images.clone();
/// augmenter.apply(&NoiseStream::new(1, Stream::Augmentation), 0, &mut images);
/// assert_ne!(images, before);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Augmentation {
    /// Nothing.
    None {},
    /// EDM's geometric pipeline.
    Edm(EdmAugmentation),
}

impl Default for Augmentation {
    fn default() -> Self {
        Self::None {}
    }
}

/// How often each part of EDM's pipeline takes place.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EdmAugmentation {
    /// Probability of each part.
    pub probability: f64,
    /// Multiplies the probability of a mirror image left to right, which half of the images chosen for it become.
    pub x_flip: f64,
    /// Multiplies the probability of a mirror image top to bottom, which half of the images chosen for it become.
    pub y_flip: f64,
    /// Multiplies the probability of a change of scale.
    pub scale: f64,
    /// Multiplies the probability of a rotation.
    pub rotation: f64,
    /// Multiplies the probability of a stretch that keeps areas.
    pub anisotropy: f64,
    /// Multiplies the probability of a translation.
    pub translation: f64,
}

impl Default for EdmAugmentation {
    fn default() -> Self {
        Self {
            probability: PROBABILITY,
            x_flip: 0.0,
            y_flip: 1.0,
            scale: 1.0,
            rotation: 1.0,
            anisotropy: 1.0,
            translation: 1.0,
        }
    }
}

impl Augmentation {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Config`] for a probability outside of [0, 1] and a multiplier that is negative or not finite.
    pub fn validate(&self) -> Result<()> {
        let Self::Edm(config) = self else { return Ok(()) };
        if !(0.0..=1.0).contains(&config.probability) {
            return refuse("probability", "a number from 0 to 1", config.probability.to_string());
        }
        for (key, multiplier) in [
            ("x_flip", config.x_flip),
            ("y_flip", config.y_flip),
            ("scale", config.scale),
            ("rotation", config.rotation),
            ("anisotropy", config.anisotropy),
            ("translation", config.translation),
        ] {
            if !(multiplier >= 0.0 && multiplier.is_finite()) {
                return refuse(key, "a number of at least 0", multiplier.to_string());
            }
        }
        Ok(())
    }

    /// How many labels tell what was done to an image.
    pub fn n_labels(&self) -> usize {
        match self {
            Self::None {} => 0,
            Self::Edm(config) => config.has_labels().iter().filter(|has| **has).count(),
        }
    }

    /// The augmentation of samples of `shape`.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), and [`Error::Config`] for samples that are no images.
    pub fn checked(&self, shape: &[usize]) -> Result<Augmenter> {
        self.validate()?;
        match (self, <[usize; 3]>::try_from(shape)) {
            (Self::None {}, _) => Ok(Augmenter { config: None, shape: [0; 3] }),
            (Self::Edm(config), Ok(shape)) => Ok(Augmenter { config: Some(*config), shape }),
            (Self::Edm(_), Err(_)) => {
                refuse("kind", "`none`, since the samples are no images", "`edm`".into())
            }
        }
    }
}

impl EdmAugmentation {
    /// Whether each label is in use: a label is, if its part may take place.
    fn has_labels(&self) -> [bool; N_LABELS] {
        let [x_flip, y_flip] = [self.x_flip, self.y_flip];
        let [scale, rotation] = [self.scale, self.rotation];
        let [anisotropy, translation] = [self.anisotropy, self.translation];
        [x_flip, y_flip, scale, rotation, rotation, anisotropy, anisotropy, translation, translation]
            .map(|multiplier| multiplier > 0.0)
    }
}

fn refuse<T>(key: &str, expected: &'static str, found: String) -> Result<T> {
    Err(Error::Config { key: format!("augmentation.{key}"), expected, found })
}

/// An augmentation that is ready for images of one shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Augmenter {
    config: Option<EdmAugmentation>,
    shape: [usize; 3],
}

impl Augmenter {
    /// How many labels tell what was done to an image.
    pub fn n_labels(&self) -> usize {
        self.config.map_or(0, |config| Augmentation::Edm(config).n_labels())
    }

    /// Augments the images `x` `(B, C, H, W)`, row-major, in place; image i by the noise at `first + i`.
    /// Returns the labels of what was done to each, `(B, n_labels)`.
    pub fn apply(&self, stream: &NoiseStream, first: u64, x: &mut [f32]) -> Vec<f32> {
        let Some(config) = &self.config else { return Vec::new() };
        let image = self.shape.iter().product::<usize>().max(1);
        let has_labels = config.has_labels();
        let augment = |(row, image): (usize, &mut [f32])| {
            let drawn = Drawn::new(config, self.shape, &mut stream.at(first.wrapping_add(row as u64)));
            drawn.apply(self.shape, image);
            let labels = drawn.labels.into_iter().zip(has_labels);
            labels.filter(|(_, has)| *has).map(|(label, _)| label as f32).collect::<Vec<_>>()
        };
        x.par_chunks_exact_mut(image).enumerate().flat_map_iter(augment).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flowmap_core::Stream;

    use super::affine::{Affine, product, turn};
    use super::*;

    /// Draws for the statistics; moments agree to this many standard errors.
    const N_DRAWS: u64 = 20_000;
    const N_STANDARD_ERRORS: f64 = 4.0;
    const SQUARE: [usize; 3] = [1, 16, 16];
    const IDENTITY: Drawn = Drawn { x_flip: false, y_flip: false, inverse: None, labels: [0.0; N_LABELS] };

    fn stream() -> NoiseStream {
        NoiseStream::new(5, Stream::Augmentation)
    }

    fn drawn(config: &EdmAugmentation) -> impl Iterator<Item = Drawn> {
        (0..N_DRAWS).map(|i| Drawn::new(config, SQUARE, &mut stream().at(i)))
    }

    fn mean_is(expected: f64, std: f64, values: impl Iterator<Item = f64>) {
        let mean = values.sum::<f64>() / N_DRAWS as f64;
        let error = std / (N_DRAWS as f64).sqrt();
        assert!((mean - expected).abs() < N_STANDARD_ERRORS * error, "{mean}, expected {expected}");
    }

    fn always() -> EdmAugmentation {
        EdmAugmentation { probability: 1.0, ..EdmAugmentation::default() }
    }

    #[test]
    fn each_part_takes_place_with_its_probability() {
        let is_moved = |drawn: Drawn| f64::from(drawn.inverse.is_some());
        let share = 1.0 - 0.88f64.powi(4);
        mean_is(share, 0.5, drawn(&EdmAugmentation::default()).map(is_moved));
        // Half of those chosen for a mirror image are turned over.
        mean_is(0.06, 0.25, drawn(&EdmAugmentation::default()).map(|drawn| f64::from(drawn.y_flip)));
        let half = EdmAugmentation { rotation: 0.0, scale: 0.0, anisotropy: 0.0, ..always() };
        mean_is(0.5, 0.5, drawn(&EdmAugmentation { probability: 0.5, ..half }).map(is_moved));
        let none = EdmAugmentation { probability: 0.0, ..always() };
        assert!(drawn(&none).all(|drawn| drawn == IDENTITY));
    }

    #[test]
    fn sizes_of_all_parts_are_those_of_edm() {
        let moves: Vec<Affine> = drawn(&always()).map(|drawn| drawn.inverse.unwrap()).collect();
        let determinant = |m: &Affine| m.a[0][0] * m.a[1][1] - m.a[0][1] * m.a[1][0];
        // Rotation and stretch keep areas, so that det G⁻¹ = s⁻², of logarithm −2 · 0.2 n.
        let log_s = |m: &Affine| -0.5 * determinant(m).log2();
        mean_is(0.0, 0.2, moves.iter().map(log_s));
        mean_is(0.04, 0.04 * 2f64.sqrt(), moves.iter().map(|m| log_s(m).powi(2)));
        // The stretch alone: the trace of AᵀA is q² + q⁻² = 2 cosh(2 · 0.2 ln 2 n), whose mean is 2 exp(½ (0.4 ln 2)²).
        let stretch = EdmAugmentation { scale: 0.0, ..always() };
        let squares = |drawn: Drawn| drawn.inverse.unwrap().a.iter().flatten().map(|a| a * a).sum::<f64>();
        mean_is(2.0 * (0.5 * (0.4 * 2f64.ln()).powi(2)).exp(), 0.25, drawn(&stretch).map(squares));
        // The translation alone: an eighth of 16 pixels.
        let shift = EdmAugmentation { scale: 0.0, rotation: 0.0, anisotropy: 0.0, ..always() };
        mean_is(4.0, 4.0 * 2f64.sqrt(), drawn(&shift).map(|drawn| drawn.inverse.unwrap().b[1].powi(2)));
        // The rotation alone: uniform, so that the mean of its cosine is 0 and that of its square ½.
        let turn = EdmAugmentation { scale: 0.0, translation: 0.0, anisotropy: 0.0, ..always() };
        let cos = |drawn: Drawn| drawn.inverse.unwrap().a[0][0];
        mean_is(0.0, 0.5f64.sqrt(), drawn(&turn).map(cos));
        mean_is(0.5, 0.125f64.sqrt(), drawn(&turn).map(|drawn| cos(drawn).powi(2)));
    }

    #[test]
    fn labels_tell_what_was_done() {
        let everything = EdmAugmentation { x_flip: 1e8, ..always() };
        for drawn in drawn(&everything).take(100) {
            let [mirrored_x, mirrored_y, n_1, cos, sin, x, y, n_3, n_4] = drawn.labels;
            assert_eq!((mirrored_x == 1.0, mirrored_y == 1.0), (drawn.x_flip, drawn.y_flip));
            // G⁻¹ made of the labels, which leave open whether n₂ is negative or ψ turned by half.
            let (phi, psi, q) = (sin.atan2(cos + 1.0), y.atan2(x), (0.2 * x.hypot(y)).exp2());
            let found = drawn.inverse.unwrap();
            let is_made = |q: f64| {
                let stretch = product(product(turn(-psi), [[q.recip(), 0.0], [0.0, q]]), turn(psi));
                let a = product(turn(phi), stretch).map(|row| row.map(|value| value / (0.2 * n_1).exp2()));
                a.iter().flatten().zip(found.a.iter().flatten()).all(|(a, found)| (a - found).abs() < 1e-12)
            };
            assert!(is_made(q) || is_made(q.recip()), "{drawn:?}");
            let b = found.a.map(|row| -2.0 * (row[0] * n_3 + row[1] * n_4));
            assert!(b.iter().zip(found.b).all(|(a, b)| (a - b).abs() < 1e-12));
        }
        // Half of all images are mirrored by EDM's multiplier, whatever the probability.
        let of_edm = EdmAugmentation { x_flip: 1e8, ..EdmAugmentation::default() };
        mean_is(0.5, 0.5, drawn(&of_edm).map(|drawn| drawn.labels[0]));
    }

    #[test]
    fn network_is_told_of_the_parts_that_may_take_place() {
        let mean_flow = EdmAugmentation { x_flip: 1e8, y_flip: 0.0, rotation: 0.0, ..always() };
        let augmentation = Augmentation::Edm(mean_flow);
        assert_eq!((augmentation.n_labels(), Augmentation::default().n_labels()), (6, 0));
        assert_eq!(Augmentation::Edm(EdmAugmentation { x_flip: 1e8, ..always() }).n_labels(), 9);
        let mut images = vec![0.5f32; 3 * 256];
        let labels = augmentation.checked(&SQUARE).unwrap().apply(&stream(), 7, &mut images);
        let expected = (7..10).flat_map(|i| {
            let [x_flip, _, n_1, _, _, x, y, n_3, n_4] =
                Drawn::new(&mean_flow, SQUARE, &mut stream().at(i)).labels;
            [x_flip, n_1, x, y, n_3, n_4].map(|label| label as f32)
        });
        assert_eq!(labels, expected.collect::<Vec<_>>());
    }

    #[test]
    fn parts_do_not_change_one_another() {
        let without = EdmAugmentation { rotation: 0.0, anisotropy: 0.0, ..always() };
        for (with, without) in drawn(&always()).zip(drawn(&without)).take(100) {
            let (with, without) = (with.inverse.unwrap(), without.inverse.unwrap());
            let determinant = |m: &Affine| m.a[0][0] * m.a[1][1] - m.a[0][1] * m.a[1][0];
            assert!((determinant(&with) / determinant(&without) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn image_depends_on_its_index_alone() {
        let augmenter = Augmentation::Edm(always()).checked(&[2, 4, 5]).unwrap();
        let images: Vec<f32> = (0..3 * 40).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut whole = images.clone();
        augmenter.apply(&stream(), 7, &mut whole);
        for (row, expected) in whole.chunks_exact(40).enumerate() {
            let mut alone = images[40 * row..][..40].to_vec();
            augmenter.apply(&stream(), 7 + row as u64, &mut alone);
            assert_eq!(alone, expected);
        }
        let mut same = images.clone();
        Augmentation::default().checked(&[40]).unwrap().apply(&stream(), 7, &mut same);
        assert_eq!(same, images);
    }

    #[test]
    fn mirror_images_are_top_to_bottom_and_left_to_right() {
        let mut image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        Drawn { y_flip: true, ..IDENTITY }.apply([1, 3, 2], &mut image);
        assert_eq!(image, [5.0, 6.0, 3.0, 4.0, 1.0, 2.0]);
        Drawn { x_flip: true, ..IDENTITY }.apply([1, 3, 2], &mut image);
        assert_eq!(image, [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        let refusal = |config: EdmAugmentation, shape: &[usize]| {
            Augmentation::Edm(config).checked(shape).unwrap_err().to_string()
        };
        let found = refusal(EdmAugmentation { probability: 1.5, ..always() }, &SQUARE);
        assert_eq!(found, "`augmentation.probability`: expected a number from 0 to 1, found 1.5");
        let found = refusal(EdmAugmentation { y_flip: f64::NAN, ..always() }, &SQUARE);
        assert_eq!(found, "`augmentation.y_flip`: expected a number of at least 0, found NaN");
        let found = refusal(always(), &[2]);
        assert_eq!(
            found,
            "`augmentation.kind`: expected `none`, since the samples are no images, found `edm`"
        );
    }
}
