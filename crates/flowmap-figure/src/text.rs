//! Text in the bundled font: no font of the system is needed.

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};

use crate::canvas::Canvas;
use crate::colormap::Color;

static REGULAR: &[u8] = include_bytes!("../assets/DejaVuSans-subset.ttf");
static BOLD: &[u8] = include_bytes!("../assets/DejaVuSans-Bold-subset.ttf");

/// Which of the two bundled faces to draw with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Regular,
    Bold,
}

/// Which point of the line of text is put at the given x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Center,
    Right,
}

/// How a line of text looks; `size` is the em in pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextStyle {
    pub(crate) size: f32,
    pub(crate) weight: Weight,
    pub(crate) color: Color,
}

impl TextStyle {
    /// The regular face.
    pub(crate) const fn regular(size: f32, color: Color) -> Self {
        let weight = Weight::Regular;
        Self { size, weight, color }
    }

    /// The bold face.
    pub(crate) const fn bold(size: f32, color: Color) -> Self {
        let weight = Weight::Bold;
        Self { size, weight, color }
    }

    fn font(self) -> FontRef<'static> {
        let bytes = match self.weight {
            Weight::Regular => REGULAR,
            Weight::Bold => BOLD,
        };
        FontRef::try_from_slice(bytes).expect("the bundled fonts parse: a test draws with both")
    }

    /// ab_glyph scales by ascent − descent, people by the em.
    fn scale(self, font: &FontRef<'_>) -> PxScale {
        let em = font.units_per_em().unwrap_or(2048.0);
        PxScale::from(self.size * font.height_unscaled() / em)
    }

    /// The glyphs of `text` from x = 0 on the baseline y = 0, and the width of the line in pixels.
    fn layout(self, font: &FontRef<'_>, text: &str) -> (Vec<Glyph>, f32) {
        let scale = self.scale(font);
        let scaled = font.as_scaled(scale);
        let mut x = 0.0;
        let mut glyphs = Vec::new();
        for character in text.chars() {
            // A line has no breaks and no tabs.
            let shown = if character.is_control() { ' ' } else { character };
            let id = font.glyph_id(shown);
            glyphs.push(id.with_scale_and_position(scale, point(x, 0.0)));
            x += scaled.h_advance(id);
        }
        (glyphs, x)
    }

    /// Width of `text` in pixels.
    pub(crate) fn width(self, text: &str) -> f32 {
        self.layout(&self.font(), text).1
    }

    /// `text`, or as much of it as fits into `max_width` pixels with an ellipsis at its end.
    pub(crate) fn fit(self, text: &str, max_width: f32) -> String {
        if self.width(text) <= max_width {
            return text.to_owned();
        }
        let mut kept: Vec<char> = text.chars().collect();
        while kept.pop().is_some() {
            let short: String = kept.iter().collect::<String>().trim_end().to_owned() + "…";
            if self.width(&short) <= max_width {
                return short;
            }
        }
        String::new()
    }
}

impl Canvas {
    /// Writes one line with its anchor at `x` and its baseline at `y`.
    pub(crate) fn text(&mut self, x: f32, y: f32, text: &str, style: TextStyle, align: Align) {
        let font = style.font();
        let (glyphs, width) = style.layout(&font, text);
        // A whole pixel for the origin keeps equal labels equal.
        let left = match align {
            Align::Left => x,
            Align::Center => x - width / 2.0,
            Align::Right => x - width,
        }
        .round();
        for glyph in glyphs {
            let Some(outline) = font.outline_glyph(glyph) else {
                continue; // A space has no outline.
            };
            let bounds = outline.px_bounds();
            let x0 = (left + bounds.min.x) as i64;
            let y0 = (y.round() + bounds.min.y) as i64;
            outline.draw(|dx, dy, coverage| {
                self.blend(x0 + i64::from(dx), y0 + i64::from(dy), style.color, coverage);
            });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::colormap::{INK, WHITE};

    #[test]
    fn both_fonts_hold_the_signs_that_figures_use() {
        for style in [TextStyle::regular(12.0, INK), TextStyle::bold(12.0, INK)] {
            let font = style.font();
            for sign in ('!'..='~').chain("·×→‖²αβσ∂≤≥–—…°−±⁰¹³⁴⁵⁶⁷⁸⁹⁻₀₁₂₃₄₅₆₇₈₉ΔΣθ".chars())
            {
                assert_ne!(font.glyph_id(sign).0, 0, "{sign}");
            }
        }
    }

    #[test]
    fn text_stays_in_its_box() {
        let style = TextStyle::regular(16.0, INK);
        let mut canvas = Canvas::new(120, 40).unwrap();
        canvas.text(60.0, 25.0, "Mgq", style, Align::Center);
        let half = style.width("Mgq") / 2.0 + 1.0;
        let image = canvas.into_image();
        let inked: Vec<_> = image.enumerate_pixels().filter(|(_, _, p)| p.0 != WHITE).collect();
        assert!(!inked.is_empty());
        for (x, y, _) in inked {
            assert!((x as f32 - 60.0).abs() <= half, "x = {x}");
            assert!((8..32).contains(&y), "y = {y}");
        }
    }

    #[test]
    fn long_text_is_cut_to_its_width() {
        let style = TextStyle::bold(14.0, INK);
        let short = style.fit("a title that is far too long for its panel", 90.0);
        assert!(short.ends_with('…') && style.width(&short) <= 90.0);
        assert_eq!(style.fit("short", 90.0), "short");
        assert_eq!(style.fit("anything", 0.0), "");
    }
}
