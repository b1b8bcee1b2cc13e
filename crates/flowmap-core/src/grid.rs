//! Time grids: where a sampler stops on its way.

use std::f64::consts::FRAC_PI_2;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::times::checked;
use crate::{Error, Result};

/// At least two times in [0, 1], strictly increasing (sampling) or strictly decreasing (inversion).
///
/// In a file it is a list of numbers, on a command line numbers separated by commas.
///
/// ```
/// use flowmap_core::TimeGrid;
/// let grid: TimeGrid = "0, 0.4, 1".parse()?;
/// assert_eq!(grid.steps().collect::<Vec<_>>(), [(0.0, 0.4), (0.4, 1.0)]);
/// assert_eq!(grid.reversed().times(), [1.0, 0.4, 0.0]);
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub struct TimeGrid {
    times: Vec<f64>,
}

impl TimeGrid {
    /// Equal steps from 0 to 1: t_i = i / n.
    pub fn uniform(n_steps: NonZeroU32) -> Self {
        Self { times: fractions(n_steps).collect() }
    }

    /// Steps that shrink towards the data: t_i = 1 − (1 − i/n)^ρ.
    ///
    /// The noise level 1 − t falls as in EDM (Karras et al. 2022, arXiv:2206.00364, eq. (5),
    /// with the levels running from 1 to 0); ρ = 1 is uniform, ρ < 1 shrinks towards the noise.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless ρ is positive and finite, [`Error::GridNotMonotone`] where ρ and n are so
    /// large (or ρ so small) that neighbors coincide in f64.
    pub fn power(n_steps: NonZeroU32, rho: f64) -> Result<Self> {
        if !(rho.is_finite() && rho > 0.0) {
            return Err(Error::Parameter { name: "rho", expected: "positive and finite", found: rho });
        }
        Self::from_times(fractions(n_steps).map(|fraction| 1.0 - (1.0 - fraction).powf(rho)).collect())
    }

    /// Steps that shrink towards both ends: t_i = (1 − cos(π i/n)) / 2 = sin²(π i / 2n).
    ///
    /// # Errors
    /// [`Error::GridNotMonotone`] beyond some 10⁸ steps, where neighbors coincide in f64.
    pub fn cosine(n_steps: NonZeroU32) -> Result<Self> {
        Self::from_times(fractions(n_steps).map(|fraction| (FRAC_PI_2 * fraction).sin().powi(2)).collect())
    }

    /// Any times, for example `vec![0.0, 0.4, 1.0]`.
    ///
    /// # Errors
    /// [`Error::GridTooShort`] below two times, [`Error::TimeOutOfRange`] outside [0, 1],
    /// [`Error::GridNotMonotone`] where the times stand still or turn round.
    pub fn from_times(times: Vec<f64>) -> Result<Self> {
        for &time in &times {
            checked("t", time)?;
        }
        let [first, second, ..] = times[..] else {
            return Err(Error::GridTooShort { n_times: times.len() });
        };
        let rises = first < second;
        for (step_idx, pair) in times.windows(2).enumerate() {
            let (s, t) = (pair[0], pair[1]);
            if s == t || (s < t) != rises {
                return Err(Error::GridNotMonotone { step_idx, s, t });
            }
        }
        Ok(Self { times })
    }

    /// The times in reverse order: from data to noise instead of from noise to data.
    pub fn reversed(&self) -> Self {
        Self { times: self.times.iter().rev().copied().collect() }
    }

    /// The times, `n_steps + 1` of them.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// How many steps there are, at least 1.
    pub fn n_steps(&self) -> usize {
        self.times.len() - 1
    }

    /// The steps (s, t) in order.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = (f64, f64)> + '_ {
        self.times.windows(2).map(|pair| (pair[0], pair[1]))
    }
}

/// 0, 1/n, 2/n, …, 1.
fn fractions(n_steps: NonZeroU32) -> impl Iterator<Item = f64> {
    let n = n_steps.get();
    (0..=n).map(move |i| f64::from(i) / f64::from(n))
}

