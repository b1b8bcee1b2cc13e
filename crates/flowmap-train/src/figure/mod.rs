//! Figures of a run, drawn in memory.
//!
//! Every function takes plain slices and returns an [`image::RgbImage`]; nothing here touches the file system,
//! a font of the system or a tensor.
//! The same input gives the same pixels in every run.
//! Values that are not finite are left out and counted in the figure, since a figure is where a person looks for them.
//!
//! | function | shows |
//! |---|---|
//! | [`samples_2d`] | points in the plane as densities side by side: data, then N = 1, 2, 4, ... |
//! | [`images_grid`] | groups of images: data, then N = 1, 2, 4, ... |
//! | [`trajectories_2d`] | paths from noise to data over the density of the data |
//! | [`film_strip`] | images along such paths |
//! | [`curves`] | losses and other logged numbers over steps |
//! | [`quality_vs_steps`] | a distance to the data over the number of steps N |
//! | [`time_bins`] | losses by their times s and t |
//! | [`comparison`] | the same for many methods, each named beside its line |

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
mod samples;
mod text;
mod time_bins;
mod trajectories;

pub use axis::Scale;
pub use comparison::comparison;
pub use curves::{Series, curves};
pub use error::FigureError;
pub use film_strip::film_strip;
pub use images::{ImageGroup, images_grid};
pub use quality::quality_vs_steps;
pub use samples::{Panel2d, samples_2d};
pub use time_bins::{BinPanel, time_bins};
pub use trajectories::trajectories_2d;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};

/// The bytes of a PNG file; the caller writes them.
///
/// # Errors
/// [`FigureError::Encode`] if the encoder refuses the image, for example one without pixels.
///
/// # Example
/// ```
/// use flowmap_train::figure::{Panel2d, encode_png, samples_2d};
///
/// # fn main() -> Result<(), flowmap_train::figure::FigureError> {
/// let panel = Panel2d { title: "data", subtitle: "", points: &[0.5, -0.5, 0.1, 0.2] };
/// let png = encode_png(&samples_2d(&[panel], 4.0)?)?;
/// assert_eq!(&png[1..4], b"PNG");
/// # Ok(())
/// # }
/// ```
pub fn encode_png(image: &RgbImage) -> Result<Vec<u8>, FigureError> {
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
