//! Noise keyed by (seed, stream, index): counter-based, order-free, the same bits everywhere.
//!
//! A [`NoiseStream`] is a family of independent generators, one for every `u64` index.
//! What `stream.at(i)` gives depends on the seed, the stream and `i` alone:
//! not on what was drawn before, on the size of a batch, on threads or on processes.
//!
//! The format, version 1 (changing any line of it changes every published number):
//! - generator: ChaCha with 8 rounds;
//! - key, 32 bytes: seed (u64, little endian) ‖ stream number (u64, little endian) ‖ the 16 bytes
//!   `flowmap noise v1`;
//! - nonce: the index; block counter: from 0;
//! - a `u64` is two consecutive output words, low word first;
//! - uniform: k / 2⁵³, where k is the upper 53 bits of a `u64`;
//! - normal: Φ⁻¹((k + ½) / 2⁵³) with the same k, by [`normal`](crate::normal), a transform of our own
//!   that uses only operations IEEE 754 rounds exactly (+, −, ×, /, √).
//!
//! One uniform or one normal takes exactly one `u64`, so `m` draws followed by `n` are `m + n` draws.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::normal;

/// Last half of every key, so that no other program with the same seed makes the same noise.
const DOMAIN: [u8; 16] = *b"flowmap noise v1";

/// 2⁻⁵³, the spacing of [`Noise::uniform`].
const ULP: f64 = 1.0 / (1u64 << 53) as f64;

/// Purpose of a stream of noise; different purposes never share bits.
///
/// The numbers are part of the format and never change; new purposes get new numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u64)]
pub enum Stream {
    /// Initial values of parameters.
    Init = 0,
    /// Samples of the base distribution, x_0.
    Base = 1,
    /// Samples of a generated data set, x_1.
    Data = 2,
    /// Pairs of times (s, t).
    Times = 3,
    /// Middle times u between s and t.
    Middle = 4,
    /// Order of the data.
    Shuffle = 5,
    /// Class labels.
    Labels = 6,
    /// Dropped activations and dropped conditions.
    Dropout = 7,
    /// Pairing of x_0 with x_1.
    Coupling = 8,
    /// Whatever an evaluation draws.
    Evaluation = 9,
    /// Directions of random projections.
    Projections = 10,
    /// Scales of classifier-free guidance.
    Guidance = 11,
    /// Augmentation of the images of a training batch.
    Augmentation = 12,
}

/// A family of independent generators, one for every index, chosen by a seed and a [`Stream`].
///
/// ```
/// use flowmap_core::{NoiseStream, Stream};
///
/// let base = NoiseStream::new(7, Stream::Base);
/// let x0 = [base.at(0).normal(), base.at(1).normal()];
/// // Sample 1 is the same whether or not sample 0 was drawn.
/// assert_eq!(base.at(1).normal(), x0[1]);
/// assert_ne!(NoiseStream::new(7, Stream::Data).at(1).normal(), x0[1]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NoiseStream {
    seed: u64,
    stream: Stream,
}

impl NoiseStream {
    /// The generators of this seed for this purpose.
    pub fn new(seed: u64, stream: Stream) -> Self {
        Self { seed, stream }
    }

    /// The generator of one index, for example of one sample or of one step.
    pub fn at(&self, index: u64) -> Noise {
        let mut rng = ChaCha8Rng::from_seed(self.key());
        rng.set_stream(index);
        Noise { rng }
    }

    /// The key of the generators, to run the same generator elsewhere, such as on a GPU.
    pub fn key(&self) -> [u8; 32] {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&(self.stream as u64).to_le_bytes());
        key[16..].copy_from_slice(&DOMAIN);
        key
    }

    /// The seed this was made with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The purpose this was made for.
    pub fn stream(&self) -> Stream {
        self.stream
    }
}

/// A sequence of random numbers: what [`NoiseStream::at`] gives for one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noise {
    rng: ChaCha8Rng,
}

impl Noise {
    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// Uniform on [0, 1), a multiple of 2⁻⁵³; takes one `u64`.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * ULP
    }

    /// Standard normal, N(0, 1); takes one `u64`; |value| ≤ 8.30.
    pub fn normal(&mut self) -> f64 {
        normal::quantile_of_bits(self.next_u64() >> 11)
    }

    /// Uniform on {0, …, n − 1} without bias; 0 if n is 0.
    ///
    /// Multiplies and keeps the upper word, rejecting what would tilt the odds
    /// (Lemire 2019, arXiv:1805.10941), so it takes one `u64`, rarely more.
    pub fn below(&mut self, n: u64) -> u64 {
        let n_rejected = if n == 0 { 0 } else { n.wrapping_neg() % n }; // 2⁶⁴ mod n
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            if product as u64 >= n_rejected {
                return (product >> 64) as u64;
            }
        }
    }

    /// Fills the slice with standard normals, in order.
    pub fn fill_normal(&mut self, values: &mut [f64]) {
        for value in values {
            *value = self.normal();
        }
    }

    /// Fills the slice with standard normals rounded to f32: the same draws as [`Noise::fill_normal`].
    pub fn fill_normal_f32(&mut self, values: &mut [f32]) {
        for value in values {
            *value = self.normal() as f32;
        }
    }
}

