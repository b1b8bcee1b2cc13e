//! Losses and norms of tangents, binned by the times of their rows, to watch a training.
//!
//! bin(s, t) = (⌊K s⌋, ⌊K t⌋) of a jump,  ⌊K t⌋ on the diagonal t = s,  K = 4; time 1 is in the last bin.
//!
//! Sums and counts on the host, in f64, in the order of the rows; the sums of two parts of a batch add up.

use std::fmt;

use candle_core::Tensor;
use flowmap_dual::host;

use crate::{PerSample, Result, Times};

/// K, the number of bins along each axis.
const K: usize = 4;
/// Bins of jumps: s ≤ t, so the lower triangle.
const N_JUMPS: usize = K * (K + 1) / 2;
const N_BINS: usize = N_JUMPS + K;

/// A set of times: a square of jumps, or an interval of the diagonal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bin {
    /// Jumps from the interval number `s` to the interval number `t`.
    Jump {
        /// ⌊K s⌋.
        s: usize,
        /// ⌊K t⌋, not below `s`.
        t: usize,
    },
    /// Pairs with t = s.
    Diagonal {
        /// ⌊K t⌋.
        t: usize,
    },
}

impl Bin {
    /// Number of intervals that each time is cut into.
    pub const N_INTERVALS: usize = K;

    /// Every bin: jumps by s and then t, then the diagonal.
    pub fn all() -> impl Iterator<Item = Self> {
        let jumps = (0..K).flat_map(|s| (s..K).map(move |t| Self::Jump { s, t }));
        jumps.chain((0..K).map(|t| Self::Diagonal { t }))
    }

    /// The bin of a pair s ≤ t.
    pub fn of(s: f64, t: f64) -> Self {
        let interval = |time: f64| ((time * K as f64) as usize).min(K - 1);
        if s == t {
            return Self::Diagonal { t: interval(t) };
        }
        Self::Jump { s: interval(s), t: interval(t).max(interval(s)) }
    }

    /// A short name for logs: `s0-t2`, or `d2` on the diagonal.
    pub fn key(self) -> String {
        match self {
            Self::Jump { s, t } => format!("s{s}-t{t}"),
            Self::Diagonal { t } => format!("d{t}"),
        }
    }

    /// The place in [`Bin::all`].
    fn index(self) -> usize {
        match self {
            // The rows before s have K, K − 1, ... bins.
            Self::Jump { s, t } => s * (2 * K - s + 1) / 2 + (t - s),
            Self::Diagonal { t } => N_JUMPS + t,
        }
    }
}

impl fmt::Display for Bin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |i: usize| i as f64 / K as f64;
        match *self {
            Self::Jump { s, t } => {
                write!(f, "s in [{}, {}], t in [{}, {}]", end(s), end(s + 1), end(t), end(t + 1))
            }
            Self::Diagonal { t } => write!(f, "s = t in [{}, {}]", end(t), end(t + 1)),
        }
    }
}

/// What the rows of one bin sum to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    n_rows: u64,
    loss: f64,
    n_tangents: u64,
    tangent: f64,
}

/// The losses of rows, the norms of their tangents if these were computed, and the bins of the rows.
#[derive(Clone, Debug)]
pub struct DeferredRows {
    bins: Vec<Bin>,
    losses: Tensor,
    tangent_norms: Option<Tensor>,
}

impl DeferredRows {
    /// The bins of `losses`, whose rows have these `times`; off the tape.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn new(losses: &PerSample, times: &Times) -> Result<Self> {
        let bin = |(s, t): (&f64, &f64)| Bin::of(*s, *t);
        let bins = times.s.host().iter().zip(times.t.host()).map(bin).collect();
        let (losses, tangent_norms) = (losses.tensor().detach(), losses.tangent_norms()?);
        Ok(Self { bins, losses, tangent_norms })
    }

    /// Their sums; waits for the device.
    ///
    /// # Errors
    /// As the device.
    pub fn read(&self) -> Result<BinSums> {
        let mut sums = BinSums::default();
        for (bin, loss) in self.bins.iter().zip(host::numbers(&self.losses)?) {
            let sum = &mut sums.0[bin.index()];
            sum.n_rows += 1;
            sum.loss += loss;
        }
        let Some(norms) = &self.tangent_norms else { return Ok(sums) };
        for (bin, norm) in self.bins.iter().zip(host::numbers(norms)?) {
            let sum = &mut sums.0[bin.index()];
            sum.n_tangents += 1;
            sum.tangent += norm;
        }
        Ok(sums)
    }
}

