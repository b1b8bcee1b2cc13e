//! Which dimension of an array of images holds the channels.
//!
//! NumPy calls arrays that are saved without a name `arr_0`, and the programs that publish samples of images so write
//! (N, H, W, C): an array of that name is read so if its last extent is 1, 3 or 4.
//! Any other array is (N, C, H, W), and is refused if it looks like (N, H, W, C).

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Warning};

/// The order of the dimensions of an array of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layout {
    /// (N, C, H, W).
    Nchw,
    /// (N, H, W, C).
    Nhwc,
}

/// The name that NumPy gives to the first array without one.
pub(crate) const NAMELESS: &str = "arr_0";

impl Layout {
    /// The layout of an array of which the config says none; `remedy` is what settles it.
    ///
    /// # Errors
    /// [`Error::WrongLayout`] for an array that looks like (N, H, W, C).
    pub(crate) fn of(
        name: &str,
        shape: [usize; 4],
        place: &str,
        remedy: &'static str,
    ) -> Result<(Self, Option<Warning>)> {
        let [_, first, middle, last] = shape;
        let is_channels = |extent: usize| matches!(extent, 1 | 3 | 4);
        // A square of the last two extents is an image, whatever its side.
        let looks_last = middle != last && (is_channels(last) || (first == middle && last < first));
        let layout = if name == NAMELESS && is_channels(last) { Self::Nhwc } else { Self::Nchw };
        if layout == Self::Nchw && !is_channels(first) && looks_last {
            let found = shape.map(|extent| extent as u64).into();
            return Err(Error::WrongLayout { place: place.into(), found, remedy });
        }
        let is_in_doubt = is_channels(first) && is_channels(last) && (middle != last || layout == Self::Nhwc);
        let warning = || Warning {
            subject: place.into(),
            seen: format!("shape {shape:?} may be (N, C, H, W) or (N, H, W, C)"),
            consequence: format!("it is read as {layout}"),
            remedy: remedy.into(),
        };
        Ok((layout, is_in_doubt.then(warning)))
    }

    /// Shape `[C, H, W]` of one image of an array of this shape.
    pub(crate) fn sample(self, [_, a, b, c]: [usize; 4]) -> [usize; 3] {
        match self {
            Self::Nchw => [a, b, c],
            Self::Nhwc => [c, a, b],
        }
    }

    /// Appends an image to `out`, its channels one after the other.
    pub(crate) fn planes<T: Copy>(self, image: &[T], channels: usize, out: &mut Vec<T>) {
        match self {
            Self::Nchw => out.extend_from_slice(image),
            Self::Nhwc => (0..channels).for_each(|c| out.extend(image.iter().skip(c).step_by(channels))),
        }
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nchw => "(N, C, H, W)",
            Self::Nhwc => "(N, H, W, C)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_where_name_and_shape_say() {
        let of = |name: &str, shape| match Layout::of(name, shape, "x", "remedy") {
            Ok((layout, warning)) => Some((layout, warning.is_some())),
            Err(_) => None,
        };
        let (first, last) = (Some((Layout::Nchw, false)), Some((Layout::Nhwc, false)));
        for channels in [1, 3, 4] {
            assert_eq!(of("images", [9, channels, 16, 16]), first);
            assert_eq!(of("arr_0", [9, channels, 16, 16]), first);
            assert_eq!(of("images", [9, 16, 16, channels]), None);
            assert_eq!(of("arr_0", [9, 16, 16, channels]), last);
            assert_eq!(of("arr_0", [9, 16, 24, channels]), last);
            assert_eq!(of("samples", [9, 16, 24, channels]), None);
        }
        assert_eq!(of("images", [9, 16, 16, 2]), None);
        assert_eq!(of("images", [9, 2, 16, 16]), first);
        assert_eq!(of("images", [9, 16, 4, 8]), first);
        assert_eq!(of("latents", [9, 16, 4, 4]), first);
        assert_eq!(of("latents", [9, 4, 4, 4]), first);
        assert_eq!(of("images", [9, 3, 16, 3]), Some((Layout::Nchw, true)));
        assert_eq!(of("arr_0", [9, 1, 16, 1]), Some((Layout::Nhwc, true)));
    }
}
