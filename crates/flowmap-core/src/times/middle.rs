//! The middle time u of progressive self-distillation, between s and t.

use serde::{Deserialize, Serialize};

use super::{Jump, Times};
use crate::Noise;

/// How the middle time is chosen.
///
/// ```
/// use flowmap_core::{Jump, MiddleTime, NoiseStream, Stream};
/// let noise = &mut NoiseStream::new(1, Stream::Middle).at(0);
/// let times = MiddleTime::Midpoint.draw(Jump::forward(0.5, 1.0)?, noise);
/// assert_eq!(times.u(), 0.75);
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MiddleTime {
    /// u = (s + t) / 2, the "M" of PSD-M.
    #[default]
    Midpoint,
    /// u = s + γ (t − s), γ uniform on [0, 1), the "U" of PSD-U.
    Uniform,
    /// u = min(t, s + 1/n_steps), the next time of consistency models; n_steps = 0 counts as 1.
    Ahead {
        /// One over the time from s to u.
        n_steps: u32,
    },
}

impl MiddleTime {
    /// The jump with its middle time; a backward jump is taken forwards.
    pub fn draw(&self, jump: Jump, noise: &mut Noise) -> Times {
        let jump = Jump::sorted(jump.s(), jump.t());
        let gamma = match self {
            Self::Midpoint => 0.5,
            Self::Uniform => noise.uniform(),
            Self::Ahead { n_steps } => {
                return Times::between(jump, jump.s() + 1.0 / f64::from((*n_steps).max(1)));
            }
        };
        Times::between(jump, jump.s() + gamma * jump.width())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::statistics::{draws, mean_is};
    use super::*;
    use crate::{NoiseStream, Stream};

    #[test]
    fn midpoint_draws_nothing_and_halves_the_jump() {
        let mut noise = NoiseStream::new(1, Stream::Middle).at(0);
        let times = MiddleTime::Midpoint.draw(Jump::forward(0.25, 0.5).unwrap(), &mut noise);
        assert_eq!(times, Times::forward(0.25, 0.375, 0.5).unwrap());
        assert_eq!(noise, NoiseStream::new(1, Stream::Middle).at(0));
    }

    #[test]
    fn uniform_middle_fills_the_jump_evenly() {
        let jump = Jump::forward(0.2, 0.7).unwrap();
        let firsts = draws(|noise| Jump::forward(0.2, MiddleTime::Uniform.draw(jump, noise).u()).unwrap());
        mean_is(0.45, firsts.iter().map(|j| j.t()));
        mean_is(0.25 / 12.0, firsts.iter().map(|j| (j.t() - 0.45).powi(2)));
    }

    #[test]
    fn time_ahead_is_one_step_away_or_the_end() {
        let mut noise = NoiseStream::new(1, Stream::Middle).at(0);
        let mut u =
            |s, t| MiddleTime::Ahead { n_steps: 8 }.draw(Jump::forward(s, t).unwrap(), &mut noise).u();
        assert_eq!([u(0.25, 1.0), u(0.9375, 1.0), u(0.5, 0.5)], [0.375, 1.0, 0.5]);
    }

    #[test]
    fn middle_stays_inside_for_every_jump() {
        let stream = NoiseStream::new(5, Stream::Middle);
        for i in 0..1000 {
            let mut noise = stream.at(i);
            let jump = Jump::new(noise.uniform(), noise.uniform()).unwrap();
            for jump in [jump, Jump::new(jump.s(), jump.s()).unwrap()] {
                let times = MiddleTime::Uniform.draw(jump, &mut noise);
                assert!(Times::forward(times.s(), times.u(), times.t()).is_ok());
            }
        }
    }
}
