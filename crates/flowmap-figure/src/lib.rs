//! Figures and reports of generative models, drawn in memory.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod axis;
mod canvas;
mod colormap;
mod comparison;
mod curves;
mod density;
mod error;
mod film_strip;
mod images;
mod plot;
mod quality;
pub mod report;
mod samples;
mod text;
mod time_bins;
mod trajectories;

pub use axis::Scale;
pub use comparison::comparison;
pub use curves::{Series, curves};
pub use error::{Error, Result};
pub use film_strip::film_strip;
pub use image::RgbImage;
pub use images::{ImageGroup, images_grid};
pub use quality::quality_vs_steps;
pub use samples::{Panel2d, samples_2d};
pub use time_bins::{BinPanel, time_bins};
pub use trajectories::trajectories_2d;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

/// The bytes of a PNG file; the caller writes them.
///
/// # Errors
/// [`Error::Encode`] if the encoder refuses the image, for example one without pixels.
///
/// # Example
/// ```
/// use flowmap_figure::{Panel2d, encode_png, samples_2d};
///
/// # fn main() -> Result<(), flowmap_figure::Error> {
/// let panel = Panel2d { title: "data", subtitle: "", points: &[0.5, -0.5, 0.1, 0.2] };
/// let png = encode_png(&samples_2d(&[panel], 4.0)?)?;
/// assert_eq!(&png[1..4], b"PNG");
/// # Ok(())
/// # }
/// ```
pub fn encode_png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::Adaptive).write_image(
        image.as_raw(),
        image.width(),
        image.height(),
        ExtendedColorType::Rgb8,
    )?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn png_holds_the_size_and_the_pixels() {
        let image = RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8, y as u8, 200]));
        let png = encode_png(&image).unwrap();
        let back = image::load_from_memory(&png).unwrap().into_rgb8();
        assert_eq!(back, image);
    }

    #[test]
    fn encoding_is_deterministic() {
        let image = RgbImage::from_fn(50, 30, |x, y| image::Rgb([(x * y) as u8, 1, 2]));
        assert_eq!(encode_png(&image).unwrap(), encode_png(&image).unwrap());
    }
}
