//! The share of the batch that is trained on the diagonal s = t.

use serde::{Deserialize, Serialize};

use super::{Jump, TimeDistribution};
use crate::{Error, Noise, Result};

/// The probability, in [0, 1], that a pair has s = t, where it is the velocity that is learned.
///
/// η of Boffi, Albergo, Vanden-Eijnden 2025 (arXiv:2505.18825), ¾ there. Written as a number in a file.
///
/// ```
/// use flowmap_core::{DiagonalShare, NoiseStream, Stream, TimeDistribution};
/// let share = DiagonalShare::new(0.75)?;
/// let mut noise = NoiseStream::new(1, Stream::Times).at(0);
/// let jump = share.draw(&TimeDistribution::Uniform {}, &mut noise);
/// assert!(jump.s() <= jump.t());
/// assert_eq!(share.n_diagonal(10), 7);
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct DiagonalShare(f64);

impl DiagonalShare {
    /// A share between 0 (no pair on the diagonal) and 1 (all pairs).
    ///
    /// # Errors
    /// [`Error::Parameter`] outside [0, 1].
    pub fn new(share: f64) -> Result<Self> {
        if (0.0..=1.0).contains(&share) {
            return Ok(Self(share));
        }
        Err(Error::Parameter { name: "diagonal", expected: "between 0 and 1", found: share })
    }

    /// The share itself.
    pub fn get(&self) -> f64 {
        self.0
    }

    /// A pair on the diagonal, uniform there, with this probability, else one of the distribution.
    pub fn draw(&self, off_diagonal: &TimeDistribution, noise: &mut Noise) -> Jump {
        if noise.uniform() < self.0 {
            let t = noise.uniform();
            return Jump::sorted(t, t);
        }
        off_diagonal.draw(noise)
    }

    /// ⌊η batch⌋: how many samples of a batch are on the diagonal where their number is fixed.
    pub fn n_diagonal(&self, batch: usize) -> usize {
        ((self.0 * batch as f64).floor() as usize).min(batch)
    }
}

impl TryFrom<f64> for DiagonalShare {
    type Error = Error;

    fn try_from(share: f64) -> Result<Self> {
        Self::new(share)
    }
}

impl From<DiagonalShare> for f64 {
    fn from(share: DiagonalShare) -> f64 {
        share.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::statistics::{draws, mean_is};
    use super::*;

    #[test]
    fn diagonal_gets_its_share() {
        for share in [0.0, 0.25, 0.75, 1.0] {
            let diagonal = DiagonalShare::new(share).unwrap();
            let jumps = draws(|noise| diagonal.draw(&TimeDistribution::Uniform {}, noise));
            mean_is(share, jumps.iter().map(|j| f64::from(j.s() == j.t())));
            mean_is((1.0 - share) / 3.0, jumps.iter().map(|j| j.width()));
        }
    }

    #[test]
    fn diagonal_times_are_uniform() {
        let jumps = draws(|noise| DiagonalShare(1.0).draw(&TimeDistribution::FixedEnd {}, noise));
        mean_is(0.5, jumps.iter().map(|j| j.t()));
        mean_is(1.0 / 3.0, jumps.iter().map(|j| j.t().powi(2)));
    }

    #[test]
    fn share_outside_the_unit_interval_is_refused() {
        for bad in [-0.1, 1.1, f64::NAN] {
            assert!(DiagonalShare::new(bad).is_err());
        }
        let error = DiagonalShare::new(1.5).unwrap_err();
        assert_eq!(error.to_string(), "`diagonal` must be between 0 and 1, found 1.5");
    }

    #[test]
    fn count_on_the_diagonal_is_the_floor() {
        assert_eq!(DiagonalShare(0.75).n_diagonal(1024), 768);
        assert_eq!(DiagonalShare(0.75).n_diagonal(1), 0);
        assert_eq!(DiagonalShare(1.0).n_diagonal(5), 5);
    }

    #[test]
    fn share_is_a_checked_number_in_a_file() {
        #[derive(Debug, Deserialize)]
        struct Config {
            diagonal: DiagonalShare,
        }
        assert_eq!(toml::from_str::<Config>("diagonal = 0.75").unwrap().diagonal.get(), 0.75);
        let error = toml::from_str::<Config>("diagonal = 2.0").unwrap_err();
        assert!(error.to_string().contains("`diagonal` must be between 0 and 1, found 2"));
    }
}
