//! Logged numbers over steps.

use image::RgbImage;

use crate::axis::{Axis, Scale};
use crate::canvas::Stroke;
use crate::colormap::series_color;
use crate::plot::{Plot, Words};
use crate::{Error, Result};

/// Size of the figure in pixels.
const WIDTH: usize = 900;
const HEIGHT: usize = 460;
/// Series with fewer points are drawn as they are.
const MIN_TO_SMOOTH: usize = 60;
/// The moving average reaches over this share of the points.
const SMOOTHING_SHARE: f64 = 1.0 / 40.0;
/// Series with at most this many points get dots.
const MAX_DOTS: usize = 24;
/// The share of raw values at either end that may lie outside of the axis, for single spikes.
const OUTLIERS: f64 = 0.004;

/// The raw values behind their moving average.
const FAINT: Stroke = Stroke { width: 1.0, alpha: 0.25 };
const STRONG: Stroke = Stroke { width: 2.2, alpha: 1.0 };

/// One line of [`curves`] or of [`quality_vs_steps`](crate::quality_vs_steps).
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// Name in the legend.
    pub name: &'a str,
    /// Horizontal coordinates, as many as `y`.
    pub x: &'a [f64],
    /// Vertical coordinates; values that are not finite are gaps.
    pub y: &'a [f64],
}

