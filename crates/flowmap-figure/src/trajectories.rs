//! Paths from noise to data in the plane.

use image::RgbImage;

use crate::canvas::{Canvas, Rect, Stroke};
use crate::colormap::{FRAME, INK, MUTED, TIME, WHITE, mix};
use crate::density::{Density, blur_for, check_points};
use crate::samples::{window_ticks, with_skipped};
use crate::text::{Align, TextStyle};
use crate::{Error, Result};

/// Side of the window in pixels.
const SIDE: usize = 560;
/// Room above for the title, around for the ticks and at the right for the color bar.
const HEADER: usize = 48;
const LEFT: usize = 52;
const RIGHT: usize = 84;
const FOOTER: usize = 40;
/// The darkest shade of the data behind the paths.
const SHADE: [u8; 3] = [205, 210, 218];

const TITLE: TextStyle = TextStyle::bold(17.0, INK);
const LABEL: TextStyle = TextStyle::regular(12.0, MUTED);
/// More paths are drawn thinner.
const MANY: usize = 150;

/// Paths in the plane, colored by time, over the density of the data.
///
/// `paths` is `(n_paths, n_times, 2)` row-major, at equidistant times from t = 0 (hollow dot) to t = 1 (filled dot).
/// `background` has points of the data, `(m, 2)` row-major, and may be empty.
/// The window is `[-extent, extent]²`; points that are not finite interrupt their path.
///
/// # Errors
/// [`Error::Zero`] if `n_times` is 0, [`Error::Ragged`] if the values are no whole paths or points,
/// [`Error::Extent`].
///
/// # Example
/// ```
/// use flowmap_figure::trajectories_2d;
///
/// # fn main() -> Result<(), flowmap_figure::Error> {
/// let two_paths_of_three_points = [0.0, 0.0, 0.5, 0.2, 1.0, 1.0, 0.1, 0.0, -0.5, 0.1, -1.0, 1.0];
/// let image = trajectories_2d(&two_paths_of_three_points, 3, &[], 4.0, "From noise to data")?;
/// assert!(image.width() > 560);
/// # Ok(())
/// # }
/// ```
pub fn trajectories_2d(
    paths: &[f32],
    n_times: usize,
    background: &[f32],
    extent: f64,
    title: &str,
) -> Result<RgbImage> {
    if n_times == 0 {
        return Err(Error::Zero { what: "the number of times" });
    }
    check_points("background", background, extent)?;
    let row = n_times.saturating_mul(2);
    if !paths.len().is_multiple_of(row) {
        return Err(Error::Ragged { what: "paths".to_owned(), len: paths.len(), row });
    }
    let mut canvas = Canvas::new(LEFT + SIDE + RIGHT, HEADER + SIDE + FOOTER)?;
    let area = Rect::new(LEFT, HEADER, SIDE, SIDE);
    shade(&mut canvas, area, background, extent);
    canvas.frame(area.grow(1), FRAME);
    window_ticks(&mut canvas, area, extent, true);
    draw_color_bar(&mut canvas, area);

    let paths: Vec<Vec<[f32; 2]>> = paths
        .chunks_exact(row)
        .map(|path| path.chunks_exact(2).map(|p| to_pixel(p, area, extent)).collect())
        .collect();
    let stroke = Stroke {
        width: if paths.len() > MANY { 1.0 } else { 1.5 },
        alpha: if paths.len() > MANY { 0.55 } else { 0.85 },
    };
    let radius = if paths.len() > MANY { 2.0 } else { 3.0 };
    let n_segments = (n_times - 1).max(1) as f64;
    for path in &paths {
        canvas.polyline(path, stroke, area, |segment_idx| TIME.at((segment_idx as f64 + 0.5) / n_segments));
    }
    // The dots of all paths lie above all lines.
    for start in paths.iter().filter_map(|path| path.first()) {
        canvas.disc(*start, radius, area, TIME.at(0.0));
        canvas.disc(*start, radius - 1.3, area, WHITE);
    }
    for end in paths.iter().filter_map(|path| path.last()) {
        canvas.disc(*end, radius + 1.0, area, WHITE);
        canvas.disc(*end, radius, area, TIME.at(1.0));
    }
    let is_gap = |p: &&[f32; 2]| !(p[0].is_finite() && p[1].is_finite());
    let n_skipped = paths.iter().flatten().filter(is_gap).count();
    let title = TITLE.fit(&with_skipped(title, n_skipped), SIDE as f32);
    canvas.text(LEFT as f32, 30.0, &title, TITLE, Align::Left);
    Ok(canvas.into_image())
}

