//! What the augmentation of EDM does to one image: its random numbers, and the pixels.

use std::f64::consts::PI;

use flowmap_core::Noise;

use super::affine::{Affine, product, turn};
use super::{EdmAugmentation, LOG_SCALE_STD, N_LABELS, TRANSLATION_STD, TURNED};

/// Augmentation drawn for one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Drawn {
    pub(super) x_flip: bool,
    pub(super) y_flip: bool,
    /// G⁻¹ (1), x to the right and y down, or `None` for the identity.
    pub(super) inverse: Option<Affine>,
    /// All labels.
    pub(super) labels: [f64; N_LABELS],
}

impl Drawn {
    /// Draws every number, used or not, so that no option changes what another one does.
    pub(super) fn new(config: &EdmAugmentation, [_, height, width]: [usize; 3], noise: &mut Noise) -> Self {
        let takes_place = |multiplier: f64| noise.uniform() < multiplier * config.probability;
        let gates = [config.y_flip, config.scale, config.rotation, config.anisotropy, config.translation];
        let [y_flip, scale, rotation, anisotropy, translation] = gates.map(takes_place);
        let y_flip = (noise.below(2) == 1) && y_flip;
        let mut angle = || PI * (2.0 * noise.uniform() - 1.0);
        let (phi, psi) = (angle(), angle());
        let is_turned = noise.uniform() < TURNED;
        let mut normal = |is_used: bool| Some(noise.normal()).filter(|_| is_used).unwrap_or(0.0);
        let [n_1, n_2, n_3, n_4] = [scale, anisotropy, translation, translation].map(&mut normal);
        let x_flip = noise.uniform() < config.x_flip * config.probability && noise.below(2) == 1;
        let phi = if rotation { phi } else { 0.0 };
        let psi = if is_turned { psi } else { 0.0 };
        let [of_x, of_y] = [x_flip, y_flip].map(|is_mirrored| f64::from(u8::from(is_mirrored)));
        let (turned, stretched) = (phi.sin_cos(), psi.sin_cos());
        let labels =
            [of_x, of_y, n_1, turned.1 - 1.0, turned.0, n_2 * stretched.1, n_2 * stretched.0, n_3, n_4];
        if !(scale || rotation || anisotropy || translation) {
            return Self { x_flip, y_flip, inverse: None, labels };
        }
        let [s, q] = [n_1, n_2].map(|n| (LOG_SCALE_STD * n).exp2());
        let [c_x, c_y] = [(width, n_3), (height, n_4)].map(|(side, n)| TRANSLATION_STD * side as f64 * n);
        let stretch = product(product(turn(-psi), [[q.recip(), 0.0], [0.0, q]]), turn(psi));
        let a = product(turn(phi), stretch).map(|row| row.map(|value| value / s));
        let b = a.map(|row| -(row[0] * c_x + row[1] * c_y));
        Self { x_flip, y_flip, inverse: Some(Affine { a, b }), labels }
    }

    pub(super) fn apply(&self, [_, height, width]: [usize; 3], image: &mut [f32]) {
        if height == 0 || width == 0 {
            return;
        }
        for plane in image.chunks_exact_mut(height * width) {
            if self.x_flip {
                plane.chunks_exact_mut(width).for_each(<[f32]>::reverse);
            }
            if self.y_flip {
                for row in 0..height / 2 {
                    let (above, below) = plane.split_at_mut((height - 1 - row) * width);
                    above[row * width..][..width].swap_with_slice(&mut below[..width]);
                }
            }
            if let Some(inverse) = &self.inverse {
                inverse.resample(height, width, plane);
            }
        }
    }
}