impl FromStr for TimeGrid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let entry = |entry: &str| {
            entry.trim().parse().map_err(|_| Error::GridEntry { entry: entry.trim().to_owned() })
        };
        Self::from_times(text.split(',').map(entry).collect::<Result<_>>()?)
    }
}

impl TryFrom<Vec<f64>> for TimeGrid {
    type Error = Error;

    fn try_from(times: Vec<f64>) -> Result<Self> {
        Self::from_times(times)
    }
}

impl From<TimeGrid> for Vec<f64> {
    fn from(grid: TimeGrid) -> Self {
        grid.times
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn n(n_steps: u32) -> NonZeroU32 {
        NonZeroU32::new(n_steps).unwrap()
    }

    #[test]
    fn grids_run_from_exactly_0_to_exactly_1() {
        for n_steps in [1, 2, 3, 7, 16, 1000] {
            let n_steps = n(n_steps);
            for grid in [
                TimeGrid::uniform(n_steps),
                TimeGrid::power(n_steps, 3.0).unwrap(),
                TimeGrid::power(n_steps, 0.5).unwrap(),
                TimeGrid::cosine(n_steps).unwrap(),
            ] {
                assert_eq!(grid.n_steps(), n_steps.get() as usize);
                assert_eq!(grid.steps().len(), grid.n_steps());
                assert_eq!((grid.times()[0], grid.times()[grid.n_steps()]), (0.0, 1.0));
                assert!(grid.steps().all(|(s, t)| s < t));
                assert!(grid.reversed().steps().all(|(s, t)| s > t));
                assert_eq!(grid.reversed().reversed(), grid);
            }
        }
    }

    #[test]
    fn named_grids_have_their_times() {
        assert_eq!(TimeGrid::uniform(n(4)).times(), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(TimeGrid::power(n(4), 1.0).unwrap(), TimeGrid::uniform(n(4)));
        assert_eq!(TimeGrid::power(n(2), 3.0).unwrap().times(), [0.0, 0.875, 1.0]);
        let quarter = TimeGrid::cosine(n(3)).unwrap().times()[1];
        assert!((quarter - 0.25).abs() < 1e-15);
    }

    #[test]
    fn times_parse_from_text() {
        let grid: TimeGrid = "1, 0.5,0".parse().unwrap();
        assert_eq!(grid.times(), [1.0, 0.5, 0.0]);
    }

    #[test]
    fn bad_grids_are_refused_with_what_is_wrong() {
        for (text, message) in [
            ("0.3", "time grid needs at least 2 times, found 1"),
            ("0,1.5", "time t must lie in [0, 1], found 1.5"),
            ("0,nan", "time t must lie in [0, 1], found NaN"),
            ("0,0.5,0.5,1", "time grid must keep rising or keep falling, found 0.5 then 0.5 at step 1"),
            ("0,0.5,0.4", "time grid must keep rising or keep falling, found 0.5 then 0.4 at step 1"),
            ("0,0", "time grid must keep rising or keep falling, found 0 then 0 at step 0"),
            ("0,half,1", "time grid must be numbers separated by commas, found `half`"),
            ("", "time grid must be numbers separated by commas, found ``"),
        ] {
            assert_eq!(text.parse::<TimeGrid>().unwrap_err().to_string(), message);
        }
        assert_eq!(TimeGrid::from_times(vec![]), Err(Error::GridTooShort { n_times: 0 }));
        for rho in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(TimeGrid::power(n(4), rho), Err(Error::Parameter { name: "rho", .. })));
        }
        assert!(matches!(TimeGrid::power(n(4), 1e3), Err(Error::GridNotMonotone { .. })));
    }

    #[test]
    fn grid_is_a_list_in_a_file() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Config {
            times: TimeGrid,
        }
        let config = Config { times: TimeGrid::uniform(n(2)) };
        let text = toml::to_string(&config).unwrap();
        assert_eq!(text, "times = [0.0, 0.5, 1.0]\n");
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
        assert!(toml::from_str::<Config>("times = [1.0]").is_err());
    }
}
