//! A distance to the data over the number of steps.

use image::RgbImage;

use crate::Result;
use crate::axis::{Axis, Scale};
use crate::canvas::Stroke;
use crate::colormap::{MUTED, series_color};
use crate::curves::{Series, check_lengths, padded_axis, pixels, usable_scale};
use crate::plot::{Plot, Words};
use crate::text::Align;

/// Size of the figure in pixels.
const WIDTH: usize = 640;
const HEIGHT: usize = 420;
/// Length of the dashes of the floor and of the room between them.
const DASH: (f32, f32) = (6.0, 5.0);

/// Width and height that the name of a level may take in pixels, with the dot of a point in reach.
const LEVEL_NAME: [f32; 2] = [100.0, 24.0];

const LINE: Stroke = Stroke { width: 2.2, alpha: 1.0 };
const THIN: Stroke = Stroke { width: 1.0, alpha: 1.0 };

/// A metric over the number of steps N on a log₂ axis, with a tick at each N that occurs.
///
/// `floor` is what exact samples of the same size score; it is drawn as a dashed line.
/// A single series has its values written next to its dots; several series get a legend.
/// Points with N of 0 or less, or with a coordinate that is not finite, are left out.
/// With [`Scale::Log`] the y axis is logarithmic if every finite y and the floor are above 0.
///
/// # Errors
/// [`SeriesLength`](crate::Error::SeriesLength) if a series has more x than y or the reverse.
///
/// # Example
/// ```
/// use flowmap_figure::{Scale, Series, quality_vs_steps};
///
/// # fn main() -> Result<(), flowmap_figure::Error> {
/// let series = [Series {
///     name: "flow map",
///     x: &[1.0, 2.0, 4.0, 8.0, 16.0],
///     y: &[0.41, 0.30, 0.21, 0.16, 0.13],
/// }];
/// let image = quality_vs_steps("Quality", "KL(data ‖ model)", &series, Some(0.03), Scale::Linear)?;
/// assert_eq!(image.dimensions(), (640, 420));
/// # Ok(())
/// # }
/// ```
pub fn quality_vs_steps(
    title: &str,
    y_label: &str,
    series: &[Series<'_>],
    floor: Option<f64>,
    scale: Scale,
) -> Result<RgbImage> {
    check_lengths(series)?;
    let floor = floor.filter(|value| value.is_finite());
    let scale =
        if floor.is_some_and(|value| value <= 0.0) { Scale::Linear } else { usable_scale(series, scale) };
    let lines: Vec<Vec<(f64, f64)>> = series.iter().map(finite_points).collect();
    let mut steps: Vec<f64> = lines.iter().flatten().map(|point| point.0).collect();
    steps.sort_by(f64::total_cmp);
    steps.dedup();
    let shown = lines.iter().flatten().map(|point| point.1).chain(floor);
    let (low, high) =
        shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
    let legend: Vec<_> = series
        .iter()
        .enumerate()
        .map(|(series_idx, s)| (s.name.to_owned(), series_color(series_idx)))
        .collect();
    let words = Words {
        title,
        x_label: "number of steps N",
        y_label,
        note: "",
        legend: if series.len() > 1 { &legend } else { &[] },
        room: 0,
    };
    let (x, y) = (Axis::log_at(&steps), padded_axis(low, high, scale));
    let mut plot = Plot::new(WIDTH, HEIGHT, words, x, y)?;
    if steps.is_empty() {
        plot.say_empty();
    }
    if let Some(floor) = floor {
        let points = lines.iter().flat_map(|points| pixels(&plot, points)).collect::<Vec<_>>();
        draw_level(&mut plot, "floor", floor, &points);
    }
    for (points, (_, color)) in lines.iter().zip(&legend) {
        let places = pixels(&plot, points);
        plot.line(&places, LINE, *color);
        for ((_, y), place) in points.iter().zip(&places) {
            plot.dot(*place, 4.0, *color);
            if series.len() == 1 {
                let beside = [place[0] + 7.0, place[1] - 7.0];
                plot.remark(beside, &three_digits(*y), *color, Align::Left);
            }
        }
    }
    Ok(plot.into_image())
}

/// The points that have a place on the axes, in order of N.
pub(crate) fn finite_points(series: &Series<'_>) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = series
        .x
        .iter()
        .copied()
        .zip(series.y.iter().copied())
        .filter(|(x, y)| x.is_finite() && *x > 0.0 && y.is_finite())
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// A dashed line at `value` with its name at the left end: above the line, or below if one of these points is there.
pub(crate) fn draw_level(plot: &mut Plot, name: &str, value: f64, points: &[[f32; 2]]) {
    // The middle of a row of pixels, for a crisp line.
    let y = plot.place(1.0, value)[1].floor() + 0.5;
    let (left, right) = (plot.area.x as f32, plot.area.right() as f32);
    let mut x = left;
    while x < right {
        let end = (x + DASH.0).min(right);
        plot.line(&[[x, y], [end, y]], THIN, MUTED);
        x += DASH.0 + DASH.1;
    }
    let text = format!("{name} {}", three_digits(value));
    let is_taken = points
        .iter()
        .any(|[x, of_point]| *x < left + LEVEL_NAME[0] && (y - LEVEL_NAME[1]..=y).contains(of_point));
    let baseline = if is_taken { y + 15.0 } else { y - 6.0 };
    plot.remark([left + 6.0, baseline], &text, MUTED, Align::Left);
}

/// Three significant digits: `0.123`, `1.23`, `12.3`, `123`, `1.23e-5`.
pub(crate) fn three_digits(value: f64) -> String {
    let size = value.abs();
    let text = match size {
        s if s != 0.0 && !(1e-3..1e5).contains(&s) => format!("{value:.2e}"),
        s if s < 0.01 => format!("{value:.4}"),
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

    const STEPS: [f64; 5] = [1.0, 2.0, 4.0, 8.0, 16.0];

    fn draw(y: &[f64], floor: Option<f64>) -> RgbImage {
        let x = &STEPS[..y.len()];
        let series = [Series { name: "a", x, y }];
        quality_vs_steps("title", "KL", &series, floor, Scale::Linear).unwrap()
    }

    #[test]
    fn floor_lies_below_the_values_above_it() {
        let image = draw(&[0.5, 0.4, 0.3, 0.25, 0.2], Some(0.05));
        let rows = |color: [u8; 3], least: usize| -> Vec<u32> {
            (64..360)
                .filter(|y| (100..600).filter(|x| image.get_pixel(*x, *y).0 == color).count() >= least)
                .collect()
        };
        let lowest_line = *rows(series_color(0), 1).last().unwrap();
        // Dashes fill about half of their row, letters far less.
        let floor = rows(MUTED, 150);
        assert!(!floor.is_empty() && floor[0] > lowest_line, "{floor:?} {lowest_line}");
    }

    #[test]
    fn odd_values_are_drawn() {
        for y in [&[][..], &[0.3], &[f64::NAN, 0.2], &[0.1; 5], &[-1.0, 0.0, 2.0]] {
            for floor in [None, Some(0.0), Some(f64::NAN)] {
                assert_eq!(draw(y, floor).dimensions(), (640, 420));
            }
        }
        assert!(quality_vs_steps("", "", &[], None, Scale::Log).is_ok());
    }

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [
            (0.1234, "0.123"),
            (0.00512, "0.0051"),
            (12.345, "12.3"),
            (0.0, "0.0000"),
            (-1.5, "−1.50"),
            (1.234e-5, "1.23e−5"),
        ] {
            assert_eq!(three_digits(value), text);
        }
    }
}
