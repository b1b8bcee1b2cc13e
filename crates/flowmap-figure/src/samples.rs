//! Points in the plane as densities, side by side.

use image::RgbImage;

use crate::canvas::{Canvas, Rect};
use crate::colormap::{DENSITY, FRAME, INK, MUTED};
use crate::density::{Density, blur_for, check_points};
use crate::text::{Align, TextStyle};
use crate::{Error, Result};

/// Side of a panel in pixels, and bins along it.
const PANEL: usize = 250;
/// Panels in a row at most.
const MAX_COLUMNS: usize = 6;
/// Room between panels.
const GAP: usize = 22;
/// Room for titles above, tick labels below and at the left, and the border of the figure.
const HEADER: usize = 56;
const FOOTER: usize = 26;
const LEFT: usize = 38;
const BORDER: usize = 18;
/// Below 1, so that a few stray points are visible next to full density.
const GAMMA: f64 = 0.8;

const TITLE: TextStyle = TextStyle::bold(18.0, INK);
const SUBTITLE: TextStyle = TextStyle::regular(14.5, MUTED);
const TICK: TextStyle = TextStyle::regular(13.0, MUTED);

/// One panel of [`samples_2d`].
#[derive(Clone, Copy, Debug)]
pub struct Panel2d<'a> {
    /// Bold line above, such as `N = 4`.
    pub title: &'a str,
    /// Gray line below the title, such as `KL 0.123`; may be empty.
    pub subtitle: &'a str,
    /// The points, `(n, 2)` row-major.
    pub points: &'a [f32],
}

