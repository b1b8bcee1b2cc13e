//! Shuffled epochs without storage: a keyed permutation of {0, …, n − 1}.
//!
//! A Feistel network on pairs (l, r) of {0, …, a − 1}², a = ⌈√n⌉, with additions modulo a:
//!   l ← l + F_k(r) mod a,   r ← r + F_k'(l) mod a,                              (1)
//! each of which can be undone whatever F is, so that the whole is a permutation of the a² pairs.
//! The pair (l, r) stands for the number l a + r.
//! Numbers of n and above are sent on until one below n comes up (cycle walking), which keeps it a permutation.
//! Since a² < n + 2 √n + 1, that takes little more than one walk on average.
//!
//! Luby, Rackoff 1988, doi:10.1137/0217022 (the network); Black, Rogaway 2002,
//! doi:10.1007/3-540-45760-7_9 (mixed radices and cycle walking).
//! Differs from both: F is a mixing function for speed, not a cipher; the order is random enough for training,
//! it hides nothing.

use flowmap_core::{Noise, NoiseStream};

/// Number of half rounds of (1); four already pass the tests.
const N_ROUNDS: usize = 8;

/// A permutation of {0, …, n − 1} chosen by noise, which needs no memory for its n entries.
///
/// ```
/// use flowmap_core::{NoiseStream, Stream};
/// use flowmap_data::Permutation;
///
/// let order = Permutation::new(10, &mut NoiseStream::new(3, Stream::Shuffle).at(0));
/// let mut seen: Vec<u64> = (0..10).map(|position| order.apply(position)).collect();
/// seen.sort();
/// assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permutation {
    n: u64,
    side: u64,
    keys: [u64; N_ROUNDS],
}

impl Permutation {
    /// The permutation of {0, …, n − 1} that the next draws of the noise choose; takes eight `u64`.
    pub fn new(n: u64, noise: &mut Noise) -> Self {
        let root = n.isqrt();
        let side = if root * root < n { root + 1 } else { root };
        Self { n, side, keys: std::array::from_fn(|_| noise.next_u64()) }
    }

    /// The image of a position under the permutation; positions of n and above stay fixed.
    pub fn apply(&self, position: u64) -> u64 {
        if position >= self.n {
            return position;
        }
        let mut pair = self.walk((position / self.side, position % self.side));
        loop {
            // Below side², which may be above 2⁶⁴ where n is near it.
            let value = u128::from(pair.0) * u128::from(self.side) + u128::from(pair.1);
            match u64::try_from(value) {
                Ok(value) if value < self.n => return value,
                _ => pair = self.walk(pair),
            }
        }
    }

    /// One pass through the network, a permutation of the pairs.
    fn walk(&self, (mut l, mut r): (u64, u64)) -> (u64, u64) {
        for key in self.keys {
            let sum = l + self.scaled(mix(key ^ r)); // below 2 side ≤ 2³³: no overflow
            (l, r) = (r, if sum >= self.side { sum - self.side } else { sum });
        }
        (l, r)
    }

    /// A number of 64 random bits brought to {0, …, side − 1}.
    fn scaled(&self, bits: u64) -> u64 {
        ((u128::from(bits) * u128::from(self.side)) >> 64) as u64
    }
}

/// The row of sample `index` of the sequence of `stream`, in epochs that visit each of `n` rows once.
pub(crate) fn row_of(n: u64, stream: &NoiseStream, index: u64) -> usize {
    let (epoch, position) = (index / n, index % n);
    Permutation::new(n, &mut stream.at(epoch)).apply(position) as usize
}

/// Scrambles 64 bits: two rounds of xor-shift and multiplication (the finalizer of MurmurHash3).
fn mix(mut bits: u64) -> u64 {
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

#[cfg(test)]
mod tests {
    use flowmap_core::Stream;
    use proptest::prelude::*;

    use super::*;

    fn permutation(n: u64, index: u64) -> Permutation {
        Permutation::new(n, &mut NoiseStream::new(17, Stream::Shuffle).at(index))
    }

    fn image(n: u64, index: u64) -> Vec<u64> {
        let order = permutation(n, index);
        (0..n).map(|position| order.apply(position)).collect()
    }

    proptest! {
        #[test]
        fn every_number_comes_up_once(n in 0u64..3000, index: u64) {
            let mut seen = image(n, index);
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..n));
        }

        #[test]
        fn numbers_stay_in_range_up_to_the_largest_n(n in 1u64.., position: u64, index: u64) {
            let position = position % n;
            prop_assert!(permutation(n, index).apply(position) < n);
        }
    }

    #[test]
    fn small_sets_take_every_order() {
        let orders: std::collections::HashSet<_> = (0..2000).map(|index| image(4, index)).collect();
        assert_eq!(orders.len(), 24);
    }

    #[test]
    fn every_position_goes_everywhere_equally_often() {
        // Chi-square of 10 x 10 counts with 81 degrees of freedom; 99.99 % of its law lies below 137.
        const BOUND: f64 = 137.0;
        const N_ORDERS: u64 = 10_000;
        let mut counts = [[0.0f64; 10]; 10];
        for index in 0..N_ORDERS {
            for (row, value) in counts.iter_mut().zip(image(10, index)) {
                row[value as usize] += 1.0;
            }
        }
        let mean = N_ORDERS as f64 / 10.0;
        let chi_square: f64 = counts.iter().flatten().map(|c| (c - mean).powi(2) / mean).sum();
        assert!(chi_square < BOUND, "chi-square {chi_square}");
    }

    #[test]
    fn neighbors_are_not_kept_together() {
        // Of n pairs of neighbors about 2 stay neighbors by chance (Poisson law); 12 has odds below 1e-5.
        let far_apart = image(1797, 0).windows(2).filter(|w| w[0].abs_diff(w[1]) == 1).count();
        assert!(far_apart < 12, "{far_apart} pairs kept together");
    }
}
