//! The frame of a line chart: titles, legend, grid and axes.

use image::RgbImage;

use crate::Result;
use crate::axis::Axis;
use crate::canvas::{Canvas, Rect, Stroke};
use crate::colormap::{Color, FRAME, GRID, INK, MUTED, WHITE};
use crate::text::{Align, TextStyle};

/// Border of the figure in pixels.
const BORDER: usize = 22;
/// Room for the title and for the line with the name of the y axis.
const HEADER: usize = 72;
/// Room for the tick labels and the name of the x axis.
const FOOTER: usize = 58;
/// Height of a line of the legend.
const LEGEND_LINE: usize = 20;
/// Length of the stroke in front of a name in the legend, and the room around it.
const SWATCH: f32 = 18.0;
const SWATCH_GAP: f32 = 7.0;
const ENTRY_GAP: f32 = 20.0;

const TITLE: TextStyle = TextStyle::bold(17.0, INK);
const LABEL: TextStyle = TextStyle::regular(13.0, MUTED);
const NAME: TextStyle = TextStyle::regular(13.0, INK);
const TICK: TextStyle = TextStyle::regular(12.5, MUTED);

/// The words around a chart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'a> {
    pub(crate) title: &'a str,
    pub(crate) x_label: &'a str,
    pub(crate) y_label: &'a str,
    /// A remark on how to read the lines, below at the right; may be empty.
    pub(crate) note: &'a str,
    /// Name and color of each line; none for no legend.
    pub(crate) legend: &'a [(String, Color)],
    /// Room in pixels at the right of the area, for names next to the ends of lines.
    pub(crate) room: usize,
}

/// A chart with its axes drawn, ready for its lines.
#[derive(Debug)]
pub(crate) struct Plot {
    pub(crate) canvas: Canvas,
    /// Where the data goes.
    pub(crate) area: Rect,
    x: Axis,
    y: Axis,
}

impl Plot {
    /// Draws everything but the data on a sheet of `width` x `height` pixels.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the legend grows beyond all bounds.
    pub(crate) fn new(width: usize, height: usize, words: Words<'_>, x: Axis, y: Axis) -> Result<Self> {
        let widest = y.ticks.iter().map(|tick| TICK.width(&tick.label)).fold(20.0, f32::max);
        let left = BORDER + widest.ceil() as usize + 9;
        let inner = width - left - BORDER - words.room;
        // The legend shares its first line with the name of the y axis.
        let y_label = LABEL.fit(words.y_label, 0.5 * inner as f32);
        let first_room = inner as f32 - LABEL.width(&y_label) - ENTRY_GAP;
        let lines = legend_lines(words.legend, first_room, inner as f32);
        let extra = lines.len().saturating_sub(1) * LEGEND_LINE;
        let top = HEADER + extra;
        let mut canvas = Canvas::new(width, height + extra)?;
        let area = Rect::new(left, top, inner, height - HEADER - FOOTER);

        let title = TITLE.fit(words.title, inner as f32);
        canvas.text(left as f32, 30.0, &title, TITLE, Align::Left);
        let line_y = |line_idx: usize| 54.0 + (line_idx * LEGEND_LINE) as f32;
        canvas.text(left as f32, line_y(0), &y_label, LABEL, Align::Left);
        for (line_idx, line) in lines.iter().enumerate() {
            draw_legend_line(&mut canvas, line, area.right() as f32, line_y(line_idx));
        }
        let below = (area.bottom() + 44) as f32;
        let note = LABEL.fit(words.note, 0.45 * inner as f32);
        canvas.text(area.right() as f32, below, &note, LABEL, Align::Right);
        let x_label = LABEL.fit(words.x_label, 0.5 * inner as f32);
        canvas.text(left as f32, below, &x_label, LABEL, Align::Left);

        let mut plot = Self { canvas, area, x, y };
        plot.draw_axes();
        Ok(plot)
    }

