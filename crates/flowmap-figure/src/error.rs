//! What can be wrong with the data of a figure.

/// The result of drawing.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a figure cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The values do not divide into whole rows.
    #[error("{what}: {len} values do not divide into rows of {row}")]
    Ragged {
        /// The argument or the panel that is at fault.
        what: String,
        /// How many values came.
        len: usize,
        /// How many values one row has.
        row: usize,
    },

    /// The two coordinates of a series have different lengths.
    #[error("series `{series}`: {n_x} values of x, but {n_y} values of y")]
    SeriesLength {
        /// Name of the series.
        series: String,
        /// How many values of x came.
        n_x: usize,
        /// How many values of y came.
        n_y: usize,
    },

    /// The half-width of the window on the plane is not a positive number.
    #[error("extent {extent}: expected a finite number above 0")]
    Extent {
        /// The value that came.
        extent: f64,
    },

    /// A count that must be positive is 0.
    #[error("{what} is 0, expected at least 1")]
    Zero {
        /// What was counted.
        what: &'static str,
    },

    /// Images are gray or RGB.
    #[error("images of {channels} channels, expected 1 (gray) or 3 (RGB)")]
    Channels {
        /// The number of channels that came.
        channels: usize,
    },

    /// The figure would be larger than any viewer shows.
    #[error("figure of {width} x {height} pixels, the limit is {limit} on each side")]
    TooLarge {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// The largest side in pixels.
        limit: usize,
    },

    /// The PNG encoder refused the image.
    #[error("encoding the figure as PNG")]
    Encode(#[from] image::ImageError),
}
