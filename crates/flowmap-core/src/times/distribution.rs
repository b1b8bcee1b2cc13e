//! The distributions of pairs (s, t) with s ≤ t, as a part of a configuration.

use serde::{Deserialize, Serialize};

use super::{Jump, Widths, dyadic, fixed_end, grid, log_tangent, logit_normal, logit_width, uniform};
use crate::{Noise, Result};

/// The place of a row among those of a batch whose times have one law.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index of the row, from 0.
    pub row: usize,
    /// Number of rows of the batch.
    pub n_rows: usize,
}

/// A distribution of pairs of times (s, t), 0 ≤ s ≤ t ≤ 1.
///
/// In a file it is a table whose `kind` is the name of the variant; unknown keys are refused
/// (the variants without parameters have braces for that reason).
///
/// ```
/// use flowmap_core::{NoiseStream, Stream, TimeDistribution};
/// let times = TimeDistribution::LogitNormal { mean: 0.4, std: 1.0 };
/// times.validate()?;
/// let jump = times.draw(&mut NoiseStream::new(1, Stream::Times).at(0));
/// assert!(jump.s() <= jump.t());
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum TimeDistribution {
    /// Uniform on the triangle s ≤ t: the smaller and the larger of two uniform times.
    Uniform {},
    /// The smaller and the larger of two logit-normal times (MeanFlow).
    LogitNormal {
        /// Mean of the logit, finite; positive values favor the data.
        mean: f64,
        /// Standard deviation of the logit, positive.
        std: f64,
    },
    /// A width from {1, ½, …, 1/n_steps} and a start on the grid of that width (shortcut models).
    Dyadic {
        /// One over the smallest width; a power of two.
        n_steps: u32,
        /// How the rows of a batch get their widths.
        #[serde(default, skip_serializing_if = "Widths::are_drawn")]
        widths: Widths,
    },
    /// A step of an even grid, all equally likely (the flow matching of the code of shortcut models).
    Grid {
        /// Number of steps of the grid, at least 1.
        n_steps: u32,
    },
    /// t = 1 and s uniform (consistency models).
    FixedEnd {},
    /// A width whose logit is normal, and a start that is uniform over the starts that fit (Align Your Flow).
    LogitWidth {
        /// Mean of the logit, finite.
        mean: f64,
        /// Standard deviation of the logit, positive.
        std: f64,
    },
    /// t = 1 and s such that the tangent of TrigFlow's angle is log-normal (continuous-time consistency models).
    LogTangent {
        /// Mean of the logarithm, finite; negative values favor the data.
        mean: f64,
        /// Standard deviation of the logarithm, positive.
        std: f64,
    },
}

impl Default for TimeDistribution {
    fn default() -> Self {
        Self::Uniform {}
    }
}

