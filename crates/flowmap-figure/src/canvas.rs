//! A white sheet of pixels with anti-aliased lines and discs.

use image::{Rgb, RgbImage};

use crate::colormap::{Color, WHITE, mix};
use crate::{Error, Result};

/// The largest side of a figure in pixels.
const MAX_SIDE: usize = 16_384;

/// An axis-aligned rectangle in pixels; y grows downward.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rect {
    pub(crate) x: i64,
    pub(crate) y: i64,
    pub(crate) width: i64,
    pub(crate) height: i64,
}

impl Rect {
    pub(crate) fn new(x: usize, y: usize, width: usize, height: usize) -> Self {
        Self { x: x as i64, y: y as i64, width: width as i64, height: height as i64 }
    }

    pub(crate) fn right(self) -> i64 {
        self.x + self.width
    }

    pub(crate) fn bottom(self) -> i64 {
        self.y + self.height
    }

    /// The rectangle of all points at most `margin` pixels away; negative margins shrink it.
    pub(crate) fn grow(self, margin: i64) -> Self {
        Self {
            x: self.x - margin,
            y: self.y - margin,
            width: self.width + 2 * margin,
            height: self.height + 2 * margin,
        }
    }
}

/// Width in pixels and opacity of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stroke {
    pub(crate) width: f32,
    pub(crate) alpha: f32,
}

/// The image while it is being drawn.
#[derive(Debug)]
pub(crate) struct Canvas {
    image: RgbImage,
}

impl Canvas {
    /// A white sheet.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub(crate) fn new(width: usize, height: usize) -> Result<Self> {
        Self::check_size(width, height)?;
        let image = RgbImage::from_pixel(width as u32, height as u32, Rgb(WHITE));
        Ok(Self { image })
    }

    /// Refuses sizes that no viewer shows.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub(crate) fn check_size(width: usize, height: usize) -> Result<()> {
        let limit = MAX_SIDE;
        if width > limit || height > limit {
            return Err(Error::TooLarge { width, height, limit });
        }
        Ok(())
    }

    /// The finished image.
    pub(crate) fn into_image(self) -> RgbImage {
        self.image
    }

    /// Lays `color` with opacity `alpha` over a pixel; pixels outside of the sheet are ignored.
    pub(crate) fn blend(&mut self, x: i64, y: i64, color: Color, alpha: f32) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
            return;
        };
        if let Some(pixel) = self.image.get_pixel_mut_checked(x, y) {
            pixel.0 = mix(pixel.0, color, alpha.clamp(0.0, 1.0));
        }
    }

    /// Fills a rectangle.
    pub(crate) fn fill(&mut self, rect: Rect, color: Color, alpha: f32) {
        for y in rect.y..rect.bottom() {
            for x in rect.x..rect.right() {
                self.blend(x, y, color, alpha);
            }
        }
    }

    /// Draws a frame of one pixel just inside the rectangle.
    pub(crate) fn frame(&mut self, rect: Rect, color: Color) {
        let Rect { x, y, width, height } = rect;
        let side = |x, y, width, height| Rect { x, y, width, height };
        self.fill(side(x, y, width, 1), color, 1.0);
        self.fill(side(x, y + height - 1, width, 1), color, 1.0);
        self.fill(side(x, y + 1, 1, height - 2), color, 1.0);
        self.fill(side(x + width - 1, y + 1, 1, height - 2), color, 1.0);
    }

    /// Draws a line through `points`, segment k in `color(k)`, inside `clip` only.
    ///
    /// A pixel takes the largest coverage of all segments, so that joints are not darker than the rest.
    /// A point that is not finite ends the line; the next finite one starts it again.
    pub(crate) fn polyline(
        &mut self,
        points: &[[f32; 2]],
        stroke: Stroke,
        clip: Rect,
        color: impl Fn(usize) -> Color,
    ) {
        let reach = stroke.width / 2.0 + 1.0;
        let Some(area) = covered(points, reach, clip) else {
            return;
        };
        // Coverage and segment of every pixel of the area.
        let mut coverage = vec![(0.0_f32, 0_usize); (area.width * area.height) as usize];
        for (segment_idx, ends) in points.windows(2).enumerate() {
            let Some(part) = covered(ends, reach, clip) else {
                continue;
            };
            if !(is_finite(ends[0]) && is_finite(ends[1])) {
                continue;
            }
            for y in part.y..part.bottom() {
                for x in part.x..part.right() {
                    let center = [x as f32 + 0.5, y as f32 + 0.5];
                    let distance = distance_to_segment(center, ends[0], ends[1]);
                    let value = (stroke.width / 2.0 + 0.5 - distance).clamp(0.0, 1.0);
                    let place = ((y - area.y) * area.width + x - area.x) as usize;
                    if value > coverage[place].0 {
                        coverage[place] = (value, segment_idx);
                    }
                }
            }
        }
        // Lines thinner than a pixel get lighter instead.
        let alpha = stroke.alpha * stroke.width.min(1.0);
        for (place, (value, segment_idx)) in coverage.into_iter().enumerate() {
            if value > 0.0 {
                let (x, y) = (place as i64 % area.width, place as i64 / area.width);
                self.blend(area.x + x, area.y + y, color(segment_idx), alpha * value);
            }
        }
    }

    /// Draws a filled disc inside `clip`; a center that is not finite draws nothing.
    pub(crate) fn disc(&mut self, center: [f32; 2], radius: f32, clip: Rect, color: Color) {
        let Some(area) = covered(&[center], radius + 1.0, clip) else {
            return;
        };
        for y in area.y..area.bottom() {
            for x in area.x..area.right() {
                let (dx, dy) = (x as f32 + 0.5 - center[0], y as f32 + 0.5 - center[1]);
                self.blend(x, y, color, radius + 0.5 - dx.hypot(dy));
            }
        }
    }
}

