//! Means by bins of two times, as small heat maps side by side.

use image::RgbImage;

use crate::canvas::{Canvas, Rect};
use crate::colormap::{DENSITY, FRAME, INK, MUTED, WHITE};
use crate::text::{Align, TextStyle};
use crate::{Error, Result};

/// Side of a cell in pixels.
const CELL: usize = 60;
/// Room between the jumps and the diagonal below them.
const STRIP_GAP: usize = 34;
/// Room between panels, which holds the tick labels of the right one.
const GAP: usize = 56;
const HEADER: usize = 50;
const FOOTER: usize = 34;
const LEFT: usize = 44;
const BORDER: usize = 18;
/// Panels in a row at most.
const MAX_COLUMNS: usize = 4;
/// The lightest cell is not white, and the darkest leaves what is written on it readable.
const LIGHTEST: f64 = 0.06;
const DARKEST: f64 = 0.85;
/// The smallest ratio of two means that spans all colors, so that small differences look small.
const LEAST_RANGE: f64 = 10.0;
/// From this depth of color on, writing is white.
const DARK: f64 = 0.45;

const TITLE: TextStyle = TextStyle::bold(15.0, INK);
const TICK: TextStyle = TextStyle::regular(12.0, MUTED);

/// One panel of [`time_bins`].
#[derive(Clone, Copy, Debug)]
pub struct BinPanel<'a> {
    /// Bold line above, such as `loss of lsd`.
    pub title: &'a str,
    /// The mean of jumps from interval s to interval t at `[s * n + t]`; NaN if there is none.
    pub jumps: &'a [f64],
    /// The mean of s = t in each of the n intervals; NaN if there is none.
    pub diagonal: &'a [f64],
}

