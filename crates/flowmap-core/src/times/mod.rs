//! Times of a flow map and the distributions training draws them from.
//!
//! s is the start, t the end, u between them; 0 ≤ s ≤ u ≤ t ≤ 1 for training.
//! Time runs from noise (0) to data (1).

mod distribution;
mod dyadic;
mod fixed_end;
mod grid;
mod jump;
mod log_tangent;
mod logit_normal;
mod logit_width;
mod middle;
mod uniform;

pub use distribution::{Place, TimeDistribution};
pub use dyadic::Widths;
pub(crate) use jump::checked;
pub use jump::{Jump, Times};
pub use middle::MiddleTime;

#[cfg(test)]
pub(crate) mod statistics {
    //! Empirical means of drawn times against closed forms.

    use super::Jump;
    use crate::{Noise, NoiseStream, Stream};

    const N_DRAWS: u64 = 40_000;
    /// The seed is fixed, so a test at this many standard errors holds always or never.
    const N_STANDARD_ERRORS: f64 = 4.0;

    /// Draws from index 0, 1, 2, … of one stream.
    pub fn draws(draw: impl Fn(&mut Noise) -> Jump) -> Vec<Jump> {
        let stream = NoiseStream::new(2024, Stream::Times);
        let jumps: Vec<Jump> = (0..N_DRAWS).map(|index| draw(&mut stream.at(index))).collect();
        for jump in &jumps {
            assert!(0.0 <= jump.s() && jump.s() <= jump.t() && jump.t() <= 1.0, "{jump:?}");
        }
        jumps
    }

    /// Checks a mean against its exact value, by the standard error of the sample itself.
    pub fn mean_is(exact: f64, values: impl Iterator<Item = f64> + Clone) {
        let n = N_DRAWS as f64;
        let mean = values.clone().sum::<f64>() / n;
        let variance = values.map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let bound = N_STANDARD_ERRORS * (variance / n).sqrt();
        assert!((mean - exact).abs() <= bound, "mean {mean}, exact {exact}, bound {bound:e}");
    }
}
