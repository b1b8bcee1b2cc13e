//! Colors: two sequential maps and the palette of the series.
//!
//! The maps are sampled from curves in OKLCh (Ottosson 2020), whose lightness L is linear in u,
//! so that equal steps of the value look equally large, also in gray:
//!
//! density: L = 1 − 0.72 u, C = 0.15 min(1, 2.2 u) (1 − 0.12 u), h = 205° + 75° u
//! time:    L = 0.36 + 0.40 u, C = 0.05 + 0.14 sin(π (0.22 + 0.62 u)), h = 275° + 140° u
//!
//! with C reduced where sRGB ends.

/// A color in sRGB.
pub(crate) type Color = [u8; 3];

/// The paper.
pub(crate) const WHITE: Color = [255, 255, 255];
/// Titles.
pub(crate) const INK: Color = [28, 32, 38];
/// Labels, ticks and subtitles.
pub(crate) const MUTED: Color = [98, 106, 117];
/// Frames around panels.
pub(crate) const FRAME: Color = [186, 192, 201];
/// Grid lines.
pub(crate) const GRID: Color = [233, 236, 240];
/// Marks of values that are not finite.
pub(crate) const WARNING: Color = [214, 40, 57];

/// A sequential color map: equidistant knots, linear between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColorMap(&'static [Color; 17]);

/// White for nothing to indigo for much.
pub(crate) const DENSITY: ColorMap = ColorMap(&[
    [255, 255, 255],
    [225, 244, 248],
    [196, 233, 242],
    [166, 221, 238],
    [137, 208, 235],
    [108, 194, 232],
    [78, 180, 230],
    [46, 164, 228],
    [37, 148, 218],
    [38, 132, 205],
    [40, 116, 191],
    [41, 100, 177],
    [41, 84, 163],
    [40, 69, 148],
    [39, 53, 133],
    [37, 38, 118],
    [34, 22, 103],
]);

/// Indigo at t = 0 to orange at t = 1, dark enough everywhere for a line on white.
pub(crate) const TIME: ColorMap = ColorMap(&[
    [44, 47, 132],
    [62, 47, 144],
    [81, 47, 152],
    [99, 46, 158],
    [118, 46, 160],
    [137, 46, 160],
    [155, 48, 156],
    [172, 50, 150],
    [188, 55, 141],
    [202, 62, 132],
    [214, 71, 122],
    [223, 83, 111],
    [230, 96, 102],
    [235, 110, 96],
    [237, 126, 92],
    [236, 141, 94],
    [234, 156, 101],
]);

/// Colors of series, told apart in gray and by color-blind readers; they repeat after the last.
const PALETTE: [Color; 6] =
    [[40, 84, 180], [224, 112, 32], [14, 148, 136], [178, 44, 108], [138, 112, 20], [88, 80, 110]];

impl ColorMap {
    /// The color of `u`, which is clamped to [0, 1].
    pub(crate) fn at(self, u: f64) -> Color {
        let last = self.0.len() - 1;
        let place = u.clamp(0.0, 1.0) * last as f64;
        let knot = (place as usize).min(last - 1);
        mix(self.0[knot], self.0[knot + 1], (place - knot as f64) as f32)
    }
}

/// The color of series number `series_idx`.
pub(crate) fn series_color(series_idx: usize) -> Color {
    PALETTE[series_idx % PALETTE.len()]
}

/// `(1 − share) from + share to`.
pub(crate) fn mix(from: Color, to: Color, share: f32) -> Color {
    let blend = |a: u8, b: u8| (f32::from(a) + share * (f32::from(b) - f32::from(a))).round() as u8;
    [blend(from[0], to[0]), blend(from[1], to[1]), blend(from[2], to[2])]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables are rounded to 8 bits, which moves L by up to 0.003.
    const ROUNDING: f64 = 0.004;

    /// Lightness L of OKLab.
    fn lightness(color: Color) -> f64 {
        let [r, g, b] = color.map(|c| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        let l = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b).cbrt();
        let m = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b).cbrt();
        let s = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b).cbrt();
        0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s
    }

    #[test]
    fn lightness_is_linear_along_both_maps() {
        for (map, first, slope) in [(DENSITY, 1.0, -0.72), (TIME, 0.36, 0.40)] {
            for k in 0..=16 {
                let u = f64::from(k) / 16.0;
                let error = lightness(map.at(u)) - (first + slope * u);
                assert!(error.abs() < ROUNDING, "u = {u}: {error}");
            }
        }
    }

    #[test]
    fn maps_clamp_and_survive_nan() {
        assert_eq!(DENSITY.at(-3.0), WHITE);
        assert_eq!(DENSITY.at(7.0), DENSITY.at(1.0));
        let _ = DENSITY.at(f64::NAN);
    }
}