/// Densities of samples side by side, at most six in a row, on the window `[-extent, extent]²`.
///
/// All panels share one color scale, which the first panel with points (the data, by custom) sets,
/// and one slight blur, which the panel with the fewest points sets.
/// Points outside of the window are not shown.
///
/// # Errors
/// [`Error::Zero`] without panels, [`Error::Ragged`] if points are not pairs,
/// [`Error::Extent`], [`Error::TooLarge`].
///
/// # Example
/// ```
/// use flowmap_figure::{Panel2d, samples_2d};
///
/// # fn main() -> Result<(), flowmap_figure::Error> {
/// let data = [1.0, 1.0, -1.0, -1.0];
/// let one_step = [0.9, 1.2, -1.1, f32::NAN];
/// let panels = [
///     Panel2d { title: "data", subtitle: "", points: &data },
///     Panel2d { title: "N = 1", subtitle: "KL 0.123", points: &one_step },
/// ];
/// let image = samples_2d(&panels, 4.0)?;
/// assert!(image.width() > image.height());
/// # Ok(())
/// # }
/// ```
pub fn samples_2d(panels: &[Panel2d<'_>], extent: f64) -> Result<RgbImage> {
    for panel in panels {
        check_points(&format!("panel `{}`", panel.title), panel.points, extent)?;
    }
    if panels.is_empty() {
        return Err(Error::Zero { what: "the number of panels" });
    }
    let mut densities: Vec<Density> =
        panels.iter().map(|panel| Density::new(panel.points, extent, PANEL)).collect();
    let fewest = densities.iter().map(|density| density.n_finite).filter(|n| *n > 0).min();
    let blur = blur_for(fewest.unwrap_or(0), PANEL);
    densities.iter_mut().for_each(|density| density.smooth(blur));
    let scale = densities.iter().find_map(Density::scale).unwrap_or(1.0);

    // One height for all titles, with room for subtitles if there are any.
    let has_subtitle = panels.iter().any(|panel| !panel.subtitle.is_empty())
        || densities.iter().any(|density| density.n_skipped > 0);
    let title_rise = if has_subtitle { 31.0 } else { 11.0 };

    // Rows of equal length where possible: 8 panels are 4 + 4.
    let n_rows = panels.len().div_ceil(MAX_COLUMNS);
    let n_columns = panels.len().div_ceil(n_rows);
    let row_height = HEADER + PANEL + FOOTER;
    let width = LEFT + n_columns * (PANEL + GAP) - GAP + BORDER + BORDER;
    let mut canvas = Canvas::new(width, n_rows * row_height + BORDER)?;
    for (panel_idx, (panel, density)) in panels.iter().zip(&densities).enumerate() {
        let (row, column) = (panel_idx / n_columns, panel_idx % n_columns);
        let x = BORDER + LEFT + column * (PANEL + GAP);
        let y = row * row_height + HEADER + BORDER / 2;
        let area = Rect::new(x, y, PANEL, PANEL);
        for bin_row in 0..PANEL {
            for bin_column in 0..PANEL {
                let u = (density.at(bin_column, bin_row) / scale).powf(GAMMA);
                let (px, py) = (area.x + bin_column as i64, area.y + bin_row as i64);
                canvas.blend(px, py, DENSITY.at(u), 1.0);
            }
        }
        canvas.frame(area.grow(1), FRAME);
        titles(&mut canvas, area, panel, density.n_skipped, title_rise);
        window_ticks(&mut canvas, area, extent, column == 0);
    }
    Ok(canvas.into_image())
}

/// Title and subtitle above a panel.
fn titles(canvas: &mut Canvas, area: Rect, panel: &Panel2d<'_>, n_skipped: usize, title_rise: f32) {
    let (x, y, width) = (area.x as f32, area.y as f32, area.width as f32);
    let subtitle = with_skipped(panel.subtitle, n_skipped);
    canvas.text(x, y - title_rise, &TITLE.fit(panel.title, width), TITLE, Align::Left);
    canvas.text(x, y - 10.0, &SUBTITLE.fit(&subtitle, width), SUBTITLE, Align::Left);
}

/// `text` with the number of points that are not finite behind it, if there are any.
pub(crate) fn with_skipped(text: &str, n_skipped: usize) -> String {
    match (text, n_skipped) {
        (_, 0) => text.to_owned(),
        ("", n) => format!("{n} not finite"),
        (_, n) => format!("{text} · {n} not finite"),
    }
}

/// Ticks at -extent, 0 and extent below the window, and at its left where `labels_left` says so.
pub(crate) fn window_ticks(canvas: &mut Canvas, area: Rect, extent: f64, labels_left: bool) {
    let number = |value: f64| {
        let rounded = (value * 100.0).round() / 100.0;
        rounded.to_string().replace('-', "−")
    };
    for (share, value) in [(0.0, -extent), (0.5, 0.0), (1.0, extent)] {
        let along = (share * (area.width - 1) as f32) as i64;
        let (x, y) = (area.x + along, area.bottom() - 1 - along);
        let mark = |x, y, width, height| Rect { x, y, width, height };
        canvas.fill(mark(x, area.bottom() + 1, 1, 4), FRAME, 1.0);
        canvas.fill(mark(area.x - 5, y, 4, 1), FRAME, 1.0);
        let label = number(value);
        let below = (area.bottom() + 18) as f32;
        // Labels at the ends stay inside, where the next panel is not.
        let align = match value {
            v if v < 0.0 => Align::Left,
            v if v > 0.0 => Align::Right,
            _ => Align::Center,
        };
        canvas.text(x as f32 + 0.5, below, &label, TICK, align);
        if labels_left {
            let (left, baseline) = ((area.x - 9) as f32, y as f32 + 4.5);
            canvas.text(left, baseline, &label, TICK, Align::Right);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::colormap::WHITE;

    fn panel(points: &[f32]) -> Panel2d<'_> {
        Panel2d { title: "N = 1", subtitle: "", points }
    }

    /// The pixel of a point of the plane in a panel of the first row, for an extent of 1.
    fn at(image: &RgbImage, panel_idx: usize, x: f64, y: f64) -> [u8; 3] {
        let side = PANEL as f64;
        let left = BORDER + LEFT + panel_idx * (PANEL + GAP);
        let column = left as f64 + (x + 1.0) / 2.0 * side;
        let row = (HEADER + BORDER / 2) as f64 + (1.0 - y) / 2.0 * side;
        image.get_pixel(column as u32, row as u32).0
    }

    #[test]
    fn points_color_their_corner_only() {
        let image = samples_2d(&[panel(&[0.8, 0.8]), panel(&[-0.8, -0.8])], 1.0).unwrap();
        assert_ne!(at(&image, 0, 0.8, 0.8), WHITE);
        assert_eq!(at(&image, 0, -0.8, -0.8), WHITE);
        assert_eq!(at(&image, 1, 0.8, 0.8), WHITE);
        assert_ne!(at(&image, 1, -0.8, -0.8), WHITE);
    }

    #[test]
    fn panels_share_the_scale_of_the_first() {
        let spread: Vec<f32> = (0..2000).map(|k| (k % 97) as f32 / 50.0 - 0.97).collect();
        let half: Vec<f32> = spread.iter().map(|v| v / 2.0).collect();
        let image = samples_2d(&[panel(&spread), panel(&half)], 1.0).unwrap();
        let darkness = |panel_idx| -> u32 {
            let mut sum = 0;
            for k in -9..9 {
                for l in -9..9 {
                    let color = at(&image, panel_idx, f64::from(k) / 20.0, f64::from(l) / 20.0);
                    sum += color.map(|c| 255 - u32::from(c)).iter().sum::<u32>();
                }
            }
            sum
        };
        assert!(darkness(1) > darkness(0));
    }

    #[test]
    fn more_than_six_panels_wrap_to_equal_rows() {
        let eight = vec![panel(&[]); 8];
        let image = samples_2d(&eight, 1.0).unwrap();
        let four = samples_2d(&eight[..4], 1.0).unwrap();
        assert_eq!(image.width(), four.width());
        assert!(image.height() > four.height() + PANEL as u32);
    }

    #[test]
    fn same_input_gives_same_pixels() {
        let points = [0.1, 0.2, f32::NAN, 0.0, 5.0, 5.0];
        let draw = || samples_2d(&[panel(&points)], 1.0).unwrap();
        assert_eq!(draw(), draw());
    }

    #[test]
    fn skipped_points_are_counted_in_the_subtitle() {
        assert_eq!(with_skipped("KL 0.1", 0), "KL 0.1");
        assert_eq!(with_skipped("KL 0.1", 3), "KL 0.1 · 3 not finite");
        assert_eq!(with_skipped("", 1), "1 not finite");
    }

    #[test]
    fn ragged_points_are_named() {
        let error = samples_2d(&[panel(&[1.0, 2.0, 3.0])], 1.0).unwrap_err();
        let expected = "panel `N = 1`: 3 values do not divide into rows of 2";
        assert_eq!(error.to_string(), expected);
        assert!(samples_2d(&[], 1.0).is_err());
        assert!(samples_2d(&[panel(&[])], 0.0).is_err());
    }
}
