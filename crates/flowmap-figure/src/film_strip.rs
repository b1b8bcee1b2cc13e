//! Images along paths from noise to data.

use image::RgbImage;

use crate::canvas::Canvas;
use crate::colormap::{INK, MUTED};
use crate::images::Tiles;
use crate::samples::with_skipped;
use crate::text::{Align, TextStyle};
use crate::{Error, Result};

/// Images are enlarged to this many pixels, so that the times above fit.
const VISIBLE_SIDE: usize = 56;
/// Room between the columns and between the rows.
const COLUMN_GAP: usize = 3;
const ROW_GAP: usize = 7;
/// Room for the title and the times.
const HEADER: usize = 54;
/// Border of the figure.
const BORDER: usize = 18;

const TITLE: TextStyle = TextStyle::bold(16.0, INK);
const TIME: TextStyle = TextStyle::regular(12.0, MUTED);

/// One row for each path, one column for each time, with the times above.
///
/// `paths` is `(n_paths, n_times, C, H, W)` row-major in [-1, 1], `shape` is `[C, H, W]`,
/// and `times` has the `n_times` times.
///
/// # Errors
/// [`Error::Zero`] without times or pixels, [`Error::Channels`],
/// [`Error::Ragged`] if the values are no whole paths, [`Error::TooLarge`].
///
/// # Example
/// ```
/// use flowmap_figure::film_strip;
///
/// # fn main() -> Result<(), flowmap_figure::Error> {
/// let one_path = [0.0; 3 * 8 * 8];
/// let image = film_strip("from noise to data", &one_path, [1, 8, 8], &[0.0, 0.5, 1.0])?;
/// assert!(image.width() > 3 * 56);
/// # Ok(())
/// # }
/// ```
pub fn film_strip(title: &str, paths: &[f32], shape: [usize; 3], times: &[f64]) -> Result<RgbImage> {
    let tiles = Tiles::new(title, paths, shape, VISIBLE_SIDE)?;
    let n_times = times.len();
    if n_times == 0 {
        return Err(Error::Zero { what: "the number of times" });
    }
    if !tiles.n_images.is_multiple_of(n_times) {
        return Err(Error::Ragged {
            what: format!("paths `{title}`"),
            len: paths.len(),
            row: n_times * paths.len() / tiles.n_images,
        });
    }
    let (tile_width, tile_height) = tiles.size();
    let column_width = tile_width + COLUMN_GAP;
    let n_paths = tiles.n_images / n_times;
    let width = 2 * BORDER + n_times * column_width - COLUMN_GAP;
    let height = 2 * BORDER + HEADER + n_paths * (tile_height + ROW_GAP) - ROW_GAP.min(n_paths * ROW_GAP);
    let mut canvas = Canvas::new(width, height)?;
    let title = with_skipped(title, tiles.n_skipped());
    let title = TITLE.fit(&title, (n_times * column_width) as f32);
    let (left, top) = (BORDER as f32, BORDER as f32);
    canvas.text(left, top + 14.0, &title, TITLE, Align::Left);
    for (time_idx, time) in times.iter().enumerate() {
        let center = left + (time_idx * column_width) as f32 + 0.5 * tile_width as f32;
        let label = if time_idx == 0 { format!("t = {time:.2}") } else { format!("{time:.2}") };
        let label = TIME.fit(&label, tile_width as f32);
        canvas.text(center, top + 44.0, &label, TIME, Align::Center);
    }
    for image_idx in 0..tiles.n_images {
        let (row, column) = (image_idx / n_times, image_idx % n_times);
        let x = BORDER + column * column_width;
        let y = BORDER + HEADER + row * (tile_height + ROW_GAP);
        tiles.draw(&mut canvas, image_idx, x as i64, y as i64);
    }
    Ok(canvas.into_image())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_times_and_rows_are_paths() {
        let paths = [-1.0, 0.0, 1.0, 1.0, 0.0, -1.0];
        let image = film_strip("paths", &paths, [1, 1, 1], &[0.0, 0.5, 1.0]).unwrap();
        let at = |row: usize, column: usize| {
            let x = BORDER + column * (VISIBLE_SIDE + COLUMN_GAP) + 3;
            let y = BORDER + HEADER + row * (VISIBLE_SIDE + ROW_GAP) + 3;
            image.get_pixel(x as u32, y as u32).0[0]
        };
        assert_eq!([at(0, 0), at(0, 1), at(0, 2)], [0, 128, 255]);
        assert_eq!([at(1, 0), at(1, 1), at(1, 2)], [255, 128, 0]);
    }

    #[test]
    fn wrong_numbers_of_images_are_named() {
        let error = film_strip("p", &[0.0; 5], [1, 1, 1], &[0.0, 1.0]).unwrap_err();
        assert_eq!(error.to_string(), "paths `p`: 5 values do not divide into rows of 2");
        assert!(film_strip("p", &[0.0; 5], [1, 1, 1], &[]).is_err());
        assert!(film_strip("p", &[], [1, 1, 1], &[0.5]).is_ok());
    }
}