/// Lines over a common axis: faint raw values and their moving average.
///
/// With [`Scale::Log`] the y axis is logarithmic if every finite y is above 0, else linear.
/// Single spikes may leave the axis, the moving average never does.
/// Series of less than 60 points are not averaged.
///
/// # Errors
/// [`Error::SeriesLength`] if a series has more x than y or the reverse.
///
/// # Example
/// ```
/// use flowmap_figure::{Scale, Series, curves};
///
/// # fn main() -> Result<(), flowmap_figure::Error> {
/// let step: Vec<f64> = (0..100).map(f64::from).collect();
/// let loss: Vec<f64> = step.iter().map(|k| 1.0 / (1.0 + k)).collect();
/// let series = [Series { name: "lsd", x: &step, y: &loss }];
/// let image = curves("Training loss", "step", "loss", &series, Scale::Log)?;
/// assert_eq!(image.dimensions(), (900, 460));
/// # Ok(())
/// # }
/// ```
pub fn curves(
    title: &str,
    x_label: &str,
    y_label: &str,
    series: &[Series<'_>],
    scale: Scale,
) -> Result<RgbImage> {
    check_lengths(series)?;
    let scale = usable_scale(series, scale);
    let lines: Vec<Line> = series.iter().map(|s| Line::new(s, scale)).collect();
    let (x, y) = (x_axis(&lines), y_axis(&lines, scale));
    let legend: Vec<_> = series
        .iter()
        .enumerate()
        .map(|(series_idx, s)| (s.name.to_owned(), series_color(series_idx)))
        .collect();
    let is_smoothed = lines.iter().any(|line| line.smooth.is_some());
    let words = Words {
        title,
        x_label,
        y_label,
        note: if is_smoothed { "faint: raw, strong: moving average" } else { "" },
        legend: if series.len() > 1 { &legend } else { &[] },
        room: 0,
    };
    let mut plot = Plot::new(WIDTH, HEIGHT, words, x, y)?;
    if lines.iter().all(|line| line.n_finite == 0) {
        plot.say_empty();
    }
    // All raw lines first, so that none covers an average.
    for (line, (_, color)) in lines.iter().zip(&legend) {
        if line.smooth.is_some() {
            let points = pixels(&plot, &line.raw);
            plot.line(&points, FAINT, *color);
        }
    }
    for (line, (_, color)) in lines.iter().zip(&legend) {
        let points = pixels(&plot, line.smooth.as_ref().unwrap_or(&line.raw));
        plot.line(&points, STRONG, *color);
        let finite = |k: usize| points.get(k).is_some_and(|p| p[0].is_finite());
        for (k, point) in points.iter().enumerate() {
            let has_neighbor = finite(k + 1) || (k > 0 && finite(k - 1));
            if finite(k) && (line.n_finite <= MAX_DOTS || !has_neighbor) {
                plot.dot(*point, 3.0, *color);
            }
        }
    }
    Ok(plot.into_image())
}

/// A series ready to be drawn; NaN marks gaps.
#[derive(Debug)]
struct Line {
    raw: Vec<(f64, f64)>,
    smooth: Option<Vec<(f64, f64)>>,
    n_finite: usize,
}

impl Line {
    fn new(series: &Series<'_>, scale: Scale) -> Self {
        let raw: Vec<(f64, f64)> = series
            .x
            .iter()
            .zip(series.y)
            .map(|(x, y)| if x.is_finite() && y.is_finite() { (*x, *y) } else { (f64::NAN, f64::NAN) })
            .collect();
        let n_finite = raw.iter().filter(|point| !point.0.is_nan()).count();
        let smooth = (n_finite >= MIN_TO_SMOOTH)
            .then(|| moving_average(&raw, n_finite as f64 * SMOOTHING_SHARE, scale));
        Self { raw, smooth, n_finite }
    }
}

/// Exponential moving average over about `horizon` points, without a bias toward the first value.
///
/// m_k = Σ_j d^{k−j} y_j / Σ_j d^{k−j} with d = 1 − 1/horizon, of log y on a logarithmic axis.
fn moving_average(points: &[(f64, f64)], horizon: f64, scale: Scale) -> Vec<(f64, f64)> {
    let decay = 1.0 - 1.0 / horizon.max(1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    points
        .iter()
        .map(|(x, y)| {
            if x.is_nan() {
                return (f64::NAN, f64::NAN);
            }
            let value = match scale {
                Scale::Linear => *y,
                Scale::Log => y.ln(),
            };
            sum = decay * sum + value;
            weight = decay * weight + 1.0;
            let mean = match scale {
                Scale::Linear => sum / weight,
                Scale::Log => (sum / weight).exp(),
            };
            (*x, mean)
        })
        .collect()
}

/// Refuses series whose coordinates do not pair up.
///
/// # Errors
/// [`Error::SeriesLength`].
pub(crate) fn check_lengths(series: &[Series<'_>]) -> Result<()> {
    for s in series {
        let (n_x, n_y) = (s.x.len(), s.y.len());
        if n_x != n_y {
            let series = s.name.to_owned();
            return Err(Error::SeriesLength { series, n_x, n_y });
        }
    }
    Ok(())
}

/// `scale`, or linear where a value has no logarithm.
pub(crate) fn usable_scale(series: &[Series<'_>], scale: Scale) -> Scale {
    let mut values = series.iter().flat_map(|s| s.y).filter(|y| y.is_finite());
    if values.all(|y| *y > 0.0) { scale } else { Scale::Linear }
}

fn x_axis(lines: &[Line]) -> Axis {
    let xs = lines.iter().flat_map(|line| &line.raw).map(|point| point.0);
    // min and max skip NaN.
    let (low, high) = xs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if low <= high { Axis::to_tick(low, high, 7) } else { Axis::linear(0.0, 1.0, 8) }
}

fn y_axis(lines: &[Line], scale: Scale) -> Axis {
    let mut shown = Vec::new();
    for line in lines {
        let mut raw: Vec<f64> = line.raw.iter().map(|p| p.1).filter(|y| !y.is_nan()).collect();
        raw.sort_by(f64::total_cmp);
        let n_cut = if line.smooth.is_some() { (raw.len() as f64 * OUTLIERS).ceil() as usize } else { 0 };
        shown.extend_from_slice(&raw[n_cut..raw.len() - n_cut]);
        shown.extend(line.smooth.iter().flatten().map(|p| p.1).filter(|y| !y.is_nan()));
    }
    let low = shown.iter().copied().fold(f64::INFINITY, f64::min);
    let high = shown.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    padded_axis(low, high, scale)
}

/// An axis with a little room at both ends; a linear one starts at 0 if that is near.
pub(crate) fn padded_axis(low: f64, high: f64, scale: Scale) -> Axis {
    if low > high {
        return Axis::linear(0.0, 1.0, 5);
    }
    match scale {
        Scale::Log => {
            let room = (high / low).powf(0.05).clamp(1.0, 1e10);
            Axis::log(low / room, high * room, 6)
        }
        Scale::Linear if low >= 0.0 && low < 0.5 * high => Axis::linear(0.0, 1.05 * high, 6),
        Scale::Linear => {
            let room = 0.05 * (high - low);
            Axis::linear(low - room, high + room, 6)
        }
    }
}

/// Points of the data in pixels; gaps stay NaN.
pub(crate) fn pixels(plot: &Plot, points: &[(f64, f64)]) -> Vec<[f32; 2]> {
    points.iter().map(|(x, y)| plot.place(*x, *y)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::colormap::WHITE;

    fn draw(x: &[f64], y: &[f64], scale: Scale) -> RgbImage {
        let name = "a";
        curves("title", "step", "loss", &[Series { name, x, y }], scale).unwrap()
    }

    /// Rows and columns of pixels in the color of the first series.
    fn inked(image: &RgbImage) -> Vec<(u32, u32)> {
        let color = series_color(0);
        image.enumerate_pixels().filter(|(_, _, p)| p.0 == color).map(|(x, y, _)| (x, y)).collect()
    }

    #[test]
    fn rising_line_goes_from_bottom_left_to_top_right() {
        let x: Vec<f64> = (0..10).map(f64::from).collect();
        let places = inked(&draw(&x, &x, Scale::Linear));
        let first = places.iter().min_by_key(|p| p.0).unwrap();
        let last = places.iter().max_by_key(|p| p.0).unwrap();
        assert!(first.1 > last.1 + 250, "{first:?} {last:?}");
        assert!(last.0 > first.0 + 700, "{first:?} {last:?}");
    }

    #[test]
    fn gaps_stay_open() {
        let x: Vec<f64> = (0..11).map(f64::from).collect();
        let mut y = vec![1.0; 11];
        y[4..=6].fill(f64::NAN);
        let image = draw(&x, &y, Scale::Linear);
        let middle = image.width() / 2;
        assert!(inked(&image).iter().all(|(x, _)| x.abs_diff(middle) > 60));
    }

    #[test]
    fn odd_series_are_drawn() {
        let nan = [f64::NAN; 3];
        let cases: [(&[f64], &[f64]); 6] = [
            (&[], &[]),
            (&[3.0], &[2.0]),
            (&[1.0, 2.0], &[5.0, 5.0]),
            (&[0.0, 1.0, 2.0], &nan),
            (&[0.0, 1.0], &[-1e308, 1e308]),
            (&[0.0, 1.0], &[0.0, f64::INFINITY]),
        ];
        for (x, y) in cases {
            for scale in [Scale::Linear, Scale::Log] {
                let image = draw(x, y, scale);
                assert!(image.pixels().any(|p| p.0 != WHITE));
            }
        }
        assert!(curves("", "", "", &[], Scale::Log).is_ok());
        assert!(!inked(&draw(&[3.0], &[2.0], Scale::Log)).is_empty());
    }

    #[test]
    fn moving_average_of_a_constant_is_the_constant() {
        let points: Vec<(f64, f64)> = (0..50).map(|k| (f64::from(k), 0.25)).collect();
        for scale in [Scale::Linear, Scale::Log] {
            let average = moving_average(&points, 10.0, scale);
            assert!(average.iter().all(|p| (p.1 - 0.25).abs() < 1e-14));
        }
    }

    #[test]
    fn log_scale_needs_positive_values() {
        let x = [0.0, 1.0];
        let (good, bad) = ([1.0, f64::NAN], [1.0, 0.0]);
        let name = "a";
        let usable = |y: &[f64]| usable_scale(&[Series { name, x: &x, y }], Scale::Log);
        assert_eq!(usable(&good), Scale::Log);
        assert_eq!(usable(&bad), Scale::Linear);
    }

    #[test]
    fn unequal_lengths_are_refused() {
        let series = [Series { name: "loss", x: &[1.0], y: &[1.0, 2.0] }];
        let error = curves("", "", "", &series, Scale::Linear).unwrap_err();
        assert_eq!(error.to_string(), "series `loss`: 1 values of x, but 2 values of y");
    }
}