fn is_finite(point: [f32; 2]) -> bool {
    point[0].is_finite() && point[1].is_finite()
}

/// The part of `clip` within `reach` of the bounding box of the finite points.
fn covered(points: &[[f32; 2]], reach: f32, clip: Rect) -> Option<Rect> {
    let mut low = [f32::INFINITY; 2];
    let mut high = [f32::NEG_INFINITY; 2];
    for point in points.iter().filter(|p| is_finite(**p)) {
        for axis in 0..2 {
            low[axis] = low[axis].min(point[axis]);
            high[axis] = high[axis].max(point[axis]);
        }
    }
    // Float to integer casts saturate, so far away points are harmless.
    let x = ((low[0] - reach).floor() as i64).max(clip.x);
    let y = ((low[1] - reach).floor() as i64).max(clip.y);
    let right = ((high[0] + reach).ceil() as i64).min(clip.right());
    let bottom = ((high[1] + reach).ceil() as i64).min(clip.bottom());
    (low[0] <= high[0] && right > x && bottom > y).then_some(Rect {
        x,
        y,
        width: right.saturating_sub(x),
        height: bottom.saturating_sub(y),
    })
}

/// Distance in pixels from `p` to the segment from `a` to `b`.
fn distance_to_segment(p: [f32; 2], a: [f32; 2], b: [f32; 2]) -> f32 {
    let (ab, ap) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
    let length2 = ab[0] * ab[0] + ab[1] * ab[1];
    let share = if length2 > 0.0 { ((ap[0] * ab[0] + ap[1] * ab[1]) / length2).clamp(0.0, 1.0) } else { 0.0 };
    (ap[0] - share * ab[0]).hypot(ap[1] - share * ab[1])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BLACK: Color = [0, 0, 0];
    const OPAQUE: Stroke = Stroke { width: 2.0, alpha: 1.0 };

    #[test]
    fn line_covers_its_pixels_and_no_others() {
        let mut canvas = Canvas::new(20, 20).unwrap();
        let clip = Rect::new(0, 0, 20, 20);
        canvas.polyline(&[[2.0, 10.0], [18.0, 10.0]], OPAQUE, clip, |_| BLACK);
        let image = canvas.into_image();
        assert_eq!(image.get_pixel(10, 9).0, BLACK);
        assert_eq!(image.get_pixel(10, 10).0, BLACK);
        assert_eq!(image.get_pixel(10, 12).0, WHITE);
        assert_eq!(image.get_pixel(0, 10).0, WHITE);
    }

    #[test]
    fn drawing_respects_the_clip_and_the_gaps() {
        let mut canvas = Canvas::new(20, 20).unwrap();
        let clip = Rect::new(5, 5, 10, 10);
        let points = [[-1e30, 10.0], [8.0, 10.0], [f32::NAN, 0.0], [12.0, 10.0]];
        canvas.polyline(&points, OPAQUE, clip, |_| BLACK);
        canvas.disc([14.0, 14.0], 6.0, clip, BLACK);
        canvas.disc([f32::NAN, 14.0], 6.0, clip, BLACK);
        let image = canvas.into_image();
        for (x, y, pixel) in image.enumerate_pixels() {
            let inside = (5..15).contains(&x) && (5..15).contains(&y);
            assert!(inside || pixel.0 == WHITE, "({x}, {y})");
        }
        assert_eq!(image.get_pixel(13, 13).0, BLACK);
        assert_eq!(image.get_pixel(11, 6).0, WHITE);
    }

    #[test]
    fn huge_sheets_are_refused() {
        let error = Canvas::new(20_000, 10).unwrap_err();
        assert!(error.to_string().contains("20000 x 10"), "{error}");
    }
}
