//! PNG, JPEG and WebP images brought to one size.
//!
//! The order: decode, turn as EXIF says, lay over white, cut out the middle where `crop` says so, bring the shorter side
//! to `size`, cut out the middle.
//! Resizing is bicubic (Catmull-Rom) over the area of the source that a pixel covers, as Pillow's is.
//! Gray is the luma of the colors.

use std::num::NonZeroU32;

use image::imageops::{FilterType, crop_imm, resize};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};
use serde::{Deserialize, Serialize};

use super::{jpeg, png};
use crate::error::RecordFault;
use crate::{Error, Result};

/// Whether images have one channel or three.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Channels {
    /// One.
    Gray,
    /// Red, green and blue.
    #[default]
    Rgb,
}

impl Channels {
    /// How many.
    pub fn number(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
        }
    }
}

/// How images get their size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fit {
    /// Height and width at the end; without it images stay as they are.
    pub size: Option<NonZeroU32>,
    /// Side of the square that is cut out of the middle before.
    pub crop: Option<NonZeroU32>,
    pub channels: Channels,
}

/// The bytes of an image, `[C, H, W]` row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub shape: [usize; 3],
    pub bytes: Vec<u8>,
}

impl Fit {
    /// Shape of an image if it is known beforehand.
    pub fn shape(&self) -> Option<[usize; 3]> {
        let side = self.size?.get() as usize;
        Some([self.channels.number(), side, side])
    }

    /// Decodes a PNG, JPEG or WebP file; `place` names it in messages.
    ///
    /// # Errors
    /// Bytes that are no such image, a cut or damaged image, or one smaller than the part to cut out.
    pub fn decode(&self, file: &[u8], place: &str) -> Result<Decoded> {
        let record = |fault: RecordFault| Error::Record { place: place.into(), fault };
        let mut image = over_white(decode(file).map_err(record)?);
        if let Some(side) = self.crop {
            image = middle(&image, side.get(), place)?;
        }
        if let Some(side) = self.size.map(NonZeroU32::get) {
            let (width, height) = image.dimensions();
            let shorter = width.min(height).max(1);
            if shorter != side {
                let scaled = |extent: u32| {
                    let scaled = f64::from(extent) * f64::from(side) / f64::from(shorter);
                    (scaled.round() as u32).max(side)
                };
                image = resize(&image, scaled(width), scaled(height), FilterType::CatmullRom);
            }
            image = middle(&image, side, place)?;
        }
        Ok(self.planes(image))
    }

    /// The channels of an image one after the other.
    fn planes(&self, image: RgbImage) -> Decoded {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let shape = [self.channels.number(), height, width];
        let bytes = match self.channels {
            Channels::Gray => DynamicImage::ImageRgb8(image).into_luma8().into_raw(),
            Channels::Rgb => {
                let pixels = image.into_raw();
                let channel = |c: usize| pixels.iter().skip(c).step_by(3).copied();
                (0..3).flat_map(channel).collect()
            }
        };
        Decoded { shape, bytes }
    }
}

/// The pixels of a file, turned as a viewer shows them.
fn decode(file: &[u8]) -> Result<DynamicImage, RecordFault> {
    let not_an_image = |message: String| RecordFault::NotAnImage { message };
    let format = image::guess_format(file).map_err(|_| not_an_image("other bytes".into()))?;
    match format {
        ImageFormat::Jpeg => jpeg::check(file)?,
        ImageFormat::Png => png::check(file)?,
        ImageFormat::WebP => {
            // The header says how long the file is behind it, and the decoder does not look.
            let length = file.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
            let (expected, found) = (u64::from(length) + 8, file.len() as u64);
            if found < expected {
                return Err(RecordFault::CutImage { expected, found });
            }
        }
        other => {
            let name = other.extensions_str().first().unwrap_or(&"another");
            return Err(not_an_image(format!("an image of format {name}")));
        }
    }
    let decoded = || {
        let mut decoder = ImageReader::with_format(std::io::Cursor::new(file), format).into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        if orientation != Orientation::NoTransforms {
            image.apply_orientation(orientation);
        }
        Ok(image)
    };
    decoded().map_err(|error: image::ImageError| not_an_image(error.to_string()))
}

