//! Fixed end: t = 1, s uniform on [0, 1].
//!
//! What consistency models learn (Song et al. 2023, arXiv:2303.01469): jumps to the data, from everywhere.

use super::Jump;
use crate::Noise;

pub(super) fn draw(noise: &mut Noise) -> Jump {
    Jump::sorted(noise.uniform(), 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::statistics::{draws, mean_is};
    use super::draw;

    #[test]
    fn fixed_end_always_reaches_the_data() {
        let jumps = draws(draw);
        assert!(jumps.iter().all(|j| j.t() == 1.0));
        mean_is(0.5, jumps.iter().map(|j| j.s()));
        mean_is(1.0 / 3.0, jumps.iter().map(|j| j.s().powi(2)));
    }
}