    fn draw_axes(&mut self) {
        let area = self.area;
        let line = |x, y, width, height| Rect { x, y, width, height };
        for tick in &self.y.ticks {
            let y = self.place(0.0, tick.value)[1].round() as i64;
            if y < area.bottom() - 1 {
                self.canvas.fill(line(area.x, y, area.width, 1), GRID, 1.0);
            }
            let baseline = y as f32 + 4.5;
            self.canvas.text((area.x - 8) as f32, baseline, &tick.label, TICK, Align::Right);
        }
        let base = line(area.x, area.bottom() - 1, area.width, 1);
        self.canvas.fill(base, FRAME, 1.0);
        for tick in &self.x.ticks {
            let x = self.place(tick.value, 0.0)[0];
            let mark = line(x.round() as i64, area.bottom(), 1, 4);
            self.canvas.fill(mark, FRAME, 1.0);
            // The last label may not leave the sheet.
            let half = TICK.width(&tick.label) / 2.0;
            let center = x.min((area.right() + BORDER as i64 - 4) as f32 - half);
            let baseline = (area.bottom() + 20) as f32;
            self.canvas.text(center, baseline, &tick.label, TICK, Align::Center);
        }
    }

    /// Pixel coordinates of a point of the data.
    pub(crate) fn place(&self, x: f64, y: f64) -> [f32; 2] {
        let (width, height) = (self.area.width as f64, self.area.height as f64);
        [
            (self.area.x as f64 + self.x.share(x) * width) as f32,
            (self.area.bottom() as f64 - 0.5 - self.y.share(y) * height) as f32,
        ]
    }

    /// A line through points in pixels, cut at the area; points that are not finite are gaps.
    pub(crate) fn line(&mut self, points: &[[f32; 2]], stroke: Stroke, color: Color) {
        // Half a stroke more, so that lines along the edge keep their width.
        let clip = self.area.grow(2);
        self.canvas.polyline(points, stroke, clip, |_| color);
    }

    /// A dot with a white rim.
    pub(crate) fn dot(&mut self, point: [f32; 2], radius: f32, color: Color) {
        let clip = self.area.grow(radius.ceil() as i64 + 2);
        self.canvas.disc(point, radius + 1.5, clip, WHITE);
        self.canvas.disc(point, radius, clip, color);
    }

    /// A small remark at a point in pixels.
    pub(crate) fn remark(&mut self, point: [f32; 2], text: &str, color: Color, align: Align) {
        let style = TextStyle::regular(12.0, color);
        self.canvas.text(point[0], point[1], text, style, align);
    }

    /// Says in the middle of the area that there is nothing to see.
    pub(crate) fn say_empty(&mut self) {
        let x = (self.area.x + self.area.width / 2) as f32;
        let y = (self.area.y + self.area.height / 2) as f32;
        self.canvas.text(x, y, "no data", LABEL, Align::Center);
    }

    /// The finished image.
    pub(crate) fn into_image(self) -> RgbImage {
        self.canvas.into_image()
    }
}

fn entry_width(name: &str) -> f32 {
    SWATCH + SWATCH_GAP + NAME.width(name)
}

/// Breaks the legend into lines; only the first one has less room than `room`.
fn legend_lines(entries: &[(String, Color)], first_room: f32, room: f32) -> Vec<Vec<(String, Color)>> {
    let mut lines: Vec<Vec<(String, Color)>> = vec![Vec::new()];
    let mut left = first_room;
    for (name, color) in entries {
        let name = NAME.fit(name, room - SWATCH - SWATCH_GAP);
        let width = entry_width(&name) + ENTRY_GAP;
        if width - ENTRY_GAP > left {
            lines.push(Vec::new());
            left = room;
        }
        left -= width;
        if let Some(line) = lines.last_mut() {
            line.push((name, *color));
        }
    }
    lines
}

/// One line of the legend, ending at `right`.
fn draw_legend_line(canvas: &mut Canvas, line: &[(String, Color)], right: f32, baseline: f32) {
    let widths: f32 = line.iter().map(|(name, _)| entry_width(name)).sum();
    let gaps = line.len().saturating_sub(1) as f32 * ENTRY_GAP;
    let mut x = right - widths - gaps;
    for (name, color) in line {
        let swatch = Rect { x: x.round() as i64, y: baseline as i64 - 6, width: SWATCH as i64, height: 3 };
        canvas.fill(swatch, *color, 1.0);
        canvas.text(x + SWATCH + SWATCH_GAP, baseline, name, NAME, Align::Left);
        x += entry_width(name) + ENTRY_GAP;
    }
}