impl TimeDistribution {
    /// Dyadic pairs with widths that are drawn.
    pub fn dyadic(n_steps: u32) -> Self {
        Self::Dyadic { n_steps, widths: Widths::Drawn }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a mean that is not finite, a deviation that is not
    /// positive, or a count that is zero or, where it must be one, not a power of two.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::Uniform {} | Self::FixedEnd {} => Ok(()),
            Self::LogitNormal { mean, std }
            | Self::LogitWidth { mean, std }
            | Self::LogTangent { mean, std } => logit_normal::validate(mean, std),
            Self::Dyadic { n_steps, .. } => dyadic::validate(n_steps),
            Self::Grid { n_steps } => grid::validate(n_steps),
        }
    }

    /// How many rows a batch has at least, so that all of the law is in it: 1, or one for each width that is counted.
    pub fn min_rows(&self) -> usize {
        match *self {
            Self::Dyadic { n_steps, widths: Widths::Counted } => dyadic::n_widths(n_steps),
            _ => 1,
        }
    }

    /// The pair of a row of a batch: as [`Self::draw`], unless the law distributes widths among the rows.
    ///
    /// The pair depends on the noise and the place of the row alone.
    pub fn draw_at(&self, place: Place, noise: &mut Noise) -> Jump {
        match *self {
            Self::Dyadic { n_steps, widths: Widths::Counted } => dyadic::draw_counted(n_steps, place, noise),
            _ => self.draw(noise),
        }
    }

    /// One pair by itself; widths are drawn.
    /// With parameters that do not validate it is still a pair in order, without a meaning.
    pub fn draw(&self, noise: &mut Noise) -> Jump {
        match *self {
            Self::Uniform {} => uniform::draw(noise),
            Self::LogitNormal { mean, std } => logit_normal::draw(mean, std, noise),
            Self::Dyadic { n_steps, .. } => dyadic::draw(n_steps, noise),
            Self::Grid { n_steps } => grid::draw(n_steps, noise),
            Self::FixedEnd {} => fixed_end::draw(noise),
            Self::LogitWidth { mean, std } => logit_width::draw(mean, std, noise),
            Self::LogTangent { mean, std } => log_tangent::draw(mean, std, noise),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{NoiseStream, Stream};

    #[test]
    fn distributions_round_trip_through_toml() {
        for (text, distribution) in [
            ("kind = \"uniform\"\n", TimeDistribution::Uniform {}),
            (
                "kind = \"logit_normal\"\nmean = -0.4\nstd = 1.0\n",
                TimeDistribution::LogitNormal { mean: -0.4, std: 1.0 },
            ),
            ("kind = \"dyadic\"\nn_steps = 128\n", TimeDistribution::dyadic(128)),
            (
                "kind = \"dyadic\"\nn_steps = 64\nwidths = \"counted\"\n",
                TimeDistribution::Dyadic { n_steps: 64, widths: Widths::Counted },
            ),
            ("kind = \"grid\"\nn_steps = 128\n", TimeDistribution::Grid { n_steps: 128 }),
            ("kind = \"fixed_end\"\n", TimeDistribution::FixedEnd {}),
            (
                "kind = \"logit_width\"\nmean = -0.8\nstd = 1.0\n",
                TimeDistribution::LogitWidth { mean: -0.8, std: 1.0 },
            ),
            (
                "kind = \"log_tangent\"\nmean = -0.3\nstd = 1.4\n",
                TimeDistribution::LogTangent { mean: -0.3, std: 1.4 },
            ),
        ] {
            assert_eq!(toml::from_str::<TimeDistribution>(text).unwrap(), distribution);
            assert_eq!(toml::to_string(&distribution).unwrap(), text);
            assert_eq!(distribution.validate(), Ok(()));
        }
    }

    #[test]
    fn unknown_keys_and_kinds_are_refused() {
        for text in [
            "kind = \"uniform\"\nmean = 1.0",
            "kind = \"fixed_end\"\nend = 1.0",
            "kind = \"logit_normal\"\nmean = 0.0\nstd = 1.0\nsdt = 1.0",
            "kind = \"dyadic\"",
            "kind = \"dyadic\"\nn_steps = 8\nwidths = \"equal\"",
            "kind = \"triangle\"",
        ] {
            assert!(toml::from_str::<TimeDistribution>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn invalid_parameter_is_named_in_the_message() {
        let error = TimeDistribution::LogitNormal { mean: 0.0, std: -1.0 }.validate().unwrap_err();
        assert_eq!(error.to_string(), "`std` must be positive and finite, found -1");
        let error = TimeDistribution::dyadic(12).validate().unwrap_err();
        assert_eq!(error.to_string(), "`n_steps` must be a power of two, found 12");
    }

    #[test]
    fn a_draw_depends_on_its_noise_alone() {
        let stream = NoiseStream::new(3, Stream::Times);
        let uniform = TimeDistribution::default();
        assert_eq!(uniform.draw(&mut stream.at(9)), uniform.draw(&mut stream.at(9)));
        assert_ne!(uniform.draw(&mut stream.at(9)), uniform.draw(&mut stream.at(8)));
    }

    #[test]
    fn place_of_a_row_matters_to_counted_widths_alone() {
        let stream = NoiseStream::new(3, Stream::Times);
        let counted = TimeDistribution::Dyadic { n_steps: 8, widths: Widths::Counted };
        let first = Place { row: 0, n_rows: 4 };
        for law in [TimeDistribution::default(), TimeDistribution::dyadic(8)] {
            assert_eq!(law.draw_at(first, &mut stream.at(9)), law.draw(&mut stream.at(9)));
            assert_eq!(law.min_rows(), 1);
        }
        assert_eq!(counted.draw_at(first, &mut stream.at(9)).width(), 0.125);
        assert_eq!(counted.draw_at(Place { row: 3, ..first }, &mut stream.at(9)).width(), 1.0);
        assert_eq!(counted.min_rows(), 4);
    }
}