/// Sums of losses and of the norms of tangents, by bin.
#[derive(Clone, Debug, PartialEq)]
pub struct BinSums([Sum; N_BINS]);

impl Default for BinSums {
    fn default() -> Self {
        Self([Sum::default(); N_BINS])
    }
}

impl BinSums {
    /// The sums over `losses` and their tangents, drawn at `times`.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn new(losses: &PerSample, times: &Times) -> Result<Self> {
        DeferredRows::new(losses, times)?.read()
    }

    /// Adds the sums of other rows.
    pub fn add(&mut self, other: &Self) {
        for (sum, other) in self.0.iter_mut().zip(&other.0) {
            sum.n_rows += other.n_rows;
            sum.loss += other.loss;
            sum.n_tangents += other.n_tangents;
            sum.tangent += other.tangent;
        }
    }

    /// The mean loss of the rows in a bin, `None` if there are none.
    pub fn mean_loss(&self, bin: Bin) -> Option<f64> {
        let sum = self.0[bin.index()];
        (sum.n_rows > 0).then(|| sum.loss / sum.n_rows as f64)
    }

    /// The mean norm of the tangents in a bin, `None` if there are none.
    pub fn mean_tangent(&self, bin: Bin) -> Option<f64> {
        let sum = self.0[bin.index()];
        (sum.n_tangents > 0).then(|| sum.tangent / sum.n_tangents as f64)
    }

    /// The first bin with a loss that is not finite.
    pub fn first_not_finite(&self) -> Option<Bin> {
        Bin::all().find(|bin| !self.0[bin.index()].loss.is_finite())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn bins_are_numbered_in_their_order() {
        let all: Vec<Bin> = Bin::all().collect();
        assert_eq!(all.len(), N_BINS);
        assert!(all.iter().enumerate().all(|(index, bin)| bin.index() == index));
    }

    #[test]
    fn times_fall_into_their_bins() {
        let cases = [
            (0.0, 1.0, "s0-t3", "s in [0, 0.25], t in [0.75, 1]"),
            (0.25, 0.26, "s1-t1", "s in [0.25, 0.5], t in [0.25, 0.5]"),
            (0.5, 0.5, "d2", "s = t in [0.5, 0.75]"),
            (1.0, 1.0, "d3", "s = t in [0.75, 1]"),
        ];
        for (s, t, key, text) in cases {
            let bin = Bin::of(s, t);
            assert_eq!((bin.key().as_str(), bin.to_string().as_str()), (key, text));
        }
    }

    #[test]
    fn sums_of_parts_add_up_to_those_of_the_whole() {
        let device = Device::Cpu;
        let times = |pairs: &[(f64, f64)]| {
            let triples: Vec<_> =
                pairs.iter().map(|(s, t)| flowmap_core::Times::forward(*s, *s, *t).unwrap()).collect();
            Times::new(&triples, DType::F32, &device).unwrap()
        };
        let losses = |residuals: &[f32]| {
            let residuals = Tensor::new(residuals, &device).unwrap().unsqueeze(1).unwrap();
            PerSample::squared_norm(&residuals).unwrap().with_tangent(&(&residuals * -2.0).unwrap())
        };
        let pairs = [(0.1, 0.6), (0.2, 0.7), (0.5, 0.5)];
        let whole = BinSums::new(&losses(&[1.0, 3.0, f32::INFINITY]), &times(&pairs)).unwrap();
        let mut parts = BinSums::new(&losses(&[1.0]), &times(&pairs[..1])).unwrap();
        parts.add(&BinSums::new(&losses(&[3.0, f32::INFINITY]), &times(&pairs[1..])).unwrap());
        assert_eq!(parts, whole);
        let jump = Bin::of(0.1, 0.6);
        assert_eq!((whole.mean_loss(jump), whole.mean_tangent(jump)), (Some(5.0), Some(4.0)));
        assert_eq!(whole.mean_loss(Bin::Diagonal { t: 0 }), None);
        assert_eq!(whole.first_not_finite(), Some(Bin::Diagonal { t: 2 }));
    }
}
