//! Uniform on the triangle: (s, t) = (min, max) of two independent times, each uniform on [0, 1].
//!
//! The choice of Boffi, Albergo, Vanden-Eijnden 2025 (arXiv:2505.18825). E s = 1/3, E t = 2/3.

use super::Jump;
use crate::Noise;

pub(super) fn draw(noise: &mut Noise) -> Jump {
    let (a, b) = (noise.uniform(), noise.uniform());
    Jump::sorted(a, b)
}

#[cfg(test)]
mod tests {
    use super::super::statistics::{draws, mean_is};
    use super::draw;

    #[test]
    fn uniform_pairs_have_the_moments_of_the_triangle() {
        let jumps = draws(draw);
        mean_is(1.0 / 3.0, jumps.iter().map(|j| j.s()));
        mean_is(2.0 / 3.0, jumps.iter().map(|j| j.t()));
        mean_is(1.0 / 6.0, jumps.iter().map(|j| j.width().powi(2)));
        mean_is(1.0 / 4.0, jumps.iter().map(|j| j.s() * j.t()));
    }
}
