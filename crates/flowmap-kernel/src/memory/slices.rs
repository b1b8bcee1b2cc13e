//! The numbers of f32 tensors on the CPU as slices, plain or stacked.

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};
use rayon::prelude::*;

/// Numbers that a thread looks at before it asks whether another has found one.
const CHUNK: usize = 16 * 1024;

/// The numbers of a contiguous f32 tensor.
pub(crate) fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let CpuStorage::F32(values) = storage else { bail!("a fused operation takes f32 only") };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("a fused operation takes contiguous tensors only"),
    }
}

/// Calls `f` with the numbers of a tensor.
pub(crate) fn with_floats<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(floats(storage, layout)?),
        _ => bail!("a fused operation runs on the CPU only"),
    }
}

/// Whether all numbers of a contiguous f32 tensor are within −`bound` and `bound`.
pub fn is_within(tensor: &Tensor, bound: f32) -> Result<bool> {
    with_floats(tensor, |x| {
        let is_inside = |x: &[f32]| x.iter().fold(true, |is_inside, x| is_inside & (x.abs() <= bound));
        Ok(x.par_chunks(CHUNK).all(is_inside))
    })
}

/// Whether a gradient of `tensor` leads anywhere.
#[inline]
pub fn is_wanted(tensor: &Tensor) -> bool {
    tensor.track_op() || tensor.is_variable()
}

/// Whether an input comes alone or with its tangent stacked below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// The value x alone, whose tangent is zero.
    Plain,
    /// The value x and below it the tangent ẋ.
    Stacked,
}

impl Parts {
    /// How many tensors of the size of the value there are.
    pub(crate) fn count(self) -> usize {
        match self {
            Self::Plain => 1,
            Self::Stacked => 2,
        }
    }

    /// Stacked where either is.
    #[inline]
    pub fn or(self, other: Self) -> Self {
        if self == Self::Plain { other } else { self }
    }
}

/// A value and, if there is one, its tangent.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a> {
    pub(crate) primal: &'a [f32],
    pub(crate) tangent: Option<&'a [f32]>,
}

impl<'a> Pair<'a> {
    /// How many tensors of the size of the value there are.
    pub(crate) fn count(&self) -> usize {
        1 + usize::from(self.tangent.is_some())
    }

    /// Splits the numbers of a tensor of `parts`, each of `len` numbers.
    pub(crate) fn new(values: &'a [f32], parts: Parts, len: usize) -> Result<Self> {
        if values.len() != len * parts.count() {
            bail!("expected {} x {len} numbers, found {}", parts.count(), values.len());
        }
        let (primal, tangent) = values.split_at(len);
        Ok(Self { primal, tangent: (parts == Parts::Stacked).then_some(tangent) })
    }

    /// `len` numbers of both parts from `start` on; a missing tangent is taken from `zeros`.
    #[inline(always)]
    pub(crate) fn row(&self, start: usize, len: usize, zeros: &'a [f32]) -> (&'a [f32], &'a [f32]) {
        let tangent = match self.tangent {
            Some(tangent) => &tangent[start..start + len],
            None => &zeros[..len],
        };
        (&self.primal[start..start + len], tangent)
    }

    /// Number `i` of both parts.
    #[inline(always)]
    pub(crate) fn at(&self, i: usize) -> (f32, f32) {
        (self.primal[i], self.tangent.map_or(0.0, |tangent| tangent[i]))
    }
}
