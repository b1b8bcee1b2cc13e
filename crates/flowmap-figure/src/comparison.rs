//! A distance to the data over the number of steps, for many methods.

use image::RgbImage;

use crate::Result;
use crate::axis::{Axis, Scale};
use crate::canvas::{Rect, Stroke};
use crate::colormap::{Color, series_color};
use crate::curves::{Series, check_lengths, padded_axis, pixels, usable_scale};
use crate::plot::{Plot, Words};
use crate::quality::{draw_level, finite_points};
use crate::text::Align;

/// Size of the figure in pixels.
const WIDTH: usize = 960;
const HEIGHT: usize = 620;
/// Room for the names, and what lies between them.
const ROOM: usize = 170;
const NAME_GAP: f32 = 17.0;
/// Rounds in which names move apart; about twenty names settle in fewer.
const ROUNDS: usize = 400;
/// From the end of a line to its name.
const LEADER: f32 = 26.0;
/// Number of colors, after which lines are dashed, then dotted.
const N_COLORS: usize = 6;
/// Lengths of the dashes and of the room between them, for each round of colors after the first.
const DASHES: [(f32, f32); 2] = [(9.0, 5.0), (2.5, 4.0)];

const LINE: Stroke = Stroke { width: 2.0, alpha: 1.0 };
const THIN: Stroke = Stroke { width: 1.0, alpha: 0.6 };

/// A metric over the number of steps N for many methods, each named at the right end of its line.
///
/// Colors repeat after six lines, which are then dashed, and after twelve dotted.
/// `references` are levels, such as the score of exact samples, drawn as thin dashed lines with their names.
/// Points with N of 0 or less, or with a coordinate that is not finite, are left out.
/// The y axis is logarithmic if every finite y and every level are above 0.
///
/// # Errors
/// [`SeriesLength`](crate::Error::SeriesLength) if a series has more x than y or the reverse.
///
/// # Example
/// ```
/// use flowmap_figure::{Series, comparison};
///
/// # fn main() -> Result<(), flowmap_figure::Error> {
/// let n = [1.0, 4.0];
/// let series = [
///     Series { name: "lsd", x: &n, y: &[0.24, 0.15] },
///     Series { name: "psd", x: &n, y: &[0.31, 0.17] },
/// ];
/// let image = comparison("Methods", "KL exact", &series, &[("exact samples", 0.03)])?;
/// assert_eq!(image.dimensions(), (960, 620));
/// # Ok(())
/// # }
/// ```
pub fn comparison(
    title: &str,
    y_label: &str,
    series: &[Series<'_>],
    references: &[(&str, f64)],
) -> Result<RgbImage> {
    check_lengths(series)?;
    let levels: Vec<(&str, f64)> = references.iter().copied().filter(|(_, y)| y.is_finite()).collect();
    let scale = match levels.iter().all(|(_, y)| *y > 0.0) {
        true => usable_scale(series, Scale::Log),
        false => Scale::Linear,
    };
    let lines: Vec<Vec<(f64, f64)>> = series.iter().map(finite_points).collect();
    let mut steps: Vec<f64> = lines.iter().flatten().map(|point| point.0).collect();
    steps.sort_by(f64::total_cmp);
    steps.dedup();
    let shown = lines.iter().flatten().map(|point| point.1).chain(levels.iter().map(|level| level.1));
    let (low, high) =
        shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
    let words = Words { title, x_label: "number of steps N", y_label, note: "", legend: &[], room: ROOM };
    let mut plot = Plot::new(WIDTH, HEIGHT, words, Axis::log_at(&steps), padded_axis(low, high, scale))?;
    if steps.is_empty() {
        plot.say_empty();
    }
    for (name, level) in &levels {
        draw_level(&mut plot, name, *level, &[]);
    }
    let mut names = Vec::new();
    for (series_idx, (points, s)) in lines.iter().zip(series).enumerate() {
        let (places, color) = (pixels(&plot, points), series_color(series_idx));
        match (series_idx / N_COLORS).checked_sub(1).and_then(|round| DASHES.get(round)) {
            None => plot.line(&places, LINE, color),
            Some(dash) => dashes(&places, *dash).iter().for_each(|part| plot.line(part, LINE, color)),
        }
        places.iter().for_each(|place| plot.dot(*place, 3.2, color));
        if let Some(end) = places.last() {
            names.push(Name { text: s.name, end: *end, y: end[1], color });
        }
    }
    spread(&mut names, plot.area);
    names.iter().for_each(|name| draw_name(&mut plot, name));
    Ok(plot.into_image())
}

/// The name of a line: where the line ends, and at what height the name stands.
struct Name<'a> {
    text: &'a str,
    end: [f32; 2],
    y: f32,
    color: Color,
}

