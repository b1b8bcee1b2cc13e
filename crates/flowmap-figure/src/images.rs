//! Groups of images in grids.

use image::RgbImage;

use crate::canvas::{Canvas, Rect};
use crate::colormap::{INK, MUTED, WARNING};
use crate::samples::with_skipped;
use crate::text::{Align, TextStyle};
use crate::{Error, Result};

/// Images are enlarged by a whole factor until their larger side has this many pixels.
const VISIBLE_SIDE: usize = 40;
/// Room between images of a group.
const GAP: usize = 4;
/// Room between groups.
const GROUP_GAP: usize = 28;
/// Room for the title of a group.
const HEADER: usize = 34;
/// Border of the figure.
const BORDER: usize = 18;
/// Groups stand side by side up to this width.
const MAX_WIDTH: usize = 1600;
/// A group is at least this wide, for its title.
const MIN_GROUP: usize = 120;

const TITLE: TextStyle = TextStyle::bold(18.0, INK);
const EMPTY: TextStyle = TextStyle::regular(13.0, MUTED);

/// One group of [`images_grid`].
#[derive(Clone, Copy, Debug)]
pub struct ImageGroup<'a> {
    /// Bold line above, such as `N = 4`.
    pub title: &'a str,
    /// The images, `(n, C, H, W)` row-major, in [-1, 1]; values beyond are clamped.
    pub images: &'a [f32],
    /// `[C, H, W]` with C = 1 (gray) or 3 (RGB).
    pub shape: [usize; 3],
    /// Images in a row.
    pub n_columns: usize,
}

/// Grids of images with titles, side by side if there is room, else below each other.
///
/// Small images are enlarged by a whole factor, without interpolation.
/// Pixels that are not finite are red, and their number stands in the title of the group.
///
/// # Errors
/// [`Error::Zero`] without groups, columns or pixels, [`Error::Channels`],
/// [`Error::Ragged`] if the values are no whole images, [`Error::TooLarge`].
///
/// # Example
/// ```
/// use flowmap_figure::{ImageGroup, images_grid};
///
/// # fn main() -> Result<(), flowmap_figure::Error> {
/// let two_gray_images = [0.0; 2 * 8 * 8];
/// let group = ImageGroup { title: "data", images: &two_gray_images, shape: [1, 8, 8], n_columns: 2 };
/// let image = images_grid(&[group])?;
/// assert!(image.width() >= 80);
/// # Ok(())
/// # }
/// ```
pub fn images_grid(groups: &[ImageGroup<'_>]) -> Result<RgbImage> {
    if groups.is_empty() {
        return Err(Error::Zero { what: "the number of groups" });
    }
    // Place the groups as words on lines.
    let mut places = Vec::new();
    let (mut x, mut y, mut line_height, mut width) = (BORDER, BORDER, 0, 0);
    for group in groups {
        let tiles = Tiles::new(group.title, group.images, group.shape, VISIBLE_SIDE)?;
        if group.n_columns == 0 {
            return Err(Error::Zero { what: "the number of columns" });
        }
        let n_columns = group.n_columns.min(tiles.n_images.max(1));
        let n_rows = tiles.n_images.div_ceil(n_columns).max(1);
        let (tile_width, tile_height) = tiles.size();
        let group_width = (n_columns * (tile_width + GAP) - GAP).max(MIN_GROUP);
        let group_height = HEADER + n_rows * (tile_height + GAP) - GAP;
        if x > BORDER && x + group_width + BORDER > MAX_WIDTH {
            (x, y, line_height) = (BORDER, y + line_height + GROUP_GAP, 0);
        }
        places.push((tiles, n_columns, Rect::new(x, y, group_width, group_height)));
        width = width.max(x + group_width + BORDER);
        x += group_width + GROUP_GAP;
        line_height = line_height.max(group_height);
    }
    let mut canvas = Canvas::new(width, y + line_height + BORDER)?;
    for (group, (tiles, n_columns, area)) in groups.iter().zip(places) {
        let (x, y) = (area.x as f32, area.y as f32);
        let title = TITLE.fit(&with_skipped(group.title, tiles.n_skipped()), area.width as f32);
        canvas.text(x, y + 16.0, &title, TITLE, Align::Left);
        if tiles.n_images == 0 {
            canvas.text(x, y + 46.0, "no images", EMPTY, Align::Left);
        }
        let (tile_width, tile_height) = tiles.size();
        for image_idx in 0..tiles.n_images {
            let column = (image_idx % n_columns * (tile_width + GAP)) as i64;
            let row = (image_idx / n_columns * (tile_height + GAP)) as i64;
            tiles.draw(&mut canvas, image_idx, area.x + column, area.y + HEADER as i64 + row);
        }
    }
    Ok(canvas.into_image())
}

/// Checked images and the factor that makes them visible.
#[derive(Debug)]
pub(crate) struct Tiles<'a> {
    images: &'a [f32],
    shape: [usize; 3],
    factor: usize,
    pub(crate) n_images: usize,
}