impl RngCore for Noise {
    fn next_u32(&mut self) -> u32 {
        self.rng.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.rng.fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N_DRAWS: usize = 200_000;

    /// Moments are checked to this many standard errors; the seed is fixed, so the tests never flicker.
    const N_STANDARD_ERRORS: f64 = 4.0;

    fn noise(index: u64) -> Noise {
        NoiseStream::new(0x0123_4567_89ab_cdef, Stream::Base).at(index)
    }

    fn mean_within(values: impl Iterator<Item = f64>, mean: f64, std: f64) {
        let sum: f64 = values.sum();
        let error = sum / N_DRAWS as f64 - mean;
        let bound = N_STANDARD_ERRORS * std / (N_DRAWS as f64).sqrt();
        assert!(error.abs() < bound, "mean is off by {error:e}, bound {bound:e}");
    }

    #[test]
    fn bits_never_change() {
        let mut bits = noise(5);
        assert_eq!(std::array::from_fn(|_| bits.next_u64()), GOLDEN_U64);
        let mut uniforms = noise(5);
        assert_eq!(std::array::from_fn(|_| uniforms.uniform().to_bits()), GOLDEN_UNIFORM);
        let mut normals = noise(5);
        assert_eq!(std::array::from_fn(|_| normals.normal().to_bits()), GOLDEN_NORMAL);
    }

    #[test]
    fn order_of_indices_does_not_matter() {
        let upwards: Vec<u64> = (0..50).map(|i| noise(i).next_u64()).collect();
        let downwards: Vec<u64> = (0..50).rev().map(|i| noise(i).next_u64()).collect();
        assert!(upwards.iter().eq(downwards.iter().rev()));
    }

    #[test]
    fn seeds_streams_and_indices_all_differ() {
        let mut seen = std::collections::HashSet::new();
        for seed in [0, 1, u64::MAX] {
            for stream in [Stream::Init, Stream::Base, Stream::Data, Stream::Projections] {
                for index in [0, 1, 2, u64::MAX] {
                    assert!(seen.insert(NoiseStream::new(seed, stream).at(index).next_u64()));
                }
            }
        }
    }

    #[test]
    fn one_normal_takes_one_u64() {
        let mut whole = vec![0.0; 33];
        noise(3).fill_normal(&mut whole);
        let mut split = noise(3);
        let (mut head, mut tail) = (vec![0.0; 12], vec![0.0; 20]);
        split.fill_normal(&mut head);
        split.next_u64();
        split.fill_normal(&mut tail);
        assert_eq!(whole[..12], head);
        assert_eq!(whole[13..], tail);
    }

    #[test]
    fn f32_normals_are_the_rounded_f64_normals() {
        let (mut wide, mut narrow) = (vec![0.0; 100], vec![0.0f32; 100]);
        noise(8).fill_normal(&mut wide);
        noise(8).fill_normal_f32(&mut narrow);
        assert!(wide.iter().zip(&narrow).all(|(w, n)| *w as f32 == *n));
    }

    #[test]
    fn uniform_has_the_right_moments() {
        let mut source = noise(0);
        let u: Vec<f64> = (0..N_DRAWS).map(|_| source.uniform()).collect();
        assert!(u.iter().all(|u| (0.0..1.0).contains(u)));
        mean_within(u.iter().copied(), 0.5, (1.0f64 / 12.0).sqrt());
        mean_within(u.iter().map(|u| u * u), 1.0 / 3.0, (4.0f64 / 45.0).sqrt());
    }

    #[test]
    fn normal_has_the_right_moments_and_tails() {
        let mut source = noise(1);
        let z: Vec<f64> = (0..N_DRAWS).map(|_| source.normal()).collect();
        mean_within(z.iter().copied(), 0.0, 1.0);
        mean_within(z.iter().map(|z| z.powi(2)), 1.0, 2.0f64.sqrt());
        mean_within(z.iter().map(|z| z.powi(3)), 0.0, 15.0f64.sqrt());
        mean_within(z.iter().map(|z| z.powi(4)), 3.0, 96.0f64.sqrt());
        let tail = 0.0026997960632601890; // P(|z| > 3)
        let beyond = z.iter().map(|z| f64::from(z.abs() > 3.0));
        mean_within(beyond, tail, (tail * (1.0 - tail)).sqrt());
    }

    #[test]
    fn below_is_uniform_and_in_range() {
        let mut source = noise(2);
        for n in [1, 2, 3, 7, 1000, u64::MAX] {
            assert!((0..100).all(|_| source.below(n) < n));
        }
        assert_eq!(source.below(0), 0);
        let draws: Vec<u64> = (0..N_DRAWS).map(|_| source.below(3)).collect();
        for value in 0..3 {
            let hits = draws.iter().map(|d| f64::from(*d == value));
            mean_within(hits, 1.0 / 3.0, (2.0f64 / 9.0).sqrt());
        }
        // For n = 3 · 2⁶² scaling without rejection makes every third value twice as likely.
        let n = 3 << 62;
        let thirds = (0..N_DRAWS).map(|_| f64::from(source.below(n).is_multiple_of(3)));
        mean_within(thirds, 1.0 / 3.0, (2.0f64 / 9.0).sqrt());
    }

    #[test]
    fn noise_is_a_random_source_for_other_crates() {
        let mut bytes = [0u8; 8];
        noise(4).fill_bytes(&mut bytes);
        assert_eq!(u64::from_le_bytes(bytes), noise(4).next_u64());
    }

    /// From an independent ChaCha8 written in Python.
    const GOLDEN_U64: [u64; 4] =
        [0x0f55c77cce3b9f6d, 0x712e90d46a386104, 0x26a00cdaad327b3d, 0xc4b944cd73eba725];
    /// From the same: the upper 53 bits over 2⁵³.
    const GOLDEN_UNIFORM: [u64; 4] =
        [0x3faeab8ef99c7730, 0x3fdc4ba4351a8e18, 0x3fc350066d56993c, 0x3fe8972899ae7d74];
    /// From an independent AS 241 in Python; all within one unit in the last place of the exact quantile.
    const GOLDEN_NORMAL: [u64; 4] =
        [0xbff8e3b3da3a83f2, 0xbfc2a32b844dbecf, 0xbff085cec4280350, 0x3fe77af2bb763ea2];
}