/// Moves names apart, in the order of the ends of their lines, inside the height of `area` as far as they fit.
fn spread(names: &mut [Name<'_>], area: Rect) {
    names.sort_by(|a, b| a.end[1].total_cmp(&b.end[1]));
    // Neighbors that are too close give way by half each, so that a crowd spreads to both sides of its middle.
    for _ in 0..ROUNDS {
        for k in 1..names.len() {
            let lack = NAME_GAP - (names[k].y - names[k - 1].y);
            if lack > 0.0 {
                names[k - 1].y -= 0.5 * lack;
                names[k].y += 0.5 * lack;
            }
        }
    }
    let mut free = area.y as f32;
    for name in names.iter_mut() {
        name.y = name.y.max(free);
        free = name.y + NAME_GAP;
    }
    let mut free = area.bottom() as f32;
    for name in names.iter_mut().rev() {
        name.y = name.y.min(free);
        free = name.y - NAME_GAP;
    }
}

/// The name, and a thin line that leads to it.
fn draw_name(plot: &mut Plot, name: &Name<'_>) {
    let at = [plot.area.right() as f32 + LEADER * 0.5, name.y];
    let whole = Rect::new(0, 0, WIDTH, HEIGHT);
    let from = [name.end[0] + 5.0, name.end[1]];
    plot.canvas.polyline(&[from, at], THIN, whole, |_| name.color);
    plot.remark([at[0] + 5.0, at[1] + 4.0], name.text, name.color, Align::Left);
}

/// The parts of a line of pixels that its dashes cover.
fn dashes(points: &[[f32; 2]], (on, off): (f32, f32)) -> Vec<[[f32; 2]; 2]> {
    let mut parts = Vec::new();
    // How far along the pattern the line is.
    let mut phase = 0.0;
    for ends in points.windows(2) {
        let (a, b) = (ends[0], ends[1]);
        let length = (b[0] - a[0]).hypot(b[1] - a[1]);
        let at = |d: f32| [a[0] + (b[0] - a[0]) * d / length, a[1] + (b[1] - a[1]) * d / length];
        let mut done = 0.0;
        while done < length {
            let left = if phase < on { on - phase } else { on + off - phase };
            let end = (done + left).min(length);
            if phase < on {
                parts.push([at(done), at(end)]);
            }
            phase = if end - done < left {
                phase + end - done
            } else if phase < on {
                on
            } else {
                0.0
            };
            done = end;
        }
    }
    parts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_order_and_their_distance() {
        let mut names: Vec<Name<'_>> = [200.0, 201.0, 90.0, 202.0, 400.0]
            .map(|y| Name { text: "", end: [0.0, y], y, color: [0; 3] })
            .into();
        spread(&mut names, Rect::new(0, 80, 100, 300));
        assert!(names.windows(2).all(|pair| pair[1].y - pair[0].y >= NAME_GAP - 1e-3));
        assert!(names.windows(2).all(|pair| pair[1].end[1] >= pair[0].end[1]));
        assert!(names.last().unwrap().y <= 380.0);
    }

    #[test]
    fn dashes_cover_their_share_of_a_line_with_corners() {
        let points = [[0.0, 0.0], [30.0, 0.0], [30.0, 40.0], [100.0, 40.0]];
        let covered: f32 =
            dashes(&points, (6.0, 4.0)).iter().map(|[a, b]| (b[0] - a[0]).hypot(b[1] - a[1])).sum();
        assert!((covered - 0.6 * 140.0).abs() < 1e-2, "{covered}");
        assert!(dashes(&[[1.0, 1.0], [1.0, 1.0]], (6.0, 4.0)).is_empty());
    }

    #[test]
    fn many_lines_and_odd_values_are_drawn() {
        let n = [1.0, 2.0, 4.0];
        let values: Vec<[f64; 3]> = (0..20).map(|k| [0.1, 0.2, f64::from(k) - 3.0]).collect();
        let series: Vec<Series<'_>> = values.iter().map(|y| Series { name: "method", x: &n, y }).collect();
        for levels in [&[][..], &[("base", 0.9), ("exact", f64::NAN)], &[("zero", 0.0)]] {
            assert_eq!(comparison("title", "KL", &series, levels).unwrap().dimensions(), (960, 620));
        }
        let gaps = [Series { name: "a", x: &n, y: &[f64::NAN; 3] }];
        assert_eq!(comparison("", "", &gaps, &[]).unwrap().dimensions(), (960, 620));
        assert!(comparison("", "", &[], &[]).is_ok());
    }
}