impl<'a> Tiles<'a> {
    /// Checks the shape; `what` names the images in errors.
    ///
    /// # Errors
    /// As [`images_grid`].
    pub(crate) fn new(what: &str, images: &'a [f32], shape: [usize; 3], visible_side: usize) -> Result<Self> {
        let [channels, height, width] = shape;
        if height == 0 || width == 0 {
            return Err(Error::Zero { what: "the number of pixels" });
        }
        if channels != 1 && channels != 3 {
            return Err(Error::Channels { channels });
        }
        let side = height.max(width);
        // Refuses absurd shapes before anything is multiplied.
        Canvas::check_size(side, side)?;
        let image_len = channels * height * width;
        if !images.len().is_multiple_of(image_len) {
            return Err(Error::Ragged {
                what: format!("images `{what}`"),
                len: images.len(),
                row: image_len,
            });
        }
        Ok(Self {
            images,
            shape,
            factor: visible_side.div_ceil(side).max(1),
            n_images: images.len() / image_len,
        })
    }

    /// Width and height of an image in the figure, in pixels.
    pub(crate) fn size(&self) -> (usize, usize) {
        let [_, height, width] = self.shape;
        (width * self.factor, height * self.factor)
    }

    /// How many values are not finite.
    pub(crate) fn n_skipped(&self) -> usize {
        self.images.iter().filter(|v| !v.is_finite()).count()
    }

    /// Draws one image with its top left corner at `(x, y)`.
    pub(crate) fn draw(&self, canvas: &mut Canvas, image_idx: usize, x: i64, y: i64) {
        let [channels, height, width] = self.shape;
        let image = &self.images[image_idx * channels * height * width..];
        for row in 0..height {
            for column in 0..width {
                let value = |channel: usize| image[(channel * height + row) * width + column];
                // Gray repeats its only channel.
                let rgb = [0, 1, 2].map(|channel: usize| value(channel.min(channels - 1)));
                let color = if rgb.iter().all(|v| v.is_finite()) {
                    rgb.map(|v| ((v.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8)
                } else {
                    WARNING
                };
                let side = self.factor as i64;
                let block =
                    Rect { x: x + column as i64 * side, y: y + row as i64 * side, width: side, height: side };
                canvas.fill(block, color, 1.0);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Top left pixel of the first image.
    const CORNER: (u32, u32) = (BORDER as u32, (BORDER + HEADER) as u32);

    fn group(images: &[f32], shape: [usize; 3]) -> ImageGroup<'_> {
        let (title, n_columns) = ("g", 2);
        ImageGroup { title, images, shape, n_columns }
    }

    #[test]
    fn gray_values_are_enlarged_to_blocks() {
        let mut images = vec![-1.0; 64];
        images[0] = 1.0;
        images[1] = 0.0;
        let image = images_grid(&[group(&images, [1, 8, 8])]).unwrap();
        let (x, y) = CORNER;
        assert_eq!(image.get_pixel(x + 4, y + 4).0, [255; 3]);
        assert_eq!(image.get_pixel(x + 5, y + 4).0, [128; 3]);
        assert_eq!(image.get_pixel(x + 10, y + 4).0, [0; 3]);
        assert_eq!(image.get_pixel(x + 39, y + 39).0, [0; 3]);
        assert_eq!(image.get_pixel(x + 40, y + 40).0, [255; 3]);
    }

    #[test]
    fn rgb_channels_come_first_in_memory() {
        let mut images = vec![-1.0; 3 * 4];
        images[4..8].fill(1.0);
        let image = images_grid(&[group(&images, [3, 2, 2])]).unwrap();
        assert_eq!(image.get_pixel(CORNER.0, CORNER.1).0, [0, 255, 0]);
    }

    #[test]
    fn values_that_are_not_finite_are_red() {
        let image = images_grid(&[group(&[f32::NAN, 9.0], [1, 1, 1])]).unwrap();
        assert_eq!(image.get_pixel(CORNER.0, CORNER.1).0, WARNING);
        assert_eq!(image.get_pixel(CORNER.0 + 40 + GAP as u32, CORNER.1).0, [255; 3]);
    }

    #[test]
    fn groups_wrap_at_the_width_of_a_page() {
        let images = vec![0.0; 64 * 20];
        let groups: Vec<ImageGroup<'_>> =
            (0..3).map(|_| ImageGroup { n_columns: 20, ..group(&images, [1, 8, 8]) }).collect();
        let image = images_grid(&groups).unwrap();
        assert!(image.width() as usize <= MAX_WIDTH);
        assert!(image.height() as usize >= 3 * (HEADER + 40));
    }

    #[test]
    fn wrong_shapes_are_named() {
        let cases: [(&[f32], [usize; 3], &str); 4] = [
            (&[0.0; 65], [1, 8, 8], "images `g`: 65 values do not divide into rows of 64"),
            (&[0.0; 8], [2, 2, 2], "images of 2 channels, expected 1 (gray) or 3 (RGB)"),
            (&[], [1, 0, 8], "the number of pixels is 0, expected at least 1"),
            (&[], [1, usize::MAX, 8], "figure of"),
        ];
        for (images, shape, message) in cases {
            let error = images_grid(&[group(images, shape)]).unwrap_err();
            assert!(error.to_string().starts_with(message), "{error}");
        }
        assert!(images_grid(&[]).is_err());
        let no_columns = ImageGroup { n_columns: 0, ..group(&[0.0], [1, 1, 1]) };
        assert!(images_grid(&[no_columns]).is_err());
    }

    #[test]
    fn empty_group_is_drawn() {
        assert!(images_grid(&[group(&[], [1, 8, 8])]).is_ok());
    }
}