/// The colors of an image, transparent ones laid over white as a page shows them.
fn over_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba16(); // bytes times 257
    const MAX: u64 = 65_535;
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [color @ .., alpha] = image.get_pixel(x, y).0.map(u64::from);
        // Rounded to the nearest byte.
        let laid = |color: u64| (color * alpha + MAX * (MAX - alpha) + MAX * 257 / 2) / (MAX * 257);
        image::Rgb(color.map(|color| laid(color) as u8))
    })
}

/// The square of this side in the middle of an image.
fn middle(image: &RgbImage, side: u32, place: &str) -> Result<RgbImage> {
    let (width, height) = image.dimensions();
    if width < side || height < side {
        let fault = RecordFault::TooSmall { side, height, width };
        return Err(Error::Record { place: place.into(), fault });
    }
    Ok(crop_imm(image, (width - side) / 2, (height - side) / 2, side, side).to_image())
}

/// Images of one shape as they come; the first sets the shape if none is given.
#[derive(Debug)]
pub(crate) struct OneShape {
    pub shape: Option<[usize; 3]>,
    pub bytes: Vec<u8>,
}

impl OneShape {
    /// Appends an image.
    ///
    /// # Errors
    /// An image of another shape than those before.
    pub fn push(&mut self, image: Decoded, place: &str) -> Result<()> {
        let expected = *self.shape.get_or_insert(image.shape);
        if expected != image.shape {
            let fault = RecordFault::OtherShape { expected, found: image.shape };
            return Err(Error::Record { place: place.into(), fault });
        }
        self.bytes.extend(image.bytes);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::{ImageFormat, Rgb};

    use super::*;

    fn png(width: u32, height: u32, color: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        RgbImage::from_fn(width, height, |x, y| Rgb(color(x, y)))
            .write_to(&mut bytes, ImageFormat::Png)
            .unwrap();
        bytes.into_inner()
    }

    fn fit(size: u32, crop: u32, channels: Channels) -> Fit {
        Fit { size: NonZeroU32::new(size), crop: NonZeroU32::new(crop), channels }
    }

    #[test]
    fn channels_come_one_after_the_other() {
        let image = png(2, 1, |x, _| [x as u8, 10 + x as u8, 20 + x as u8]);
        let decoded = fit(0, 0, Channels::Rgb).decode(&image, "x.png").unwrap();
        assert_eq!((decoded.shape, &decoded.bytes[..]), ([3, 1, 2], &[0, 1, 10, 11, 20, 21][..]));
    }

    #[test]
    fn the_middle_is_kept() {
        let image = png(6, 4, |x, y| [10 * x as u8 + y as u8; 3]);
        let decoded = fit(0, 2, Channels::Gray).decode(&image, "x.png").unwrap();
        assert_eq!((decoded.shape, &decoded.bytes[..]), ([1, 2, 2], &[21, 31, 22, 32][..]));
    }

    #[test]
    fn the_shorter_side_gets_the_size_and_every_source_pixel_counts() {
        // Stripes of one pixel average out, which they would not without the area of the source.
        let image = png(64, 32, |x, _| [if x % 2 == 0 { 0 } else { 200 }; 3]);
        let decoded = fit(8, 0, Channels::Gray).decode(&image, "x.png").unwrap();
        assert_eq!(decoded.shape, [1, 8, 8]);
        assert!(decoded.bytes.iter().all(|byte| byte.abs_diff(100) <= 12), "{:?}", decoded.bytes);
        let same = png(8, 8, |x, y| [10 * x as u8 + y as u8; 3]);
        let decoded = fit(8, 0, Channels::Gray).decode(&same, "x.png").unwrap();
        assert_eq!(decoded.bytes[..3], [0, 10, 20]);
    }

    #[test]
    fn bad_images_are_named() {
        let refusal = |bytes: &[u8]| fit(0, 9, Channels::Rgb).decode(bytes, "x.png").unwrap_err().to_string();
        assert_eq!(refusal(b"hello"), "x.png: expected a PNG, JPEG or WebP image, found other bytes");
        assert_eq!(
            refusal(&png(9, 8, |_, _| [1; 3])),
            "x.png: expected an image of at least 9 x 9 pixels, found 8 x 9 (height x width)"
        );
        let whole = png(9, 9, |x, y| [x as u8 * y as u8; 3]);
        assert_eq!(
            refusal(&whole[..whole.len() / 2]),
            "x.png: expected a whole PNG image, found the end of the file within chunk 1 (counted from 0), before the end of the image"
        );
    }
}