/// Pixel coordinates of a point of the plane; NaN stays NaN.
fn to_pixel(point: &[f32], area: Rect, extent: f64) -> [f32; 2] {
    let side = area.width as f64;
    let share = |value: f32| (f64::from(value) + extent) / (2.0 * extent);
    [(area.x as f64 + share(point[0]) * side) as f32, (area.bottom() as f64 - share(point[1]) * side) as f32]
}

/// The density of the data in light gray.
fn shade(canvas: &mut Canvas, area: Rect, background: &[f32], extent: f64) {
    // Two pixels a bin.
    let n_bins = SIDE / 2;
    let mut density = Density::new(background, extent, n_bins);
    density.smooth(blur_for(density.n_finite, n_bins));
    let Some(scale) = density.scale() else {
        return;
    };
    for row in 0..SIDE {
        for column in 0..SIDE {
            let u = (density.at(column / 2, row / 2) / scale).min(1.0);
            let color = mix(WHITE, SHADE, u as f32);
            canvas.blend(area.x + column as i64, area.y + row as i64, color, 1.0);
        }
    }
}

/// A vertical bar with the colors of time, t = 0 below and t = 1 above.
fn draw_color_bar(canvas: &mut Canvas, area: Rect) {
    let (x, width, height) = (area.right() + 22, 10, 180);
    let top = area.bottom() - height;
    for row in 0..height {
        let line = Rect { x, y: top + row, width, height: 1 };
        let u = 1.0 - (row as f64 + 0.5) / height as f64;
        canvas.fill(line, TIME.at(u), 1.0);
    }
    let label_x = (x + width + 7) as f32;
    for (text, y) in [("t = 1", top + 9), ("t = 0", area.bottom())] {
        canvas.text(label_x, y as f32, text, LABEL, Align::Left);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(image: &RgbImage, x: f64, y: f64) -> [u8; 3] {
        let side = SIDE as f64;
        let column = LEFT as f64 + (x + 1.0) / 2.0 * side;
        let row = HEADER as f64 + (1.0 - y) / 2.0 * side;
        image.get_pixel(column as u32, row as u32).0
    }

    #[test]
    fn path_starts_hollow_and_ends_filled() {
        let image = trajectories_2d(&[-0.5, -0.5, 0.5, 0.5], 2, &[], 1.0, "").unwrap();
        assert_eq!(at(&image, -0.5, -0.5), WHITE);
        assert_eq!(at(&image, 0.5, 0.5), TIME.at(1.0));
        assert_ne!(at(&image, 0.0, 0.0), WHITE);
        assert_eq!(at(&image, 0.5, -0.5), WHITE);
    }

    #[test]
    fn background_shades_its_corner() {
        let image = trajectories_2d(&[], 4, &[-0.9, 0.9], 1.0, "").unwrap();
        assert_ne!(at(&image, -0.9, 0.9), WHITE);
        assert_eq!(at(&image, 0.9, 0.9), WHITE);
    }

    #[test]
    fn gaps_and_far_points_are_drawn_around() {
        let paths = [f32::NAN, 0.0, 0.1, 0.1, 1e38, -1e38, 0.2, f32::INFINITY];
        assert!(trajectories_2d(&paths, 4, &[f32::NAN, 0.0], 1.0, "t").is_ok());
    }

    #[test]
    fn ragged_paths_are_named() {
        let error = trajectories_2d(&[0.0; 10], 2, &[], 1.0, "").unwrap_err();
        assert_eq!(error.to_string(), "paths: 10 values do not divide into rows of 4");
        assert!(trajectories_2d(&[], 0, &[], 1.0, "").is_err());
        assert!(trajectories_2d(&[], usize::MAX, &[], 1.0, "").is_ok());
        assert!(trajectories_2d(&[], 2, &[1.0], 1.0, "").is_err());
        for extent in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = trajectories_2d(&[], 2, &[], extent, "").unwrap_err();
            assert!(error.to_string().starts_with("extent "), "{error}");
        }
    }
}