/// Means over pairs of times s ≤ t, cut into `n` intervals each: s to the right, t upward, and s = t in a row below.
///
/// Colors are on a logarithmic scale, one for each panel; cells without a mean are empty.
///
/// # Errors
/// [`Error::Zero`] without panels or intervals, [`Error::Ragged`] for other than n² jumps and n on the
/// diagonal, [`Error::TooLarge`].
///
/// # Example
/// ```
/// use flowmap_figure::{BinPanel, time_bins};
///
/// # fn main() -> Result<(), flowmap_figure::Error> {
/// let jumps = [0.5, 2.0, f64::NAN, 0.25];
/// let panel = BinPanel { title: "loss of lsd", jumps: &jumps, diagonal: &[0.1, 0.2] };
/// let image = time_bins(&[panel], 2)?;
/// assert!(image.height() > image.width());
/// # Ok(())
/// # }
/// ```
pub fn time_bins(panels: &[BinPanel<'_>], n: usize) -> Result<RgbImage> {
    if panels.is_empty() || n == 0 {
        return Err(Error::Zero { what: "the number of panels or intervals" });
    }
    for panel in panels {
        for (values, len) in [(panel.jumps, n * n), (panel.diagonal, n)] {
            if values.len() != len {
                let what = format!("panel `{}`", panel.title);
                return Err(Error::Ragged { what, len: values.len(), row: len });
            }
        }
    }
    let n_columns = panels.len().min(MAX_COLUMNS);
    let side = n * CELL;
    let row_height = HEADER + side + STRIP_GAP + CELL / 2 + FOOTER;
    let width = LEFT + n_columns * (side + GAP) - GAP + 2 * BORDER;
    let mut canvas = Canvas::new(width, panels.len().div_ceil(n_columns) * row_height)?;
    for (panel_idx, panel) in panels.iter().enumerate() {
        let x = BORDER + LEFT + panel_idx % n_columns * (side + GAP);
        let y = panel_idx / n_columns * row_height + HEADER;
        draw_panel(&mut canvas, panel, n, [x, y]);
    }
    Ok(canvas.into_image())
}

fn draw_panel(canvas: &mut Canvas, panel: &BinPanel<'_>, n: usize, [x, y]: [usize; 2]) {
    let side = n * CELL;
    let depth = depths(panel);
    let title = TITLE.fit(panel.title, side as f32);
    canvas.text(x as f32, y as f32 - 12.0, &title, TITLE, Align::Left);
    for (bin, value) in panel.jumps.iter().enumerate() {
        let (s, t) = (bin / n, bin % n);
        cell(canvas, Rect::new(x + s * CELL, y + (n - 1 - t) * CELL, CELL, CELL), *value, &depth);
    }
    let area = Rect::new(x, y, side, side);
    canvas.frame(area.grow(1), FRAME);
    let strip = Rect::new(x, y + side + STRIP_GAP, side, CELL / 2);
    for (t, value) in panel.diagonal.iter().enumerate() {
        cell(canvas, Rect::new(x + t * CELL, y + side + STRIP_GAP, CELL, CELL / 2), *value, &depth);
    }
    canvas.frame(strip.grow(1), FRAME);
    for k in 0..=n {
        let label = format!("{}", k as f64 / n as f64);
        let (along, up) = ((x + k * CELL) as f32, (y + side - k * CELL) as f32 + 4.0);
        canvas.text(along, (area.bottom() + 17) as f32, &label, TICK, Align::Center);
        canvas.text(x as f32 - 7.0, up, &label, TICK, Align::Right);
    }
    let middle = x as f32 + side as f32 / 2.0;
    canvas.text(x as f32 - 30.0, y as f32 + side as f32 / 2.0 + 4.0, "t", TICK, Align::Right);
    canvas.text(middle, (area.bottom() + 30) as f32, "s", TICK, Align::Center);
    canvas.text(middle, (strip.bottom() + 17) as f32, "s = t", TICK, Align::Center);
}

/// Fills a cell and writes its value.
fn cell(canvas: &mut Canvas, area: Rect, value: f64, depth: &impl Fn(f64) -> f64) {
    if !value.is_finite() {
        return;
    }
    let depth = depth(value);
    canvas.fill(area, DENSITY.at(depth), 1.0);
    let style = TextStyle::regular(12.0, if depth < DARK { INK } else { WHITE });
    let center = [area.x + area.width / 2, area.y + area.height / 2 + 4];
    canvas.text(center[0] as f32, center[1] as f32, &short(value), style, Align::Center);
}

/// From values to depths of color, the lightest for the smallest positive one of the panel.
fn depths(panel: &BinPanel<'_>) -> impl Fn(f64) -> f64 + use<> {
    let positive = panel.jumps.iter().chain(panel.diagonal).copied().filter(|v| v.is_finite() && *v > 0.0);
    let (low, high) =
        positive.fold((f64::INFINITY, 0.0f64), |(low, high), value| (low.min(value), high.max(value)));
    move |value: f64| {
        let share = (value / low).ln() / (high / low).max(LEAST_RANGE).ln();
        // Zero has no place on a logarithmic scale.
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        LIGHTEST + (DARKEST - LIGHTEST) * share
    }
}

/// About three digits, in at most seven letters.
fn short(value: f64) -> String {
    let size = value.abs();
    let text = match size {
        s if s != 0.0 && !(1e-2..1e4).contains(&s) => format!("{value:.1e}"),
        s if s < 1.0 => format!("{value:.3}"),
        s if s < 10.0 => format!("{value:.2}"),
        s if s < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    };
    text.replace('-', "−")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn larger_means_are_darker_and_missing_ones_are_white() {
        let jumps = [0.1, 1.0, f64::NAN, 10.0];
        let panel = BinPanel { title: "loss", jumps: &jumps, diagonal: &[f64::NAN, f64::NAN] };
        let image = time_bins(&[panel], 2).unwrap();
        // The corner of the cell of a jump, away from what is written in its middle.
        let corner = |s: usize, t: usize| {
            let (x, y) = (BORDER + LEFT + s * CELL + 4, HEADER + (1 - t) * CELL + 4);
            let pixel = image.get_pixel(x as u32, y as u32).0;
            pixel.map(u32::from).iter().sum::<u32>()
        };
        assert!(corner(0, 0) > corner(0, 1) && corner(0, 1) > corner(1, 1));
        assert_eq!(corner(1, 0), 3 * 255);
    }

    #[test]
    fn odd_values_are_drawn_and_wrong_lengths_refused() {
        for value in [f64::NAN, 0.0, -1.0, 1e300, 1e-300, 5.0] {
            let panel = BinPanel { title: "", jumps: &[value; 4], diagonal: &[value; 2] };
            assert!(time_bins(&[panel; 5], 2).is_ok());
        }
        let panel = BinPanel { title: "", jumps: &[1.0; 3], diagonal: &[1.0; 2] };
        assert!(matches!(time_bins(&[panel], 2), Err(Error::Ragged { len: 3, row: 4, .. })));
        assert!(time_bins(&[], 2).is_err());
    }
}
